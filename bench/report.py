"""Measures everything, and writes docs/performance.md, its plot and a table of the README.

Run it with ``make bench``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from PIL import features

import resizing
from bench import plot, serving, sizes, stages, throughput, upload
from bench.fairness import measure as fairness
from bench.fairness.tenant import AIM
from bench.list import ORDERED_SIZE, PER_PAGE, measure_lists
from bench.targets import WORKERS
from bench.throughput import CLIENTS, PICTURES, Throughput
from catalog.base import Sort
from tests.servers import ROOT

DOCUMENT: Final = ROOT / "docs" / "performance.md"
README: Final = ROOT / "README.md"
#: The lines of the README around its table of costs.
MARKS: Final = ("<!-- from make bench -->\n", "<!-- to here -->\n")
PLOT: Final = ROOT / "docs" / "performance.svg"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first have figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f}" if seconds >= 0.00095 else f"{1000 * seconds:.2f}"  # noqa: PLR2004  # below it, one digit would round to 0


def _output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return (result.stdout + result.stderr).strip()


def machine() -> str:
    """The machine and the versions of the programs, in one sentence."""
    about = dict(
        line.replace("\t", "").split(": ", 1)
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if ": " in line
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [
        f"{os.cpu_count()} processors ({about.get('model name', platform.machine())})",
        f"{memory:.0f} GiB of memory",
        f"Linux {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()}",
        f"Pillow {version('pillow')} with libjpeg-turbo {features.version('libjpeg_turbo')}",
    ]
    if Path(serving.NGINX).exists():
        parts.append(_output(serving.NGINX, "-v").rpartition(": ")[2].replace("/", " "))
    if shutil.which("node"):
        parts.append(f"Node {_output('node', '--version').lstrip('v')}")
    return ", ".join(parts)


def throughput_section(result: Throughput) -> str:
    rows = [
        [
            f"{picture}, {clients}",
            *(f"{result.rate(picture, clients, name):.0f}" for name in result.names),
            "–" if (ratio := result.ratio(picture, clients)) is None else f"{ratio:.2f}",
        ]
        for picture in PICTURES
        for clients in CLIENTS
    ]
    cpu = [[picture, *(milliseconds(result.cpu(picture, n)) for n in result.names)] for picture in PICTURES]
    memory = ["peak memory, MB", *(f"{result.peak_memory[name] / 1e6:.0f}" for name in result.names)]
    busiest = max(cell.clients_share for cell in result.cells.values())
    missing = "".join(f"\n{name} is missing from this run: {why}.\n" for name, why in result.missing.items())
    return f"""## Uploads a second

![Uploads a second by picture and number of clients](performance.svg)

Each server has {WORKERS} worker processes. Each makes the same checks: the key by its SHA-256 in SQLite,
that the product exists and is not full, 5 MB, the type by the bytes, the pixels, a full decode; it writes
the file durably and appends to the product in SQLite with `synchronous=FULL`. Vetrina also walks the
container, removes metadata and writes a log line for each request; the peers do not. The peers are one
file each: [FastAPI](../bench/peers/fastapi_app.py) with python-multipart and Pillow under uvicorn, and
[Express 5](../bench/peers/express_app.js) with multer, sharp and better-sqlite3. The last column is
Vetrina's rate over the better peer's; the aim is 1.3 for JPEG, and more than 1 for the others.
{missing}
{table(["picture, clients", *result.names, "ratio"], rows)}

CPU milliseconds of an upload, over all numbers of clients, and the most memory of each server's processes in
the whole run (PSS: shared memory counts once):

{table(["", *result.names], [*cpu, memory])}

The clients ran on the same machine and took at most {100 * busiest:.0f} % of one processor.
"""


def upload_section(rows: Sequence[upload.Row]) -> str:
    figures = [
        [
            row.picture,
            f"{row.size / 1000:.0f}",
            *map(milliseconds, (row.ours, row.floor, row.decode)),
            f"{row.ratio:.2f}",
            milliseconds(row.small_decode),
            f"{row.small_ratio:.2f}",
        ]
        for row in rows
    ]
    head = ["picture", "kB", "Vetrina", "floor", "decode", "ratio", "decode at 1/8", "ratio"]
    return f"""## What an upload costs

CPU milliseconds of an upload. The floor is [a bare application](../bench/floor.py) under the same gunicorn
with the same configuration, which reads the body, writes it durably and does nothing else. The decode is
Pillow's `Image.open(…).load()` of the same picture. The ratio is Vetrina over both together, and the aim
is 1.2 at the most; the second ratio takes the decode that Vetrina does (of a JPEG at 1/8 of its size,
which also reads every coded byte). A PNG is the largest file for its pixels. The costs that grow with the
bytes and not with the pixels (the digest, the checksums, the form) count most there.

{table(head, figures)}
"""


def put_into_readme(rows: Sequence[upload.Row]) -> None:
    figures = [
        [row.picture, *map(milliseconds, (row.ours, row.floor, row.decode)), f"{row.ratio:.2f}"]
        for row in rows
    ]
    before, _, rest = README.read_text().partition(MARKS[0])
    costs = table(["CPU ms an upload", "Vetrina", "floor", "decode", "ratio"], figures)
    README.write_text(f"{before}{MARKS[0]}{costs}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


def stages_section(parts: dict[str, dict[str, float]], rows: Sequence[upload.Row]) -> str:
    names = list(next(iter(parts.values())))
    served = {row.picture: row.ours for row in rows}
    body = [[name, *(milliseconds(parts[picture][name]) for picture in parts)] for name in names]
    server = [max(0.0, served[picture] - sum(parts[picture].values())) for picture in parts]
    return f"""## Where it goes

CPU milliseconds of each stage, timed in one process without a server. The last line is the rest of the table
above: gunicorn, which reads the socket and the request's head.

{table(["stage", *parts], [*body, ["gunicorn (the rest)", *map(milliseconds, server)]])}
"""


def serving_section(rows: Sequence[serving.Row]) -> str:
    if not rows:
        return "## Serving from disk\n\nIt was skipped: nginx is not installed.\n"
    figures = [
        [row.name, f"{row.rate:.0f}", f"{1000 * row.cpu:.3f}", f"{row.file_bytes:.0f}"] for row in rows
    ]
    head = ["", "requests a second", "CPU ms a request", "bytes read a request"]
    return f"""## Serving from disk

The JPEG of 2 MP and its size of {serving.SIZE} pixels, {serving.CLIENTS} clients, {WORKERS} workers each.
"nginx before Vetrina" is [deploy/nginx.conf](../deploy/nginx.conf) with `MEDIA_ACCEL_PREFIX` and without
TLS; its CPU time is that of both. The last column has the bytes that the processes read through system
calls: a 304 reads nothing of the file.

{table(head, figures)}
"""


def sizes_section(result: sizes.Sizes) -> str:
    names = [name for name in (sizes.OURS, sizes.PEER) if name in result.rows[0].cpu]
    rows = [
        [
            f"{row.picture}, {row.width}",
            *(milliseconds(row.cpu[name]) for name in names),
            f"{row.cpu[sizes.OURS] / row.cpu[sizes.PEER]:.2f}" if sizes.PEER in row.cpu else "–",
            *(f"{row.size[name] / 1000:.1f}" for name in names),
        ]
        for row in result.rows
    ]
    memory = [
        [picture, *(f"{peaks[name] / 1e6:.0f}" for name in names)]
        for picture, peaks in result.peak_memory.items()
    ]
    head = ["picture, width", *(f"{name}, ms" for name in names), "ratio", *(f"{name}, kB" for name in names)]
    missing = f"\n{sizes.PEER} is missing from this run: {result.missing}.\n" if result.missing else ""
    ratio = "" if result.ratio is None else f" Over all sizes the ratio is {result.ratio:.2f}."
    return f"""## Sizes

CPU milliseconds to make a size of a picture, and its bytes: Vetrina's `resizing` beside
[sharp](../bench/peers/sharp_sizes.js) as its documentation shows it, both with quality
{resizing.QUALITY} and effort {resizing.EFFORT} of the same encoder, in one run. The aim is a ratio of 1 at
the most over all sizes.{ratio}
{missing}
{table(head, rows)}

The most memory of each maker's process after all sizes of a picture, in MB, with its interpreter:

{table(["picture", *names], memory)}

{SIZES_CHOICES}"""


#: How the settings of ``resizing`` were chosen, by measurements that this program does not repeat.
SIZES_CHOICES: Final = """The settings of `resizing` come from these measurements, with Pillow 13.0.0:

- **Decoder.** A JPEG of 12 MP is decoded in full in 63 ms, at 5/8 of its size in 79 ms, and at 1/2 in
  47 ms. For a width of 2048 the decode at 5/8 is nevertheless the better one: resampling from it takes
  55 ms instead of 90 ms, and the decoded picture 14 MB instead of 36 MB. libwebp decodes a lossy WebP of
  12 MP in full in 345 ms, and to 1.5 times the wanted width in 180 to 200 ms.
- **Filter.** From 2500 to 2048 pixels Hamming's filter takes 47 ms, the bicubic one 68 ms, and Lanczos'
  95 ms. A photograph is as sharp with Hamming's as with the bicubic one (mean difference to a blurred copy
  at 640 pixels: 1.49 with both). At quality 80 the sizes of that photograph differ from a Lanczos-filtered
  original by 41.7 dB at 1280 pixels and 35.9 dB at 640, and those of sharp by 40.6 dB and 36.0 dB.
- **Gap.** A picture is first averaged down by a whole factor, to no less than 1.5 times the wanted width.
  For a width of 320 of a transparent PNG of 2 MP, gaps of 1.5, 2 and 3 take 13, 15 and 25 ms.
- **Effort.** For 2048 × 1536 pixels the efforts 0 to 5 take 60, 74, 105, 280, 280 and 297 ms and give 95,
  92, 84, 80, 81 and 80 kB. With an alpha channel, 4 gives 7 % fewer bytes than 3. A size is made once and
  served often, so the effort is 4.
"""


def lists_section(orders: Mapping[str, Sequence[str]]) -> str:
    rows = [[name, *cells] for name, cells in orders.items()]
    return f"""## Lists

A page of {PER_PAGE} products among {ORDERED_SIZE:,}, in milliseconds: the first, the middle and the last page
of each filter in each order, from a SQLite catalog. `python -m bench.list` also compares 100 products with
100,000.

{table(["filter", *Sort], rows)}
"""


def fairness_section(rows: Sequence[fairness.Row]) -> str:
    head = ["attack", "upload", "list", "picture", "health", "slowest refusal", "memory, MB"]
    places = {row.place: [each for each in rows if each.place == row.place] for row in rows}
    parts = []
    for place, own in places.items():
        facts = [f"- {row.attack}: {sentence}." for row in own for sentence in row.sentences()]
        parts += [f"### {place[0].upper()}{place[1:]}", table(head, [row.cells() for row in own])]
        parts += ["\n".join(facts)] if facts else []
    tables = "\n\n".join(parts)
    missed = sum(not row.holds for row in rows)
    result = {0: "No attack misses one.", 1: "1 attack misses an aim, which is bold."}.get(
        missed, f"{missed} attacks miss an aim, which is bold."
    )
    return f"""## Under attack

What one tenant notices while another one attacks: p50 / p99 in milliseconds, and the requests that failed.
The attackers use eight addresses if the name does not say otherwise, and share the machine with the
server. The last two columns are the slowest error that an attacker got, and the most memory of the
server's processes. The aims are no failure, a p99 of {1000 * AIM:.0f} ms, and refusals within
{AIM:.0f} s. {result} MongoDB is a stand-in, SecantusDB, which is slower; nginx is that of
[deploy/nginx.conf](../deploy/nginx.conf) without TLS. One attack: `python -m bench.fairness huge_webps`.

{tables}
"""


def document(folder: Path, *, quick: bool) -> str:
    """Measures, writes the plot, and returns the text of the page."""
    if quick:
        costs, parts = upload.measure(folder, 1), stages.measure(folder, 1)
        rates, served = throughput.measure(folder, 1), serving.measure(folder, 1)
        made = sizes.measure(folder, 1)
        fair = list(fairness.measure(folder / "fairness", 3))
    else:
        costs, parts = upload.measure(folder), stages.measure(folder)
        rates, served = throughput.measure(folder), serving.measure(folder)
        made = sizes.measure(folder)
        fair = list(fairness.measure(folder / "fairness"))
    lists = measure_lists(folder)
    panels = [
        plot.Panel(
            picture,
            [f"{clients}" for clients in CLIENTS],
            [[rates.rate(picture, clients, name) for name in rates.names] for clients in CLIENTS],
        )
        for picture in PICTURES
    ]
    put_into_readme(costs)
    PLOT.write_text(plot.svg("Uploads a second", rates.names, panels, "clients"))
    return f"""# Performance

Measured on {machine()}. The ratios matter: all servers of a table take turns in one run, round after
round, and their medians are compared. The figures themselves are those of one machine.

Run it again with `make bench`; it takes about 17 minutes, and rewrites this page. It needs Linux, and uses
nginx and Node if they are installed. The first run installs the peers into `.venv`, and may compile
better-sqlite3 for some minutes. A peer that can't be installed is left out, and named with the reason.
The pictures are made by [bench/pictures.py](../bench/pictures.py), the same on every machine.

{throughput_section(rates)}
{upload_section(costs)}
{stages_section(parts, costs)}
{serving_section(served)}
{sizes_section(made)}
{lists_section(lists)}
{fairness_section(fair)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of each, to try it")
    quick = parser.parse_args().quick
    # The temporary folder is not used: it may be in memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as folder:
        text = document(Path(folder).resolve(), quick=quick)
    DOCUMENT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
