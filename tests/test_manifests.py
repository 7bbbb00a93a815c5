"""Compose and Kubernetes files, checked against each other, the settings and the processes."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dev.folders import ROOT
from dev.processes import PROCESSES
from shared.settings import Settings

BASE = ROOT / "k8s" / "base"
PROCESS_NAMES = {process.name for process in PROCESSES}
STORES = {"postgres", "valkey", "elasticsearch"}
SETTINGS = {name.upper() for name in Settings.model_fields}


def objects(*folders: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for folder in folders:
        for file in sorted((ROOT / "k8s" / folder).glob("*.yaml")):
            found += [each for each in yaml.safe_load_all(file.read_text()) if each]
    return found


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {o["metadata"]["name"]: o for o in objects("base") if o.get("kind") == kind}


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    template: dict[str, Any] = workload["spec"]["template"]
    return template


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod(workload)["spec"]["containers"]
    found: dict[str, Any] = only
    return found


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def test_every_process_runs_the_same_way_everywhere(compose: dict[str, Any]) -> None:
    deployments = of_kind("Deployment")
    assert set(deployments) == PROCESS_NAMES
    assert set(compose["services"]) == PROCESS_NAMES | STORES | {"migrate", "keys"}
    for process in PROCESSES:
        command = container(deployments[process.name])["command"]
        assert compose["services"][process.name]["command"] == command
        assert command[:3] == ["python", "-m", process.arguments[0]]
        assert command[3] == process.arguments[1]
        if process.port:
            assert command[-1] == str(process.port)


def test_environment_names_are_settings(compose: dict[str, Any]) -> None:
    for name in PROCESS_NAMES | {"migrate"}:
        assert set(compose["services"][name]["environment"]) <= SETTINGS
    literals = (
        literal
        for document in objects("base", "overlays/dev", "overlays/prod")
        for key in ("configMapGenerator", "secretGenerator")
        for generator in document.get(key, [])
        for literal in generator["literals"]
    )
    assert {literal.partition("=")[0] for literal in literals} <= SETTINGS


def test_services_and_disruption_budgets_select_pods() -> None:
    deployments = of_kind("Deployment")
    for name, service in of_kind("Service").items():
        labels = pod(deployments[name])["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        ports = {port["name"] for port in container(deployments[name])["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for name, budget in of_kind("PodDisruptionBudget").items():
        labels = pod(deployments[name])["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_what_scales_itself_has_no_fixed_replicas() -> None:
    deployments = of_kind("Deployment")
    for scaler in of_kind("HorizontalPodAutoscaler").values():
        assert "replicas" not in deployments[scaler["spec"]["scaleTargetRef"]["name"]]["spec"]


def test_probes_ask_different_questions_and_pods_have_time_to_drain() -> None:
    for name, deployment in of_kind("Deployment").items():
        spec, only = pod(deployment)["spec"], container(deployment)
        if "ports" not in only:
            continue
        assert only["livenessProbe"]["httpGet"]["path"] == "/livez", name
        assert only["readinessProbe"]["httpGet"]["path"] == "/readyz", name
        names = {port["name"] for port in only["ports"]}
        assert {only[p]["httpGet"]["port"] for p in ("livenessProbe", "readinessProbe")} <= names
        pause = only["lifecycle"]["preStop"]["sleep"]["seconds"]
        graceful = Settings.model_fields["graceful_shutdown_s"].default
        assert spec["terminationGracePeriodSeconds"] > pause + graceful


def test_pods_are_restricted() -> None:
    for workload in (*of_kind("Deployment").values(), *of_kind("Job").values()):
        spec, only = pod(workload)["spec"], container(workload)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in only["resources"]["limits"]


def kustomized() -> Iterator[tuple[str, set[str]]]:
    for folder in ("base", "overlays/dev", "overlays/prod"):
        file = ROOT / "k8s" / folder / "kustomization.yaml"
        yield folder, set(yaml.safe_load(file.read_text())["resources"])


def test_kustomizations_name_every_file() -> None:
    for folder, named in kustomized():
        files = {file.name for file in (ROOT / "k8s" / folder).glob("*.yaml")}
        files -= {"kustomization.yaml", "secrets.example.yaml"}
        assert files == {name for name in named if name.endswith(".yaml")}, folder


def test_compose_publishes_the_gateway_to_this_machine_only(compose: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert published == {"gateway": ["127.0.0.1:8000:8000"]}
    for name in PROCESS_NAMES:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_the_image_can_be_built_by_any_builder() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "# syntax=" not in text
    assert "--mount" not in text
    assert "<<" not in text
    copied = {line.split()[1] for line in text.splitlines() if line.startswith("COPY ")}
    for path in copied - {"--from=packages"}:
        assert (ROOT / path).exists()
    assert "USER 10001" in text
