"""Private parts of dependencies whose change no other test would notice: see docs/upgrading.md."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import requests
from gunicorn import arbiter
from gunicorn.config import Config

from tests.servers import gunicorn

ROOT = Path(__file__).parent.parent
GUARDS = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs/upgrading.md").read_text())


@pytest.mark.parametrize(("path", "name"), sorted(set(GUARDS)), ids=lambda value: value)
def test_each_guard_that_the_page_names_exists(path: str, name: str) -> None:
    assert re.search(rf"^\s*def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_the_settings_of_gunicorn_can_be_attributes() -> None:
    # See Worker.init_process().
    config = Config()
    before = {name: getattr(config, name) for name in config.settings}
    vars(config).update({name: setting.get() for name, setting in config.settings.items()})
    assert {name: getattr(config, name) for name in config.settings} == before
    vars(config)["keepalive"] = 77  # gunicorn reads the attribute, not the setting
    assert config.keepalive == 77


def test_gunicorn_hands_its_sockets_to_an_upgrade_by_the_variable_that_the_start_looks_for() -> None:
    # See on_starting() of gunicorn.conf.py, which must not probe an address that is inherited.
    assert "GUNICORN_FD" in inspect.getsource(arbiter)
    assert "GUNICORN_FD" in (ROOT / "gunicorn.conf.py").read_text()


def test_gunicorn_writes_no_access_log_of_its_own(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="1") as server:
        assert requests.get(f"{server.url}/docs", timeout=10).status_code == 200
    lines = [line for line in server.log.read_text().splitlines() if "/docs" in line]
    assert ["vetrina.access" in line for line in lines] == [True]
