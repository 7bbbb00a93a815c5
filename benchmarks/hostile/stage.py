"""The services as real processes over a filled PostgreSQL, and an account that signs requests."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import asyncpg
import httpx

from benchmarks.jsonapi.data import events_of, fill
from dev.folders import ROOT, remove_data
from dev.processes import PROCESSES
from dev.run import environment, run_once, start_process
from dev.servers import Server, free_port
from dev.stores.postgres import start_postgres
from dev.stores.start import Stores
from dev.stores.valkey import start_valkey

DATA = ROOT / ".local" / "bench-hostile"
SERVICES = ("auth", "events", "faq", "search")
STARTED = (*SERVICES, "gateway")
LONG, MARKED = 100, 100
# 5,000 events are there already: a faq type for each, 5,000 faqs of a thousand of them,
# and a thousand of the first.
MORE = f"""
INSERT INTO faq.faq_types (event_id, name) SELECT id, 'Type' FROM events.events;
INSERT INTO faq.faqs (event_id, faq_type_id, question, answer, position)
SELECT event_id, id, 'Question ' || n, repeat('Answer ' || n || '. ', 20), n
FROM (SELECT * FROM faq.faq_types ORDER BY id LIMIT 1000) AS t, generate_series(1, 5) AS n;
INSERT INTO faq.faqs (event_id, faq_type_id, question, answer)
SELECT event_id, id, 'Question', 'Answer'
FROM (SELECT * FROM faq.faq_types ORDER BY id LIMIT 1) AS t, generate_series(1, 1000);
INSERT INTO events.events (name, description, starts_at, ends_at, state)
SELECT 'Long', repeat('é', 150000), '2027-05-01', '2027-05-02', 'published'
FROM generate_series(1, {LONG});
INSERT INTO events.events (name, description, starts_at, ends_at, state)
SELECT 'Marked', (SELECT string_agg('a' || lpad(to_hex(w + n * 400), 49, '0'), ' ')
    FROM generate_series(1, 400) AS w), '2027-05-01', '2027-05-02', 'published'
FROM generate_series(1, {MARKED}) AS n;
INSERT INTO events.roles (event_id, user_id, role)
SELECT 1, id, 'organizer' FROM auth.users WHERE email = 'hostile@example.org';
UPDATE auth.users SET is_admin = true WHERE email = 'hostile@example.org';
"""  # noqa: S608 - numbers of ours


@dataclass
class Stage:
    """The servers by name, their addresses, and the token of an account."""

    postgres: Server
    ports: dict[str, int]
    servers: dict[str, Server] = field(default_factory=dict)
    token: str = ""


@contextmanager
def stage() -> Iterator[Stage]:
    """Start everything on fresh data; the data goes when all went well, else logs can be read."""
    remove_data(DATA)
    with ExitStack() as stack:
        postgres, database_url = start_postgres(DATA, DATA / "log")
        stack.callback(postgres.stop)
        valkey, redis_url = start_valkey(DATA, DATA / "log")
        stack.callback(valkey.stop)
        processes = [replace(p, port=free_port()) for p in PROCESSES if p.name in STARTED]
        ports = {p.name: p.port for p in processes if p.port is not None}
        urls = {f"{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in ports.items()}
        env = {**environment(Stores(database_url, redis_url), DATA, 0), **urls}
        env |= {"VERIFY_ON_SIGN_UP": "true", "LOG_LEVEL": "WARNING"}
        run_once("Migrating", ["shared.migrations", "upgrade"], env)
        run_once("The signing key", ["services.auth", "new-key", str(DATA / "jwt")], env)
        asyncio.run(fill(database_url, events_of(None)))
        built = Stage(postgres, ports)
        for process in processes:
            built.servers[process.name] = start_process(process, env, DATA, 0)
            stack.callback(built.servers[process.name].stop)
        built.token = _sign_up(urls["AUTH_URL"])
        asyncio.run(_add(database_url))
        yield built
    remove_data(DATA)


def _sign_up(url: str) -> str:
    account = {"email": "hostile@example.org", "password": os.urandom(16).hex()}
    document = {"data": {"type": "user", "attributes": account}}
    headers = {"Content-Type": "application/vnd.api+json"}
    httpx.post(f"{url}/v1/users", json=document, headers=headers).raise_for_status()
    answer = httpx.post(f"{url}/auth/session", json=account).raise_for_status()
    return str(answer.json()["access_token"])


async def _add(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(MORE)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
