"""Runs a target for a number of seconds: ``python -m fuzz picture 60``.

The engine is atheris, which is guided by code coverage. Where atheris can't be installed, hypothesis changes
the seeds at random. A failing input is written to ``fuzz/found``. To keep it as a regression test, give it a
descriptive name and move it to ``tests/regressions``.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FOUND: Final = Path(__file__).parent / "found"
REGRESSIONS: Final = Path(__file__).parent.parent / "tests" / "regressions"


def seeds(name: str) -> list[bytes]:
    """Returns small files of every kind, for the target ``post`` wrapped in form bodies."""
    from fuzz.targets import form  # noqa: PLC0415  # after atheris has set up its hook
    from tests.validators.test_properties import FILES  # noqa: PLC0415  # as above

    files = [*FILES.values(), *(path.read_bytes() for path in sorted(REGRESSIONS.iterdir()))]
    return [form(data) for data in files] if name == "post" else files


def run_atheris(name: str, seconds: int) -> None:
    """Runs libFuzzer. It ends the process, with exit status 0 if it finds nothing."""
    import atheris  # noqa: PLC0415  # not available on every platform

    with atheris.instrument_imports(include=["validators", "api"]):
        from fuzz import targets  # noqa: PLC0415  # atheris instruments what this block imports

    target = targets.new_post() if name == "post" else targets.picture
    corpus = Path(tempfile.mkdtemp(prefix="vetrina-corpus-"))
    for seed in seeds(name):
        (corpus / sha256(seed).hexdigest()).write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-timeout=10", "-max_len=16384", f"-artifact_prefix={FOUND}/"]
    atheris.Setup([sys.argv[0], str(corpus), *options], target)
    atheris.Fuzz()


def run_hypothesis(name: str, seconds: int) -> None:
    """Runs the target on seeds with some bytes replaced, until the time is over."""
    from fuzz import targets  # noqa: PLC0415  # atheris must be able to set up its hook first

    target = targets.new_post() if name == "post" else targets.picture
    end = time.monotonic() + seconds
    changes = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=12), st.integers(0, 12)), max_size=4)

    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.sampled_from(seeds(name)), edits=changes)
    def run(seed: bytes, edits: list[tuple[float, bytes, int]]) -> None:
        data = seed
        for at, other, length in edits:
            start = int(at * len(data))
            data = data[:start] + other + data[start + length :]
        try:
            target(data)
        except Exception:
            (FOUND / sha256(data).hexdigest()).write_bytes(data)
            raise

    while time.monotonic() < end:
        run()


def main() -> None:
    """Runs the target that the command line names: see the module."""
    name, seconds = sys.argv[1], int(sys.argv[2])
    if name not in ("picture", "post"):
        sys.exit("the targets are: picture, post")
    FOUND.mkdir(exist_ok=True)
    if importlib.util.find_spec("atheris"):
        run_atheris(name, seconds)
    else:
        run_hypothesis(name, seconds)


main()
