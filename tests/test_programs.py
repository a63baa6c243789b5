from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.outcomes import Failed, Skipped

from tests.programs import require_program


def test_a_missing_program_skips_its_test_and_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PATH", "")
    expected = r"^vetrina-exists-not is not installed \(Debian: apt install vetrina-exists-not\)$"
    with pytest.raises(Skipped, match=expected):
        require_program("vetrina-exists-not")


def test_a_missing_program_fails_its_test_on_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Failed, match="is not installed"):
        require_program("vetrina-exists-not")


def test_the_first_installed_program_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vetrina-exists"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert require_program("vetrina-exists-not", "vetrina-exists") == str(program)
