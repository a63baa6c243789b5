from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import report, sizes, targets
from bench.targets import PeerUnavailable, Target
from bench.throughput import CLIENTS, PICTURES, Cell, Throughput
from resizing import resize
from tests.pictures import png


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole path; what the peers need is installed into another empty folder."""
    folder = tmp_path / "node" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(targets, "SCRATCH", tmp_path)
    return folder


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def start(peer: str, folder: Path) -> Target:
    with targets.PEER_SERVERS[peer](folder / "data") as target:
        return target


@pytest.mark.usefixtures("programs")
def test_without_node_express_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailable, match=r"^Express: node is not installed$"):
        start("Express", tmp_path)


def test_a_failed_installation_of_express_tells_the_error_of_npm(programs: Path, tmp_path: Path) -> None:
    write_program(programs / "node", "exit 0")
    write_program(programs / "npm", "echo 'npm error code E404'; echo 'npm error a log of this run'; exit 1")
    with pytest.raises(PeerUnavailable, match=r"^Express: `npm ci` failed: npm error code E404$"):
        start("Express", tmp_path)


def test_an_express_that_does_not_start_tells_its_last_line(programs: Path, tmp_path: Path) -> None:
    write_program(programs / "node", "echo 'no such module'; exit 1")
    write_program(programs / "npm", "exit 0")
    with pytest.raises(PeerUnavailable, match=r"^Express: it does not start: no such module$"):
        start("Express", tmp_path)


def test_a_failed_installation_of_fastapi_tells_the_error(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(programs / "python", "echo 'ERROR: no matching distribution'; exit 1")
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    with pytest.raises(
        PeerUnavailable, match=r"^FastAPI: `python -m` failed: ERROR: no matching distribution$"
    ):
        start("FastAPI", tmp_path)


def test_npm_is_told_where_the_headers_of_the_installed_node_are(programs: Path) -> None:
    write_program(programs / "node", "exit 0")
    assert targets.node_headers() == {}
    headers = programs.parent / "include" / "node"
    headers.mkdir(parents=True)
    (headers / "node.h").touch()
    assert targets.node_headers() == {"npm_config_nodedir": str(programs.parent)}


def measured(names: list[str], missing: dict[str, str]) -> str:
    cells = {
        (picture, clients, name): Cell(rates=[100.0 if name == "Vetrina" else 80.0], uploads=1, cpu=0.01)
        for picture in PICTURES
        for clients in CLIENTS
        for name in names
    }
    return report.throughput_section(Throughput(names, cells, dict.fromkeys(names, 1_000_000), missing))


def test_the_report_says_which_peer_is_missing_and_why() -> None:
    section = measured(["Vetrina", "FastAPI"], {"Express": "npm is not installed"})
    assert "\nExpress is missing from this run: npm is not installed.\n" in section
    assert "| JPEG 2 MP, 4 | 100 | 80 | 1.25 |" in section


def test_the_report_has_no_ratio_without_any_peer() -> None:
    assert "| JPEG 2 MP, 4 | 100 | – |" in measured(["Vetrina"], {"FastAPI": "a", "Express": "b"})


def sizes_section(makers: dict[str, float], missing: str = "") -> str:
    rows = [sizes.Row("JPEG 12 MP", 640, makers, dict.fromkeys(makers, 18_000))]
    memory = {"JPEG 12 MP": dict.fromkeys(makers, 120_000_000)}
    return report.sizes_section(sizes.Sizes(rows, memory, missing))


def test_the_report_compares_sizes_with_those_of_sharp() -> None:
    section = sizes_section({"Vetrina": 0.08, "sharp": 0.1})
    assert "| JPEG 12 MP, 640 | 80.0 | 100.0 | 0.80 | 18.0 | 18.0 |" in section
    assert "Over all sizes the ratio is 0.80." in section


def test_the_report_says_why_sharp_is_missing() -> None:
    section = sizes_section({"Vetrina": 0.08}, "npm is not installed")
    assert "\nsharp is missing from this run: npm is not installed.\n" in section
    assert "| JPEG 12 MP, 640 | 80.0 | – | 18.0 |" in section
    assert "Over all sizes" not in section


@pytest.mark.usefixtures("programs")
def test_without_node_sizes_are_measured_without_sharp() -> None:
    commands, missing = sizes.commands()
    assert (list(commands), missing) == (["Vetrina"], "node is not installed")


def test_a_maker_makes_sizes(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(png(64, 48))
    with sizes.maker([sys.executable, "-m", "bench.sizes"]) as maker:
        cpu, size = maker.make(path, 32)
        assert cpu > 0
        assert size == len(resize(path.read_bytes(), 32))
        assert maker.peak_bytes() > 10_000_000
