"""Each file that tells other programs how to run Vetrina is checked by a tool made for its format."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from app import memory_bound
from catalog.daily_usage import Totals
from catalog.identity import Usage
from catalog.purges import Backlog
from config import Settings
from tests.programs import require_program
from version import VERSION

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
MANIFESTS = sorted(set((DEPLOY / "kubernetes").iterdir()) - {DEPLOY / "kubernetes" / "kustomization.yaml"})


def run(*command: str | Path) -> str:
    """Runs a tool and gives what it prints; the test fails with that if the tool fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def python_tool(name: str) -> str:
    """A tool that requirements-dev.txt installs beside the interpreter."""
    return str(Path(sys.executable).with_name(name))


# --- containers


def test_the_dockerfile_passes_hadolint() -> None:
    run(python_tool("hadolint"), ROOT / "Dockerfile")


@pytest.mark.parametrize("name", ["compose.yaml", "compose.single.yaml"])
def test_a_compose_file_follows_the_compose_specification(name: str) -> None:
    run(python_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", ROOT / name)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.single.yaml"])
def test_every_service_runs_without_privileges_and_on_a_read_only_file_system(name: str) -> None:
    services = yaml.safe_load((ROOT / name).read_text())["services"]
    assert "vetrina" in services
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"mem_limit", "pids_limit", "logging"} <= set(service)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.single.yaml"])
def test_a_config_of_a_read_only_service_is_a_file_that_exists(name: str) -> None:
    configs = yaml.safe_load((ROOT / name).read_text()).get("configs", {})
    for config in configs.values():
        assert set(config) == {"file"}
        assert (ROOT / config["file"]).is_file()


def in_bytes(limit: str) -> int:
    """A limit of memory of Compose (``3g`` is 3 GiB) or of Kubernetes (``3Gi``), in bytes."""
    number, unit = re.fullmatch(r"(\d+)([a-zA-Z]+)", limit).groups()  # type: ignore[union-attr]  # the test fails
    return int(number) * {"m": 2**20, "mi": 2**20, "g": 2**30, "gi": 2**30}[unit.lower()]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.single.yaml"])
def test_the_limit_of_a_compose_file_is_at_least_the_memory_that_the_workers_can_take(name: str) -> None:
    server = yaml.safe_load((ROOT / name).read_text())["services"]["vetrina"]
    assert in_bytes(server["mem_limit"]) >= memory_bound(Settings.from_env(server["environment"]))


def test_the_limit_of_the_pod_is_at_least_the_memory_that_the_workers_can_take() -> None:
    (generator,) = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())[
        "configMapGenerator"
    ]
    environ = dict(literal.split("=", 1) for literal in generator["literals"])
    environ |= {"R2_ACCESS_KEY_ID": "example-key", "R2_SECRET_ACCESS_KEY": "example-secret"}
    deployment = yaml.safe_load((DEPLOY / "kubernetes" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    limit = in_bytes(container["resources"]["limits"]["memory"])
    assert limit >= memory_bound(Settings.from_env(environ))


def most_tasks(settings: Settings) -> int:
    """The most threads of a server: docs/operations.md "Under attack"."""
    (threads,) = re.findall(r"^threads = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)
    per_request = 3 if settings.storage_backend == "r2" else 1
    return 2 * settings.web_concurrency * (int(threads) * per_request + 40) + 100


@pytest.mark.parametrize("name", ["compose.yaml", "compose.single.yaml"])
def test_the_limit_of_a_compose_file_is_at_least_the_threads_of_the_workers(name: str) -> None:
    server = yaml.safe_load((ROOT / name).read_text())["services"]["vetrina"]
    assert server["pids_limit"] >= most_tasks(Settings.from_env(server["environment"]))


# --- systemd


def test_the_limit_of_the_unit_is_at_least_the_threads_of_the_workers() -> None:
    example = (DEPLOY / "vetrina.env").read_text()
    environ = dict(re.findall(r"^(\w+)='(.*)'$", example, re.MULTILINE))
    (limit,) = re.findall(
        r"^TasksMax=(\d+)$", (DEPLOY / "systemd" / "vetrina.service").read_text(), re.MULTILINE
    )
    assert int(limit) >= most_tasks(Settings.from_env(environ))


def installed_copy(unit: Path, folder: Path) -> Path:
    """The unit as systemd can verify it here, where the server is not installed in /srv/vetrina."""
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    copy = folder / unit.name
    copy.write_text(text)
    return copy


def test_systemd_verifies_the_units(tmp_path: Path) -> None:
    program = require_program("systemd-analyze")
    copies = [installed_copy(unit, tmp_path) for unit in UNITS]
    assert run(program, "verify", *copies) == ""


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda u: u.name)
def test_the_services_are_confined(unit: Path, tmp_path: Path) -> None:
    program = require_program("systemd-analyze")
    # The scale of exposure goes from 0 to 10.
    run(program, "security", "--offline=true", "--threshold=20", installed_copy(unit, tmp_path))


# --- Kubernetes


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_valid(manifest: Path) -> None:
    assert "passed" in run(python_tool("kubernetes-validate"), "--strict", manifest)


def test_the_kustomization_names_every_manifest_and_this_version() -> None:
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert set(kustomization["resources"]) == {path.name for path in MANIFESTS}
    assert [image["newTag"] for image in kustomization["images"]] == [VERSION]


def pods() -> list[Any]:
    """The pod specifications of all manifests."""
    found = []
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            spec = document["spec"]
            template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
            if template:
                found.append(template["spec"])
    return found


def test_every_pod_reads_the_generated_settings_and_runs_without_privileges() -> None:
    assert len(pods()) == 3
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["envFrom"] == [
            {"configMapRef": {"name": "vetrina-settings"}},
            {"secretRef": {"name": "vetrina-secrets"}},
        ]
        assert container["image"] == "vetrina"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


# --- monitoring


def test_promtool_accepts_the_alert_rules_and_their_tests_pass() -> None:
    promtool = require_program("promtool")
    run(promtool, "check", "rules", DEPLOY / "prometheus" / "alerts.yml")
    run(promtool, "test", "rules", DEPLOY / "prometheus" / "alerts_test.yml")


def test_promtool_accepts_the_scrape_configuration() -> None:
    promtool = require_program("promtool")
    run(promtool, "check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")


def dashboard_queries() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [query.replace("$__rate_interval", "5m").replace("$job", "vetrina") for query in queries]


def test_promtool_accepts_every_query_of_the_dashboard(tmp_path: Path) -> None:
    promtool = require_program("promtool")
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(dashboard_queries())]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", path)


def test_alerts_and_dashboard_use_metrics_that_the_server_has() -> None:
    from api.metrics import PurgeBacklog  # noqa: PLC0415  # registers the metrics
    from api.totals_metrics import CatalogTotals  # noqa: PLC0415  # with the others

    of_stores = CollectorRegistry()
    of_stores.register(PurgeBacklog(lambda: Backlog(0, None)))
    of_stores.register(CatalogTotals(lambda: Totals(0, Usage())))
    text = (generate_latest() + generate_latest(of_stores)).decode()
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    known |= {f"{name}{suffix}" for name in known for suffix in ("_bucket", "_sum", "_count")}
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    queries = dashboard_queries() + [rule["expr"] for group in rules for rule in group["rules"]]
    used = {name for query in queries for name in re.findall(r"\bvetrina_\w+", query)}
    assert used
    assert used - known == set()


def test_the_dashboard_has_panels_with_unique_ids_inside_the_grid() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in dashboard["panels"])


# --- proxies and logs


def test_gixy_finds_nothing_in_the_configuration_of_nginx() -> None:
    # It wants a cache of open files beside try_files, from which a deleted picture would still be served, and
    # a header that Vetrina's own answers have.
    skipped = "--skips=try_files_is_evil_too,hsts_header"
    assert "No issues found" in run(python_tool("gixy"), skipped, DEPLOY / "nginx.conf")


def test_caddy_accepts_its_file_and_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caddy = require_program("caddy")
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    run(caddy, "validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile")
    formatted = run(caddy, "fmt", DEPLOY / "Caddyfile")
    assert formatted == (DEPLOY / "Caddyfile").read_text()


def test_logrotate_accepts_its_file(tmp_path: Path) -> None:
    logrotate = require_program("logrotate")
    # logrotate refuses a file that others may write to, which a working copy may be.
    copy = Path(shutil.copy(DEPLOY / "logrotate.conf", tmp_path))
    copy.chmod(0o644)
    said = run(logrotate, "--debug", "--state", tmp_path / "state", copy)
    assert "after 1 days (14 rotations)" in said
    assert "error" not in said
