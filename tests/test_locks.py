"""The lock files: complete, current, and free of registry addresses. ``make lock`` writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REQUIREMENTS = {
    "requirements.lock": ["requirements.txt"],
    "requirements-dev.lock": ["requirements.txt", "requirements-dev.txt"],
    "bench/peers/requirements.lock": ["bench/peers/requirements.txt"],
}
PACKAGES = ["package.json", "bench/peers/package.json"]
#: One entry: a pin, perhaps a marker, and its hashes on lines of their own.
ENTRY = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; [^\\\n]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def pins(path: Path) -> set[tuple[str, str]]:
    """The name and version of each requirement, without its extras and its marker."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("-r ", "#"))]
    found = [re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z0-9,]+\])?==(\S+)(?: ; .+)?", line) for line in lines]
    return {(match[1], match[2]) for match in found if match is not None}


def locked(path: Path) -> set[tuple[str, str]]:
    return {(name, version) for name, version, _ in ENTRY.findall(path.read_text())}


@pytest.mark.parametrize("lock", REQUIREMENTS)
def test_a_lock_has_each_required_package_in_the_required_version(lock: str) -> None:
    required = set().union(*(pins(ROOT / name) for name in REQUIREMENTS[lock]))
    assert required
    assert required - locked(ROOT / lock) == set()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "bench/peers/requirements.txt"])
def test_every_requirement_is_a_pin(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("-r ")]
    assert len(pins(ROOT / name)) == len(lines)


@pytest.mark.parametrize("lock", REQUIREMENTS)
def test_every_line_of_a_lock_is_a_pin_with_hashes_or_a_comment(lock: str) -> None:
    rest = ENTRY.sub("", (ROOT / lock).read_text())
    assert [line for line in rest.splitlines() if not re.match(r" *#", line)] == []


def test_the_development_lock_agrees_with_the_runtime_lock() -> None:
    assert locked(ROOT / "requirements.lock") <= locked(ROOT / "requirements-dev.lock")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_npm_lock_has_each_package_in_the_required_version_with_its_hash(package: str) -> None:
    wanted = json.loads((ROOT / package).read_text())
    packages = json.loads((ROOT / package).with_name("package-lock.json").read_text())["packages"]
    versions = wanted.get("dependencies", {}) | wanted.get("devDependencies", {})
    assert versions
    assert {name: packages[f"node_modules/{name}"]["version"] for name in versions} == versions
    assert [name for name, entry in packages.items() if name and "integrity" not in entry] == []


@pytest.mark.parametrize("lock", [*REQUIREMENTS, "package-lock.json", "bench/peers/package-lock.json"])
def test_no_lock_names_the_address_of_a_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.findall(r'"resolved"|--(?:extra-)?index-url|--find-links|://[^/]*(?:registry|pypi)', text) == []
