"""What `kubectl kustomize` makes of a folder, as far as k8s/ uses it, where there is no kubectl.

Generated names keep no hash, and the namespace is left out.
"""

import re
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

# Lists are merged by what names their items; the patch's own come first.
MERGE_KEYS = {"containers": "name", "volumes": "name", "volumeMounts": "mountPath"}


def load(file: Path) -> list[Object]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def render(folder: Path) -> list[Object]:
    """The objects of a folder with everything its kustomization.yaml says."""
    (settings,) = load(folder / "kustomization.yaml")
    objects: list[Object] = []
    for name in settings["resources"]:
        path = folder / name
        objects += render(path.resolve()) if path.is_dir() else load(path)
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for generator in settings.get(key, []):
            _generate(objects, kind, generator)
    for patch in settings.get("patches", []):
        objects = [_patched(folder, each, patch) for each in objects]
    for each in objects:
        for label in settings.get("labels", []):
            _label(each, label)
        _count_and_tag(each, settings)
    return objects


def pod_spec(each: Object) -> Object:
    """The pod of a workload; empty for anything else."""
    found: Object = each.get("spec", {}).get("template", {}).get("spec", {})
    return found


def _generate(objects: list[Object], kind: str, generator: Object) -> None:
    values = dict(literal.split("=", 1) for literal in generator["literals"])
    if generator.get("behavior") == "merge":
        for each in objects:
            if (each["kind"], each["metadata"]["name"]) == (kind, generator["name"]):
                each["data"] |= values
        return
    metadata = {"name": generator["name"]}
    objects.append({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": values})


def _patched(folder: Path, each: Object, patch: Object) -> Object:
    if not _is_target(each, patch["target"]):
        return each
    if "path" in patch:
        (change,) = load(folder / patch["path"])
        return {**each, "spec": merged(each["spec"], change["spec"])}
    for operation in yaml.safe_load(patch["patch"]):
        assert operation["op"] == "replace"
        *parents, last = operation["path"].strip("/").split("/")
        place = each
        for parent in parents:
            place = place[parent]
        place[last] = operation["value"]
    return each


def _is_target(each: Object, target: Object) -> bool:
    labels = each["metadata"].get("labels", {})
    key, _, value = target.get("labelSelector", "=").partition("=")
    return bool(
        re.fullmatch(target["kind"], each["kind"])
        and target.get("name", each["metadata"]["name"]) == each["metadata"]["name"]
        and (not key or labels.get(key) == value)
    )


def merged(old: Any, new: Any, key: str = "") -> Any:
    """A strategic merge: maps by key, some lists by what names their items."""
    if isinstance(old, dict) and isinstance(new, dict):
        both = {name: merged(old[name], new[name], name) for name in old.keys() & new.keys()}
        return {**old, **new, **both}
    if key in MERGE_KEYS:
        name = MERGE_KEYS[key]
        olds = {item[name]: item for item in old}
        first = [merged(olds.pop(item[name], {}), item) for item in new]
        return first + list(olds.values())
    return new


def _count_and_tag(each: Object, settings: Object) -> None:
    for replicas in settings.get("replicas", []):
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", replicas["name"]):
            each["spec"]["replicas"] = replicas["count"]
    for image in settings.get("images", []):
        for container in pod_spec(each).get("containers", []):
            if container["image"] == image["name"]:
                container["image"] += f":{image['newTag']}"


def _label(each: Object, label: Object) -> None:
    pairs = label["pairs"]
    each["metadata"].setdefault("labels", {}).update(pairs)
    selects = label.get("includeSelectors", False)
    spec = each.get("spec", {})
    if "template" in spec and (selects or label.get("includeTemplates")):
        spec["template"].setdefault("metadata", {}).setdefault("labels", {}).update(pairs)
    if selects and each["kind"] == "Deployment":
        spec.setdefault("selector", {}).setdefault("matchLabels", {}).update(pairs)
    elif selects and each["kind"] == "Service":
        spec.setdefault("selector", {}).update(pairs)
