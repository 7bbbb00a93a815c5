"""The whole road with real processes: import, find, drop the index, rebuild, find again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.folders import ROOT, remove_data
from tests.client import PASSWORD

OFFSET = 2000
GATEWAY = f"http://127.0.0.1:{8000 + OFFSET}"
CONFERENCES = ROOT.parent / "shared" / "data" / "conferences.jsonl"
WAIT_S = 60


def conferences(folder: Path) -> Path:
    """200 lines: real ones where they are at hand, else as many of the same form."""
    file = folder / "conferences.jsonl"
    if CONFERENCES.exists():
        lines = CONFERENCES.read_text().splitlines()[:200]
    else:
        made = (
            {"name": f"Conf {n}", "starts_on": "2027-01-01", "ends_on": "2027-01-02"}
            for n in range(200)
        )
        lines = [json.dumps(each) for each in made]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, str]]:
    """Everything, started as `make run` does; the addresses of its stores."""
    data = ROOT / ".local" / "end-to-end"
    remove_data(data)
    stores = ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL")
    env = {k: v for k, v in os.environ.items() if k not in stores}
    command = [sys.executable, "-m", "dev.run", "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--port-offset", str(OFFSET)],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if "Almanac runs" in line:
            break
    else:
        pytest.fail("".join(said))
    yield json.loads((data / "environment.json").read_text())
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def search(**parameters: str) -> dict[str, Any]:
    names = {f"filter[{name}]": value for name, value in {"period": "all", **parameters}.items()}
    answer = httpx.get(f"{GATEWAY}/v1/search/events", params=names)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def is_indexed(count: int) -> bool:
    meta = search()["meta"]
    return bool(meta["engine"] == "elasticsearch" and meta["count"] == count)


def is_rebuilt(data: str) -> bool:
    """Rebuild by the command, unless the worker, which misses the index too, is at it now."""
    arguments = ["dev.inside", "--data", data, "services.search", "rebuild"]
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 or "another rebuild is running" in said, said
    return done.returncode == 0


@pytest.mark.processes
@pytest.mark.elasticsearch
def test_conferences_travel_the_whole_road(running: dict[str, str], tmp_path: Path) -> None:
    file = conferences(tmp_path)
    name = json.loads(file.read_text().splitlines()[100])["name"]
    mails = str(ROOT / ".local" / "end-to-end" / "mail")
    importing = ("services.events.importer", str(file), "--url", GATEWAY, "--mail-dir", mails)
    assert "200 created" in run(*importing)
    assert "200 there already" in run(*importing)
    wait_for(lambda: is_indexed(200))
    assert search(query=name)["data"][0]["attributes"]["name"] == name

    url = running["ELASTICSEARCH_URL"]
    for index in httpx.get(f"{url}/_alias/events").json():
        assert httpx.delete(f"{url}/{index}").status_code == 200
    assert search(query=name)["meta"]["engine"] == "postgres"
    data = str(ROOT / ".local" / "end-to-end")
    wait_for(lambda: is_rebuilt(data))
    wait_for(lambda: is_indexed(200))
    assert search(query=name)["data"][0]["attributes"]["name"] == name

    answer = httpx.get(f"{GATEWAY}/health-check")
    assert answer.status_code == 200, answer.text
    assert {each["checker"] for each in answer.json()["results"]} == {
        "auth",
        "events",
        "faq",
        "search",
    }


@pytest.mark.processes
def test_a_change_through_the_gateway_is_guarded_by_its_etag(running: dict[str, str]) -> None:
    with httpx.Client(
        base_url=GATEWAY, headers={"Content-Type": "application/vnd.api+json"}
    ) as client:
        user = {"email": "end@example.org", "password": PASSWORD}
        document: dict[str, Any] = {"data": {"type": "user", "attributes": user}}
        assert client.post("/v1/users", json=document).status_code == 201
        token = client.post("/auth/session", json=user).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        document = {"data": {"type": "event", "attributes": {"name": "Draft"}}}
        created = client.post("/v1/events", json=document)
        path = created.headers["location"]
        changed = created.json()["data"]
        changed["attributes"] = {"name": "Changed"}
        del changed["relationships"]
        tag = {"If-Match": created.headers["etag"]}
        assert client.patch(path, json={"data": changed}, headers=tag).status_code == 200
        assert client.patch(path, json={"data": changed}, headers=tag).status_code == 412
