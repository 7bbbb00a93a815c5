"""Keys are replaced while processes run: what names say, what commands do, and 0 × 401."""

import asyncio
import base64
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import jwt
import pytest

from dev.folders import ROOT
from dev.processes import Process
from dev.run import environment, start_process
from dev.servers import free_port
from dev.stores.start import Stores
from services.auth.__main__ import main
from services.auth.keys import SigningKeys, new_key
from services.auth.keys.files import UnusableKeys, read_keys, retire_keys, rotate_keys
from services.auth.keys.ring import FORMAT, made_at, signer, superseded_at
from services.auth.sessions.rows import LONGEST
from shared.settings import Settings
from shared.tokens import LEEWAY_S, verify
from tests.auth.traffic import Alternator, Traffic, sign_up
from tests.databases import plain
from tests.serving import serve
from tests.system import fresh_folder

NOW = 1_800_000_000.0
SIGNS_AFTER_S = 600.0
KEPT_S = {".pem": 86_410.0, ".refresh": LONGEST.total_seconds()}
# So short that a whole rotation fits into a test.
SHORT = {
    "JWKS_MAX_AGE_S": "0.9",
    "JWT_KEY_SIGNS_AFTER_S": "2.2",
    "ACCESS_TOKEN_TTL_S": "1",
    "REFRESHED_TOKEN_TTL_S": "1",
}
# One process has a new key long before the other.
READ_S = {"auth-1": "0.1", "auth-2": "0.9"}


def name(seconds_before_now: float, now: float = NOW) -> str:
    return time.strftime(FORMAT, time.gmtime(now - seconds_before_now))


def make_older(folder: Path, seconds: float) -> list[str]:
    """Rename the keys of a folder, so that they seem to have been made earlier; their names."""
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"{name(seconds, made_at(path.stem))}{path.suffix}")
    return [path.name for path in sorted(folder.iterdir())]


def keys_of(folder: Path) -> SigningKeys:
    return SigningKeys(Settings(jwt_keys_dir=folder))


def kid_of(keys: SigningKeys) -> str:
    token = keys.access_token(1, 1, datetime.now(UTC), ttl_s=60, is_fresh=True)
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


def test_a_key_signs_when_every_cache_has_it() -> None:
    old, new, future = name(9000), name(30), name(-3600)
    assert signer([new], NOW, SIGNS_AFTER_S) == new
    assert signer([old, new, future], NOW, SIGNS_AFTER_S) == old
    assert signer([old, new, future], NOW + SIGNS_AFTER_S, SIGNS_AFTER_S) == new
    assert signer([future], NOW, SIGNS_AFTER_S) == future
    # Of two that nobody may have yet, the older has been signing.
    assert signer([new, name(10)], NOW, SIGNS_AFTER_S) == new
    # A name without a time is older than all others.
    assert signer(["zzz", "20269999999999", old], NOW, SIGNS_AFTER_S) == old
    assert signer(["zzz", "aaa", new], NOW, SIGNS_AFTER_S) == "zzz"


def test_the_default_times_outlast_every_cache() -> None:
    settings = Settings()
    assert settings.jwt_key_signs_after_s == SIGNS_AFTER_S
    with pytest.raises(ValueError, match="longer than any cache"):
        Settings(jwks_max_age_s=900)


def test_no_key_is_superseded_before_its_successor_signs_everywhere() -> None:
    old, new = name(9000), name(700)
    assert superseded_at([old, new], old, SIGNS_AFTER_S) == NOW - 700 + 2 * SIGNS_AFTER_S
    assert superseded_at([old, new], new, SIGNS_AFTER_S) == float("inf")
    assert superseded_at(["a", "b"], "a", SIGNS_AFTER_S) == float("inf")


def test_a_folder_gets_what_it_lacks_and_drafts_are_gone(tmp_path: Path) -> None:
    first = new_key(tmp_path)
    refresh = first.with_suffix(".refresh")
    refresh.unlink()
    # As a folder of an older release, which had no such key.
    assert new_key(tmp_path) == first
    assert {path.suffix for path in tmp_path.iterdir()} == {".pem", ".refresh"}
    assert len(list(tmp_path.iterdir())) == 2
    made = rotate_keys(tmp_path) + rotate_keys(tmp_path)
    assert len({*made, first}) == 5
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with pytest.raises(FileNotFoundError):
        rotate_keys(tmp_path / "misspelt")


def test_retiring_removes_only_what_no_token_needs(tmp_path: Path) -> None:
    new_key(tmp_path)
    make_older(tmp_path, 90 * 86_400 + 2000)
    rotate_keys(tmp_path)
    for _ in range(2):
        said = retire_keys(tmp_path, SIGNS_AFTER_S, KEPT_S)
        assert [line.split()[0] for line in said] == ["kept"] * 4
        assert "it signs" in said[0]
        assert "it signs from" in said[1]
    names = make_older(tmp_path, 86_400 + 1300)
    said = retire_keys(tmp_path, SIGNS_AFTER_S, KEPT_S)
    assert [line.split()[0] for line in said] == ["removed", "kept", "kept", "kept"]
    assert names[0] in said[0]
    assert "its last token expires by" in said[2]
    make_older(tmp_path, 90 * 86_400)
    said = retire_keys(tmp_path, SIGNS_AFTER_S, KEPT_S)
    assert [line.split()[0] for line in said] == ["kept", "removed", "kept"]
    assert len(read_keys(tmp_path).refresh) == 1


def test_the_commands_say_what_they_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, folder: Path) -> str:
        monkeypatch.setattr(sys, "argv", ["auth", name, str(folder)])
        main()
        return capsys.readouterr().out

    first = Path(run("new-key", tmp_path).strip())
    assert run("rotate-key", tmp_path).count("it signs from 2") == 2
    assert f"kept {first}: it signs\n" in run("retire-keys", tmp_path)
    with pytest.raises(SystemExit, match="No such file"):
        run("rotate-key", tmp_path / "misspelt")
    (tmp_path / "20200101000000.pem").write_text("half")
    for name in ("rotate-key", "retire-keys"):
        with pytest.raises(SystemExit, match=r"20200101000000\.pem is not a private key"):
            run(name, tmp_path)


async def test_a_process_publishes_a_new_key_at_once_and_signs_later(tmp_path: Path) -> None:
    first = new_key(tmp_path).stem
    keys = keys_of(tmp_path)
    token = keys.refresh_tokens.make(1, 0)
    # Made long ago on another machine, and brought here only now.
    second = rotate_keys(tmp_path)[0].rename(tmp_path / "20200101000000.pem").stem
    make_older(tmp_path, 0)
    await keys.read_again()
    assert {key["kid"] for key in keys.jwks["keys"]} == {first, second}
    assert kid_of(keys) == first
    assert keys.refresh_tokens.make(1, 0) == token
    (tmp_path / f"{first}.pem").unlink()
    await keys.read_again()
    assert kid_of(keys) == second
    assert await keys.get(first) is None


async def test_every_key_of_refresh_tokens_verifies_and_the_newest_signs(tmp_path: Path) -> None:
    new_key(tmp_path)
    make_older(tmp_path, 9000)
    old = keys_of(tmp_path).refresh_tokens
    rotate_keys(tmp_path)
    make_older(tmp_path, 9000)
    new = keys_of(tmp_path).refresh_tokens
    assert new.make(7, 3) != old.make(7, 3)
    for made in (old.make(7, 3), new.make(7, 3), f"{new.make(7, 3)}="):
        assert new.read(made) == (7, 3)
    assert old.read(new.make(7, 3)) is None
    assert new.is_csrf_token(old.csrf_token(7), 7)


@pytest.mark.parametrize("spoiled", ["half", "locked", "gone", "empty"])
async def test_a_spoiled_folder_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoiled: str
) -> None:
    folder = tmp_path / "jwt"
    first = new_key(folder)
    keys = keys_of(folder)
    pem = rotate_keys(folder)[0].read_bytes()
    aside = folder.rename(tmp_path / "aside") if spoiled in ("gone", "empty") else folder
    if spoiled == "half":
        (folder / "20990101000000.pem").write_bytes(pem[:40])
    elif spoiled == "locked":
        (folder / "20990101000000.pem").mkdir()
    elif spoiled == "empty":
        folder.mkdir()
    with caplog.at_level(logging.WARNING):
        await keys.read_again()
        await keys.read_again()
    assert [record.message for record in caplog.records] == ["could not read keys again"]
    assert kid_of(keys) == first.stem
    assert list(keys.private) == [first.stem]
    with pytest.raises(SystemExit, match="The keys cannot be read"):
        keys_of(folder)
    if aside == folder:
        spoilt = folder / "20990101000000.pem"
        spoilt.rmdir() if spoilt.is_dir() else spoilt.unlink()
    elif folder.exists():
        folder.rmdir()
    aside.rename(folder)
    await keys.read_again()
    assert len(keys.private) == 2
    assert len(caplog.records) == 1


def test_files_that_are_not_keys_are_named(tmp_path: Path) -> None:
    path = new_key(tmp_path)
    (tmp_path / "README").write_text("not a key")
    assert read_keys(tmp_path)
    path.with_suffix(".refresh").write_bytes(base64.b64encode(b"short"))
    with pytest.raises(UnusableKeys, match="less than 32 bytes"):
        read_keys(tmp_path)
    path.with_suffix(".refresh").write_text("ä not base64")
    with pytest.raises(UnusableKeys, match="not in base64"):
        read_keys(tmp_path)


async def test_the_padding_of_a_token_is_neither_needed_nor_refused(tmp_path: Path) -> None:
    new_key(tmp_path)
    keys = keys_of(tmp_path)
    for user_id in (1, 10, 100, 1000):
        token = keys.access_token(user_id, 1, datetime.now(UTC), ttl_s=60, is_fresh=True)
        padded = ".".join(part + "=" * (-len(part) % 4) for part in token.split("."))
        assert padded != token
        for given in (token, padded):
            assert (await verify(given, keys, keys.settings)).user_id == user_id


async def command(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.auth", *arguments),
        env={**os.environ, **SHORT, "JWT_KEYS_READ_S": "0.9"},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()


async def rotate_under(traffic: Traffic, folder: Path) -> None:
    """Rotate, wait until the new key signs, and retire the old one when it is due."""
    (old,) = read_keys(folder).signing
    await traffic.has_begun.wait()
    new = (await asyncio.to_thread(rotate_keys, folder))[0].stem
    signs_after_s, lives_s = 2.2, 1 + LEEWAY_S
    due_at = made_at(new) + 2 * signs_after_s + lives_s
    # The command runs in between and finds nothing to do.
    assert "removed" not in await command("retire-keys", str(folder))
    await asyncio.sleep(due_at - time.time() + 0.1)
    assert traffic.kids[0] == old
    assert traffic.kids[-1] == new
    kept_s = {".pem": float(lives_s), ".refresh": LONGEST.total_seconds()}
    retiring = (asyncio.to_thread(retire_keys, folder, signs_after_s, kept_s) for _ in range(2))
    said = {line for lines in await asyncio.gather(*retiring) for line in lines}
    assert any(line.startswith(f"removed {folder}/{old}.pem") for line in said)
    await asyncio.sleep(1)
    jwks = await traffic.client.get(f"{traffic.auth}/.well-known/jwks.json")
    assert [key["kid"] for key in jwks.json()["keys"]] == [new]
    assert len(read_keys(folder).refresh) == 2


@asynccontextmanager
async def running(data: Path, stores: Stores, auth: str) -> AsyncIterator[dict[str, str]]:
    """Two auth processes and one of events, which asks `auth` for keys; their URLs by name."""
    keys = data / "jwt"
    new_key(keys)
    env = {**environment(stores, data, 0), **SHORT, "AUTH_URL": auth, "JWT_KEYS_DIR": str(keys)}
    modules = {"auth-1": "auth", "auth-2": "auth", "events": "events"}
    processes = [
        Process(each, free_port(), ("shared.server", f"services.{module}.app"))
        for each, module in modules.items()
    ]
    envs = [{**env, "JWT_KEYS_READ_S": READ_S.get(each.name, "0.9")} for each in processes]
    starting = (
        asyncio.to_thread(start_process, each, own, data, 0)
        for each, own in zip(processes, envs, strict=True)
    )
    servers = await asyncio.gather(*starting)
    try:
        yield {each.name: f"http://127.0.0.1:{each.port}" for each in processes}
    finally:
        for server in servers:
            server.stop()


@pytest.mark.processes
async def test_no_token_is_refused_while_keys_rotate_under_two_auth_processes(
    settings: Settings, stores: Stores
) -> None:
    own, port = Stores(plain(settings.database_url), stores.redis_url), free_port()
    address = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        data = stack.enter_context(fresh_folder(ROOT / ".local" / "keys"))
        urls = await stack.enter_async_context(running(data, own, address))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=20))
        alternator = Alternator(client, [urls["auth-1"], urls["auth-2"]])
        await stack.enter_async_context(serve(alternator, port))
        await sign_up(client, address)
        traffic = Traffic(client, address, urls["events"])
        tasks = [asyncio.create_task(each()) for each in (traffic.write, traffic.write)]
        tasks.append(asyncio.create_task(traffic.read()))
        tasks.append(asyncio.create_task(rotate_under(traffic, data / "jwt")))
        # A client that fails ends the test as well.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in tasks:
            each.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert set(traffic.statuses) == {200}
    assert ends[-1] is None, ends
    assert traffic.statuses[200] > 100
