"""Compose and the image: closed, ready when they say so, buildable anywhere."""

import re

from dev.folders import ROOT
from dev.processes import PROCESSES
from tests.dev.kustomize import load

NAMES = {process.name for process in PROCESSES}
(COMPOSE,) = load(ROOT / "docker-compose.yml")
SERVICES = COMPOSE["services"]


def test_compose_asks_whether_processes_are_ready() -> None:
    for process in PROCESSES:
        if process.port:
            check = SERVICES[process.name]["healthcheck"]["test"]
            assert f"127.0.0.1:{process.port}/readyz" in check[-1]
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            ends = "healthcheck" not in SERVICES[name]
            condition = "service_completed_successfully" if ends else "service_healthy"
            assert wanted == {"condition": condition}


def test_compose_is_closed_but_for_the_gateway() -> None:
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert published == {"gateway": ["127.0.0.1:8000:8000"]}
    assert "version" not in COMPOSE
    for name in NAMES | {"migrate", "keys"}:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - a path inside a container
        assert "user" not in service
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount.split(":")[0] for mount in mounts} == set(COMPOSE["volumes"])


def test_the_example_environment_is_all_that_compose_asks_for() -> None:
    asked = re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text())
    given = re.findall(r"^(\w+)=.", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(asked) == set(given)


def test_the_image_can_be_built_by_any_builder() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "# syntax=" not in text
    assert "--mount" not in text
    assert "<<" not in text
    assert "USER 10001:10001" in text
    kept = set((ROOT / ".dockerignore").read_text().splitlines())
    for line in text.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            path = line.split()[1]
            assert (ROOT / path).exists()
            assert f"!{path}" in kept
