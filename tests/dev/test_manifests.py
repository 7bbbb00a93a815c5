"""The manifests, held against compose, the settings, the processes and each other."""

import base64
import re
import shutil
import subprocess
from pathlib import PurePath
from typing import Any

import pytest
import yaml

from dev.folders import ROOT
from dev.processes import PROCESSES
from services.auth.keys.files import REFRESH, SIGNING
from services.auth.keys.ring import made_at
from shared.settings import Settings
from tests.dev.kustomize import Object, load, pod_spec, render

SERVICES = load(ROOT / "docker-compose.yml")[0]["services"]
NAMES = {process.name for process in PROCESSES}
WEB = {process.name for process in PROCESSES if process.port}
STORES = {"postgres", "valkey", "elasticsearch"}
SETTINGS = {name.upper() for name in Settings.model_fields}
OVERLAYS = {name: ROOT / "k8s" / "overlays" / name for name in ("dev", "prod")}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
NAME = "app.kubernetes.io/name"


@pytest.fixture(params=OVERLAYS, scope="module")
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def objects(overlay: str) -> list[Object]:
    return render(OVERLAYS[overlay])


def of_kind(objects: list[Object], *kinds: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] in kinds}


def processes(objects: list[Object]) -> dict[str, Object]:
    """The Deployments and Jobs of our image, by process."""
    found = of_kind(objects, "Deployment", "Job").values()
    return {each["metadata"]["labels"][NAME]: each for each in found}


def container(workload: Object) -> Object:
    (only,) = pod_spec(workload)["containers"]
    found: Object = only
    return found


def pods_with(objects: list[Object], labels: dict[str, str]) -> list[Object]:
    workloads = of_kind(objects, "Deployment", "Job", "StatefulSet").values()
    templates = (each["spec"]["template"] for each in workloads)
    return [each for each in templates if labels.items() <= each["metadata"]["labels"].items()]


def without_hashes(value: Any) -> Any:
    """What kubectl renders, as our own reading has it."""
    if isinstance(value, dict):
        return {key: without_hashes(each) for key, each in value.items() if key != "namespace"}
    if isinstance(value, list):
        return [without_hashes(each) for each in value]
    if isinstance(value, str):
        return re.sub(r"^(almanac(-migrate|-mail)?)-[a-z0-9]{10}$", r"\1", value)
    return value


def decoded(each: Object) -> Object:
    if each["kind"] != "Secret":
        return each
    data = {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
    return {**{key: value for key, value in each.items() if key != "type"}, "data": data}


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl compares; without it we trust")
def test_our_reading_of_the_overlays_is_that_of_kubectl(
    overlay: str, objects: list[Object]
) -> None:
    command = ["kubectl", "kustomize", str(OVERLAYS[overlay])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    theirs = [decoded(without_hashes(each)) for each in yaml.safe_load_all(done.stdout)]

    def by_name(each: Object) -> tuple[str, str]:
        return each["kind"], each["metadata"]["name"]

    assert sorted(theirs, key=by_name) == sorted(map(without_hashes, objects), key=by_name)


def test_every_process_runs_the_same_way_everywhere(objects: list[Object]) -> None:
    workloads = processes(objects)
    assert set(workloads) == NAMES | {"migrate"}
    assert set(SERVICES) == NAMES | STORES | {"migrate", "keys"}
    for process in PROCESSES:
        command = container(workloads[process.name])["command"]
        assert SERVICES[process.name]["command"] == command
        assert command[:4] == ["python", "-m", *process.arguments[:2]]
        if process.port:
            assert command[-1] == str(process.port)
    # Compose replaces $ with variables of its own, and $$ with $.
    migrate = [part.replace("$$", "$") for part in SERVICES["migrate"]["command"]]
    assert container(workloads["migrate"])["command"] == migrate


def test_environment_names_are_settings(objects: list[Object]) -> None:
    for name in NAMES | {"migrate"}:
        assert set(SERVICES[name]["environment"]) <= SETTINGS
    for each in (*objects, *load(OVERLAYS["prod"] / "secrets.example.yaml")):
        if (
            each["metadata"]["name"]
            in {"almanac", "almanac-migrate", "almanac-mail", "almanac-cursors"}
            and "kind" in each
        ):
            assert set(each.get("data", {})) | set(each.get("stringData", {})) <= SETTINGS
    for workload in processes(objects).values():
        assert {each["name"] for each in container(workload).get("env", [])} <= SETTINGS


def test_what_pods_are_given_is_defined(overlay: str, objects: list[Object]) -> None:
    examples = load(OVERLAYS["prod"] / "secrets.example.yaml")
    # Keys and the secret of cursors are made by hand in both overlays, the rest in production.
    by_hand = examples if overlay == "prod" else examples[3:]
    secrets = {*of_kind(objects, "Secret"), *of_kind(by_hand, "Secret")}
    for workload in processes(objects).values():
        for source in container(workload)["envFrom"]:
            if "secretRef" in source:
                assert source["secretRef"]["name"] in secrets
            else:
                assert source["configMapRef"]["name"] in of_kind(objects, "ConfigMap")
        for volume in pod_spec(workload)["volumes"]:
            assert volume.get("secret", {}).get("secretName", "almanac") in secrets


def test_auth_has_both_kinds_of_keys_in_a_folder_that_can_change(objects: list[Object]) -> None:
    examples = of_kind(load(OVERLAYS["prod"] / "secrets.example.yaml"), "Secret")
    names = [PurePath(name) for name in examples["almanac-jwt"]["stringData"]]
    assert {name.suffix for name in names} == {SIGNING, REFRESH}
    assert all(made_at(name.stem) > 0 for name in names)
    auth = processes(objects)["auth"]
    (mount,) = container(auth)["volumeMounts"][-1:]
    # A file of a subPath never changes in a running pod.
    assert "subPath" not in mount
    assert mount["mountPath"] == str(Settings.model_fields["jwt_keys_dir"].default)
    (volume,) = [v for v in pod_spec(auth)["volumes"] if v["name"] == mount["name"]]
    assert "items" not in volume["secret"]
    assert not examples["almanac-jwt"].get("immutable")


def test_no_secret_is_kept_here() -> None:
    assert not of_kind(render(OVERLAYS["prod"]), "Secret")
    for each in of_kind(render(OVERLAYS["dev"]), "Secret").values():
        assert not any(re.search(r"//[^/]*:[^/]*@", value) for value in each["data"].values())


def test_secrets_are_given_to_the_process_that_signs_with_them(objects: list[Object]) -> None:
    secrets = {"almanac-jwt": "auth", "almanac-mail": "auth", "almanac-cursors": "search"}
    for secret, process in secrets.items():
        given = [name for name, each in processes(objects).items() if secret in str(each)]
        assert given == [process]
    has_secret = [n for n in NAMES if "CURSOR_SECRETS" in SERVICES[n].get("environment", {})]
    assert has_secret == ["search"]
    mounts = {name: s["volumes"] for name, s in SERVICES.items() if "volumes" in s}
    assert mounts["auth"] == ["keys:/keys:ro", "mail:/mail"]
    assert [name for name, each in mounts.items() if "keys:" in str(each)] == ["keys", "auth"]


def test_services_select_pods_and_name_their_ports(objects: list[Object]) -> None:
    services = of_kind(objects, "Service")
    assert WEB <= set(services)
    assert not NAMES - WEB & set(services)
    for service in services.values():
        (pod,) = pods_with(objects, service["spec"]["selector"])
        ports = {port["name"] for each in pod["spec"]["containers"] for port in each["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for ingress in of_kind(objects, "Ingress").values():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["backend"]["service"] == {"name": "gateway", "port": {"name": "http"}}


def test_the_addresses_of_services_are_right(objects: list[Object]) -> None:
    config = of_kind(objects, "ConfigMap")["almanac"]["data"]
    for process in PROCESSES:
        if process.port and process.name != "gateway":
            url = f"http://{process.name}:{process.port}"
            assert config[f"{process.name.upper()}_URL"] == url
            assert SERVICES["search"]["environment"][f"{process.name.upper()}_URL"] == url
            (port,) = of_kind(objects, "Service")[process.name]["spec"]["ports"]
            assert port["port"] == process.port


def test_budgets_and_scalers_have_a_target(objects: list[Object]) -> None:
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert set(budgets) == NAMES
    for name, budget in budgets.items():
        (pod,) = pods_with(objects, budget["spec"]["selector"]["matchLabels"])
        assert pod["metadata"]["labels"][NAME] == name
        assert budget["spec"]["maxUnavailable"] == 1
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    assert set(scalers) == WEB
    for scaler in scalers.values():
        target = of_kind(objects, "Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
        assert "replicas" not in target["spec"]


def test_network_policies_deny_by_default_and_select_pods(objects: list[Object]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert policies["deny-all"]["spec"] == deny
    known = NAMES | STORES | {"migrate"}
    for policy in policies.values():
        for names in re.findall(r"'values': \[([^]]*)\]", str(policy)):
            assert set(names.replace("'", "").split(", ")) <= known
        for name in re.findall(rf"'{NAME}': '([^']*)'", str(policy)):
            assert name in known
    dns = policies["dns"]["spec"]["egress"][0]["ports"]
    assert {port["protocol"] for port in dns} == {"UDP", "TCP"}


def test_probes_ask_different_questions(objects: list[Object]) -> None:
    for name in WEB:
        only = container(processes(objects)[name])
        paths = {probe: only[probe]["httpGet"]["path"] for probe in PROBES}
        assert paths == dict(zip(PROBES, ("/livez", "/livez", "/readyz"), strict=True))
        ports = {port["name"] for port in only["ports"]}
        assert {only[probe]["httpGet"]["port"] for probe in PROBES} <= ports
        assert all(only[probe]["timeoutSeconds"] for probe in PROBES)
        assert only["livenessProbe"]["periodSeconds"] > only["readinessProbe"]["periodSeconds"]


def test_pods_have_time_to_drain(objects: list[Object]) -> None:
    graceful = Settings.model_fields["graceful_shutdown_s"].default
    for name in NAMES:
        workload = processes(objects)[name]
        hook = container(workload).get("lifecycle", {}).get("preStop", {})
        pause = hook.get("sleep", {}).get("seconds", 0)
        assert bool(pause) == (name in WEB)
        assert pod_spec(workload)["terminationGracePeriodSeconds"] > pause + graceful
        assert int(SERVICES[name]["stop_grace_period"].rstrip("s")) > graceful
        assert workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_pods_are_restricted(objects: list[Object]) -> None:
    namespace = of_kind(objects, "Namespace")["almanac"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"
    workloads = of_kind(objects, "Deployment", "Job", "StatefulSet").values()
    for workload in workloads:
        spec, only = pod_spec(workload), container(workload)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert isinstance(spec["securityContext"]["runAsUser"], int)
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert only["securityContext"]["allowPrivilegeEscalation"] is False
        assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in only["resources"]["limits"]
        assert "cpu" not in only["resources"]["limits"]
        if workload["kind"] != "StatefulSet":
            assert only["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory", "ephemeral-storage"} == set(only["resources"]["requests"])


def test_images_have_fixed_tags_and_no_host(objects: list[Object]) -> None:
    workloads = of_kind(objects, "Deployment", "Job", "StatefulSet").values()
    images = {container(workload)["image"] for workload in workloads}
    stores = {SERVICES[name]["image"] for name in STORES}
    for image in images | stores:
        assert re.fullmatch(r"([a-z]+/)?[a-z]+:[0-9a-z.]+", image)
        assert not image.endswith(":latest")
    assert {image for image in images if not image.startswith("almanac:")} <= stores


def test_a_release_has_one_version() -> None:
    objects, version = render(OVERLAYS["prod"]), Settings.model_fields["version"].default
    (job,) = of_kind(objects, "Job")
    assert job == f"migrate-{version.replace('.', '-')}"
    for workload in processes(objects).values():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/version"] == version
        assert container(workload)["image"] == f"almanac:{version}"
    assert f"ARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text()


def test_kustomizations_name_every_file() -> None:
    for file in (ROOT / "k8s").rglob("kustomization.yaml"):
        (settings,) = load(file)
        patches = {patch["path"] for patch in settings.get("patches", []) if "path" in patch}
        named = {*settings["resources"], *patches}
        there = {each.name for each in file.parent.glob("*.yaml")}
        there |= {f"common/{each.name}" for each in file.parent.glob("common/*.yaml")}
        there |= {each.parent.name for each in file.parent.glob("*/kustomization.yaml")}
        # Secrets are made by hand, and the base is named from the overlays.
        there -= {"kustomization.yaml", "secrets.example.yaml"}
        assert there == named - {"../../base"}, file
