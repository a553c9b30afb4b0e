"""docker-compose.yml: valid, nothing but the dashboard and the pages exposed, and those on this machine only."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

COMPOSE = Path(__file__).parents[1] / "docker-compose.yml"
SECRETS = {"NEUROLOOM_DB_PASSWORD": "x", "NEUROLOOM_PREFECT_AUTH": "admin:x"}


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]


def test_only_the_dashboard_and_the_pages_can_be_reached_and_from_here_only(services):
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports.keys() == {"server", "review"}
    assert all(port.startswith("127.0.0.1:") for exposed in ports.values() for port in exposed)


def test_no_secret_is_written_down(services):
    text = COMPOSE.read_text(encoding="utf-8")
    assert "NEUROLOOM_DB_PASSWORD:?" in text
    assert services["server"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"] == "${NEUROLOOM_PREFECT_AUTH}"


def test_what_others_wait_for_has_a_health_check(services):
    waited_for = {
        other
        for service in services.values()
        for other, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }
    assert waited_for == {"database", "redis", "server"}
    assert all("healthcheck" in services[name] for name in waited_for)


def test_whatever_goes_on_running_has_a_health_check_that_is_python_or_its_own_program(services):
    running = {name: service for name, service in services.items() if service.get("restart") != "no"}
    assert running.keys() == services.keys() - {"migrate"}
    for name, service in running.items():
        kind, program, *arguments = service["healthcheck"]["test"]
        if program == "python":
            compile(arguments[-1], name, "exec")
        assert (kind, program.split()[0]) in {("CMD", "python"), ("CMD", "redis-cli"), ("CMD-SHELL", "pg_isready")}


def test_the_watcher_is_well_while_it_looks_and_ill_when_it_has_not_for_long(services, tmp_path):
    *_, check = services["watcher"]["healthcheck"]["test"]
    beat = tmp_path / "watcher"
    assert services["watcher"]["environment"]["NEUROLOOM_HEARTBEAT"] == "/tmp/watcher"
    check = check.replace("/tmp/watcher", str(beat))
    for age_s, ends in ((None, 1), (0, 0), (301, 1)):
        if age_s is not None:
            beat.touch()
            os.utime(beat, (time.time() - age_s,) * 2)
        assert subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == ends


def test_docker_takes_the_file():
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no docker with compose here; install both to check the file with docker itself")
    command = ["docker", "compose", "-f", COMPOSE, "config", "--quiet"]
    done = subprocess.run(command, env=os.environ | SECRETS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
