"""Every process fails in each of its ways, and nothing secret is in what leaves it.

Secrets are planted wherever a client or an operator can put one. Sentry (a receiver here), the
logs and the answers are searched for each of them, byte by byte.
"""

import asyncio
import base64
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest
import redis

from dev.folders import ROOT, remove_data
from dev.processes import PROCESSES, Process
from dev.run import environment, run_once
from dev.servers import Server, free_port, start, wait_until
from dev.stores.postgres import start_postgres
from dev.stores.start import Stores
from dev.stores.valkey import start_valkey
from shared.observability.sentry import KEPT
from shared.settings import Settings
from tests.client import MEDIA_TYPE
from tests.hostile.receiver import Receiver, receiving, types_of

pytestmark = pytest.mark.processes
DATA = ROOT / ".local" / "secrets"
SHA = "abc1234"
WAIT_S = 45
# Each is found in no other text, in whatever way it is encoded.
SECRETS = {
    name: f"planted{number:02}qz{name.replace('-', '')}"
    for number, name in enumerate(
        (
            "database-password",
            "redis-password",
            "elasticsearch-password",
            "smtp-password",
            "cursor-secret-of-an-operator",
            "sentry-key",
            "authorization",
            "cookie",
            "password",
            "address",
            "mailed-address",
            "first-name",
            "member",
            "parameter",
            "value",
            "path",
            "idempotency-key",
            "description",
            "question",
            "words",
            "user-agent",
            "referrer",
        )
    )
}
SECRETS["client-address"] = "203.0.113.77"
SEARCHED = """
INSERT INTO search.generations (index_name, write_alias, mapping_hash, git_sha, state, phase)
VALUES ('events-g1-1', 'events-w-g1-1', '', '', 'active', 'done')
"""
MAILED = f"""
SELECT auth.queue_mail('{SECRETS["mailed-address"]}@example.org', 'password-changed', '{{}}'),
       auth.queue_mail('{SECRETS["mailed-address"]}@example.org', 'account-deleted', '{{}}')
"""
BREAK = """
ALTER VIEW auth.live_sessions RENAME COLUMN is_admin TO is_gone;
CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'It is %', NEW; END $$;
CREATE TRIGGER fail BEFORE INSERT ON auth.users FOR EACH ROW
    EXECUTE FUNCTION public.fail();
ALTER TABLE search.outbox RENAME COLUMN version TO gone;
ALTER VIEW events.searchable RENAME COLUMN privacy TO gone;
"""


@dataclass
class Played:
    """What the processes sent, said and answered."""

    receiver: Receiver
    postgres: int
    secrets: dict[str, str] = field(default_factory=lambda: dict(SECRETS))
    servers: dict[str, Server] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    failures: list[httpx.Response] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask the gateway with a secret in each header."""
        headers = {
            "Cookie": f"session={SECRETS['cookie']}",
            "User-Agent": SECRETS["user-agent"],
            "Referer": f"https://example.org/{SECRETS['referrer']}",
            "X-Forwarded-For": SECRETS["client-address"],
            "Idempotency-Key": SECRETS["idempotency-key"],
            "Content-Type": MEDIA_TYPE,
            **options.pop("headers", {}),
        }
        url = self.urls["gateway"] + path
        answer = httpx.request(method, url, headers=headers, timeout=30, **options)
        self.answers.append(str(answer.headers).encode() + answer.content)
        return answer

    def fails(self, status: int, method: str, path: str, **options: Any) -> None:
        """The same for a request that a broken store fails."""
        answer = self.ask(method, path, **options)
        assert answer.status_code == status, (method, path, answer.text)
        self.failures.append(answer)

    def wait_for(self, service: str, count: int = 1, **what: str) -> None:
        """Return when Sentry has as many events of that."""
        deadline = time.monotonic() + WAIT_S
        while len(self.receiver.of(service, **what)) < count:
            assert time.monotonic() < deadline, (service, what)
            time.sleep(0.1)

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()

    def logs(self) -> bytes:
        return b"".join(server.log.read_bytes() for server in self.servers.values())


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=3).status_code == 200
    except httpx.HTTPError:
        return False


def execute(port: int, statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(f"postgresql://almanac@127.0.0.1:{port}/almanac")
        await connection.execute(statements)
        await connection.close()

    asyncio.run(run())


def stores_of(postgres: int, valkey: int) -> Stores:
    """Their URLs with passwords; nothing listens where Elasticsearch should be."""
    with redis.Redis(port=valkey) as client:
        client.config_set("requirepass", SECRETS["redis-password"])
    return Stores(
        f"postgresql://almanac:{SECRETS['database-password']}@127.0.0.1:{postgres}/almanac",
        f"redis://:{SECRETS['redis-password']}@127.0.0.1:{valkey}/0",
        f"http://elastic:{SECRETS['elasticsearch-password']}@127.0.0.1:{free_port()}",
    )


def start_all(played: Played, env: dict[str, str]) -> None:
    """Start every process at once, and wait for all."""
    ports = {each.name: free_port() for each in PROCESSES if each.port}
    played.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    env.update({f"{name.upper()}_URL": url for name, url in played.urls.items()})
    for each in PROCESSES:
        start_one(played, Process(each.name, ports.get(each.name), each.arguments), env)
    for server in played.servers.values():
        if url := played.urls.get(server.name):
            wait_until(server, partial(is_ready, url), WAIT_S)


def start_one(played: Played, process: Process, env: dict[str, str]) -> None:
    log = DATA / "log" / f"{process.name}-{len(played.servers)}.log"
    server = start(process.name, process.command(0), log=log, env=env, cwd=ROOT)
    played.servers[log.stem] = server


def account(**changed: str) -> dict[str, Any]:
    attributes = {
        "email": f"{SECRETS['address']}@example.org",
        "password": SECRETS["password"],
        **changed,
    }
    return {"data": {"type": "user", "attributes": attributes}}


def session() -> dict[str, str]:
    attributes: dict[str, str] = account()["data"]["attributes"]
    return attributes


def sign_in(played: Played) -> dict[str, str]:
    """Headers with a token of an account, which is a secret from now on."""
    assert played.ask("POST", "/v1/users", json=account()).status_code == 201
    answer = played.ask("POST", "/auth/session", json=session())
    token = answer.json()["access_token"]
    played.secrets["token"] = token.rpartition(".")[2]
    # These two answers may show the address and the token: they are their owner's.
    played.answers.clear()
    return {"Authorization": f"Bearer {token}"}


def make_event(played: Played, by: dict[str, str]) -> None:
    """Something for search-sync to take to an Elasticsearch that is away."""
    attributes = {
        "name": "Published",
        "starts-at": "2030-05-01T09:00:00Z",
        "ends-at": "2030-05-02T17:00:00Z",
        "state": "published",
    }
    document = {"data": {"type": "event", "attributes": attributes}}
    assert played.ask("POST", "/v1/events", json=document, headers=by).status_code == 201


def fail_requests(played: Played, by: dict[str, str]) -> None:
    """Signing up, reading and writing with a token and a cookie, and searching, all fail."""
    query = f"?filter=equals(name,'{SECRETS['value']}')"
    odd = f"?page[number]=1&{SECRETS['parameter']}=1"
    event = {"data": {"type": "event", "attributes": {"description": SECRETS["description"]}}}
    faq = {"data": {"type": "faq", "attributes": {"question": SECRETS["question"]}}}
    email = f"{SECRETS['address']}.other@example.org"
    another = account(**{"email": email, "first-name": SECRETS["first-name"]})
    played.fails(500, "POST", "/v1/users", json=another)
    for path in ("/v1/events", "/v1/faqs"):
        played.fails(500, "GET", path + query, headers=by)
        played.fails(500, "GET", path + odd, headers=by)
    played.fails(500, "GET", "/v1/users/1", headers=by)
    played.fails(500, "GET", f"/v1/users/{SECRETS['path']}", headers=by)
    played.fails(500, "GET", "/v1/events/1/relationships/owner", headers=by)
    played.fails(500, "POST", "/v1/events", json=event, headers=by)
    played.fails(500, "POST", "/v1/faqs", json=faq, headers=by)
    played.fails(500, "POST", "/v1/search/rebuilds", headers=by)
    played.fails(500, "GET", f"/v1/search/events?filter[query]={SECRETS['words']}")
    execute(played.postgres, "ALTER TABLE auth.users RENAME COLUMN password_hash TO gone")
    played.fails(500, "POST", "/auth/session", json=session())
    member = {**account(), SECRETS["member"]: 1}
    assert played.ask("POST", "/v1/users", json=member).status_code >= 400
    strange_token = {"Authorization": f"Basic {SECRETS['authorization']}"}
    assert played.ask("GET", "/v1/events", headers=strange_token).status_code == 401


def environment_of(stores: Stores, sentry: int) -> dict[str, str]:
    dsn = f"http://{SECRETS['sentry-key']}@127.0.0.1:{sentry}/1"
    told = {
        "CURSOR_SECRETS": SECRETS["cursor-secret-of-an-operator"],
        "GIT_SHA": SHA,
        "JWT_KEYS_DIR": str(DATA / "jwt"),
        "LOG_LEVEL": "DEBUG",
        "SENTRY_DSN": dsn,
        "MAIL_DIR": "",
        "SMTP_URL": f"smtp://operator:{SECRETS['smtp-password']}@127.0.0.1:{free_port()}",
        "VERIFY_ON_SIGN_UP": "true",
    }
    return {**environment(stores, DATA, 0), **told}


def plant_keys(played: Played) -> None:
    """The signing key of auth and the hash of a password are secrets too."""
    (pem,) = (DATA / "jwt").glob("*.pem")
    played.secrets["jwt-key"] = pem.read_text().splitlines()[1]
    url = f"postgresql://almanac@127.0.0.1:{played.postgres}/almanac"

    async def read() -> str:
        connection = await asyncpg.connect(url)
        found = await connection.fetchval("SELECT password_hash FROM auth.users")
        await connection.close()
        return str(found)

    played.secrets["password-hash"] = asyncio.run(read()).rpartition("$")[2]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """All of it has happened: requests failed, then each store went away."""
    remove_data(DATA)
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        ports = free_port(), free_port()
        postgres, _ = start_postgres(DATA, DATA / "stores", ports[0])
        stack.callback(postgres.stop)
        valkey, _ = start_valkey(DATA, DATA / "stores", ports[1])
        stack.callback(valkey.stop)
        env = environment_of(stores_of(*ports), receiver.port)
        run_once("Migrating", ["shared.migrations", "upgrade"], env)
        run_once("The signing key", ["services.auth", "new-key", env["JWT_KEYS_DIR"]], env)
        played = Played(receiver, ports[0])
        stack.callback(played.stop)
        start_all(played, env)
        by = sign_in(played)
        plant_keys(played)
        execute(played.postgres, SEARCHED)
        execute(played.postgres, MAILED)
        played.wait_for("auth", store="mail")
        make_event(played, by)
        played.wait_for("search-sync", store="elasticsearch")
        execute(played.postgres, BREAK)
        fail_requests(played, by)
        played.wait_for("search-sync", kind="UndefinedColumnError")
        postgres.stop()
        lose_postgresql(played, by, env)
        valkey.stop()
        lose_redis(played)
        played.stop()
        yield played


def lose_postgresql(played: Played, by: dict[str, str], env: dict[str, str]) -> None:
    """Requests, every check and the jobs of a worker that starts now meet the outage."""
    for _ in range(3):
        for path in ("/v1/users/me", "/v1/events", "/v1/faqs", "/v1/search/events"):
            played.fails(503, "GET", path, headers=by)
        played.fails(503, "POST", "/auth/session", json=session())
    (worker,) = (each for each in PROCESSES if each.name == "search-worker")
    start_one(played, worker, env)
    for service in ("auth", "events", "faq", "search", "search-sync", "search-worker"):
        played.wait_for(service, store="postgresql")


def lose_redis(played: Played) -> None:
    """With PostgreSQL and one service away as well, all is asked how it is, again and again."""
    # Two workers run by now.
    played.wait_for("search-worker", 2, store="redis")
    played.servers["faq-2"].stop()
    played.fails(502, "GET", "/v1/faqs")
    for _ in range(3):
        for name, url in played.urls.items():
            if name != "faq":
                httpx.get(f"{url}/health-check", timeout=30)
                httpx.get(f"{url}/readyz", timeout=30)
        time.sleep(1)
    played.wait_for("search", store="redis")
    played.wait_for("auth", store="redis")
    played.wait_for("gateway")


def leaks(played: Played, said: bytes) -> list[str]:
    """The names of the secrets that are in it, plain or in base64."""
    found = [name for name, value in played.secrets.items() if value.encode() in said]
    for name, value in played.secrets.items():
        # Basic authentication encodes a name before the password, so that it may begin anywhere.
        for before in ("", "x", "xx"):
            middle = base64.b64encode((before + value).encode())[4:-4]
            if middle in said:
                found.append(f"{name} in base64")
    return found


def test_nothing_secret_reaches_sentry(played: Played) -> None:
    sent = b"\n".join(played.receiver.sent)
    # It is Sentry's own key, and in the head of each request.
    assert leaks(played, sent) in ([], ["sentry-key"])
    assert len(played.receiver.events) > len(played.failures) / 2
    for event in played.receiver.events:
        assert event.keys() <= {*KEPT, "exception"}
        for value in event["exception"]["values"]:
            assert value.keys() == {"type", "module", "value", "stacktrace"}
            for frame in value["stacktrace"]["frames"]:
                assert frame.keys() == {"filename", "function", "lineno", "in_app"}


def test_nothing_secret_is_logged(played: Played) -> None:
    assert leaks(played, played.logs()) == []


def test_nothing_secret_is_answered(played: Played) -> None:
    failed = (str(answer.headers).encode() + answer.content for answer in played.failures)
    assert leaks(played, b"".join(failed)) == []


def test_a_failed_request_is_one_event_that_says_which(played: Played) -> None:
    events = {event["tags"].get("request_id"): event for event in played.receiver.events}
    for answer in played.failures:
        if answer.status_code != 500:
            continue
        tags = events[answer.headers["x-request-id"]]["tags"]
        assert answer.json()["errors"][0]["id"] == answer.headers["x-request-id"]
        assert tags["method"] == answer.request.method
        path = re.sub(r"\{\w+\}", "[^/]+", tags["route"])
        assert re.fullmatch(path, answer.request.url.path)
    routes = {event["tags"].get("route") for event in played.receiver.events}
    templates = {"/v1/users/{id}", "/v1/events/{id}/relationships/owner"}
    assert templates | {"/auth/session", "/v1/events", "/v1/search/events"} <= routes
    for event in played.receiver.events:
        assert event["release"] == f"almanac@{Settings().version}+{SHA}"
        assert event["environment"] == "development"
        assert event["tags"]["service"] in {process.name for process in PROCESSES}


def test_an_outage_is_one_event_of_each_process(played: Played) -> None:
    for event in played.receiver.events:
        assert event["tags"].get("store") or "ConnectionRefusedError" not in types_of(event)
    found = Counter(
        (event["tags"]["service"], event["tags"]["store"])
        for event in played.receiver.events
        if "store" in event["tags"]
    )
    # Two workers have run: each met the refusing Elasticsearch and one PostgreSQL's absence.
    assert found.pop(("search-worker", "elasticsearch")) == 1
    assert found.pop(("search-worker", "redis")) == 2
    services = ("auth", "events", "faq", "search", "search-sync", "search-worker")
    assert found == Counter(
        [
            *((service, "postgresql") for service in services),
            ("auth", "mail"),
            ("auth", "redis"),
            ("search", "elasticsearch"),
            ("search-sync", "elasticsearch"),
            ("search", "redis"),
            ("gateway", "the faq service"),
        ]
    )


def test_sync_says_what_is_no_outage(played: Played) -> None:
    (event,) = played.receiver.of("search-sync", kind="UndefinedColumnError")
    assert event["exception"]["values"][-1]["value"].endswith('column "version" does not exist')
    lines = [json.loads(line) for line in played.servers["search-sync-4"].said()]
    said = [line for line in lines if "UndefinedColumnError" in line.get("error", "")]
    assert {line["message"] for line in said} == {"sync cannot go on"}
