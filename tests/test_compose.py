"""docker-compose.yml: valid, nothing but the dashboard and the pages exposed, and those on this machine only."""

import os
import shutil
import subprocess
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


def test_docker_takes_the_file():
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no docker with compose here; install both to check the file with docker itself")
    command = ["docker", "compose", "-f", COMPOSE, "config", "--quiet"]
    done = subprocess.run(command, env=os.environ | SECRETS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
