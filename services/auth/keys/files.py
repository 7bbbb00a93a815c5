"""The folder of keys: reading it, and adding and removing files while processes read it.

`<time>.pem` is a signing key (Ed25519), whose `kid` is the time; `<time>.refresh` is a key of
refresh tokens, in base64. Of each kind one signs and all verify (ring.py).
"""

import base64
import binascii
import math
import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.auth.keys.ring import FORMAT, in_order, made_at, signer, superseded_at
from shared.observability.failures import PlainError
from shared.tokens import ALGORITHM

# What a folder of keys must have, and the command that makes it.
NEW_KEY = "set JWT_KEYS_DIR, or make one with `python -m services.auth new-key DIR`"
REFRESH_KEY_BYTES = 32
SIGNING, REFRESH = ".pem", ".refresh"
# A file may be removed after its name was read; then the folder is read again.
READINGS = 3


class UnusableKeys(PlainError):
    """A folder that lacks a key, or has a file that is not one."""


@dataclass(frozen=True)
class Files:
    """The keys of a folder by their names, without the suffixes."""

    signing: dict[str, Ed25519PrivateKey]
    refresh: dict[str, bytes]


def read_keys(folder: Path) -> Files:
    """Read all keys; raises OSError or UnusableKeys."""
    for _ in range(READINGS - 1):
        try:
            return _read(folder)
        except FileNotFoundError:
            continue
    return _read(folder)


def _read(folder: Path) -> Files:
    files = Files(
        {path.stem: _signing_key(path) for path in _paths(folder, SIGNING)},
        {path.stem: _refresh_key(path) for path in _paths(folder, REFRESH)},
    )
    if not files.signing or not files.refresh:
        kind = "refresh tokens" if files.signing else "access tokens"
        raise UnusableKeys(f"no key of {kind} in {folder}: {NEW_KEY}")
    return files


def _paths(folder: Path, suffix: str) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix == suffix]


def _signing_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableKeys(f"{path} is not a private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKeys(f"{path} is not an Ed25519 key; auth signs with {ALGORITHM} only")
    return key


def _refresh_key(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except binascii.Error as error:
        raise UnusableKeys(f"{path} is not in base64") from error
    if len(key) < REFRESH_KEY_BYTES:
        raise UnusableKeys(f"{path} has less than {REFRESH_KEY_BYTES} bytes")
    return key


def new_key(folder: Path) -> Path:
    """Make the signing key and the key of refresh tokens, each if the folder has none.

    Returns the newest signing key. Only the owner can read the files.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _paths(folder, REFRESH):
        _add(folder, REFRESH)
    if existing := _paths(folder, SIGNING):
        return folder / f"{in_order([path.stem for path in existing])[-1]}{SIGNING}"
    return _add(folder, SIGNING)


def rotate_keys(folder: Path) -> list[Path]:
    """Make a key of each kind and return the files; raises UnusableKeys where there is no key."""
    read_keys(folder)
    return [_add(folder, suffix) for suffix in (SIGNING, REFRESH)]


def _add(folder: Path, suffix: str) -> Path:
    """Make a key, under the first second from now on that is free.

    A reader sees the whole file or none: it gets its name when it is written and on the disk.
    """
    draft = folder / f".{secrets.token_hex(8)}"
    # The file is made with its final rights: nobody else can read it even for a moment.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_new_pem() if suffix == SIGNING else _new_refresh_key())
        file.flush()
        os.fsync(file.fileno())
    at = time.time()
    try:
        while True:
            path = folder / f"{time.strftime(FORMAT, time.gmtime(at))}{suffix}"
            try:
                # Unlike a renaming this never replaces the key of another command.
                path.hardlink_to(draft)
                return path
            except FileExistsError:
                at += 1
    finally:
        draft.unlink()


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _new_refresh_key() -> bytes:
    return base64.b64encode(secrets.token_bytes(REFRESH_KEY_BYTES))


def retire_keys(folder: Path, signs_after_s: float, kept_s: dict[str, float]) -> list[str]:
    """Remove the keys whose last token has expired; return a line about each key.

    `kept_s` says by suffix how long a token may live after it was signed. A key that signs, or
    may do so on a machine that got its successor late, stays. Raises UnusableKeys and removes
    nothing if a file is not a key, since processes then go on with the keys that they had.
    """
    read_keys(folder)
    return [
        _retire(folder, suffix, name, names, signs_after_s=signs_after_s, kept_s=kept_s[suffix])
        for suffix in (SIGNING, REFRESH)
        for names in [in_order([path.stem for path in _paths(folder, suffix)])]
        for name in names
    ]


def _retire(
    folder: Path,
    suffix: str,
    name: str,
    names: list[str],
    *,
    signs_after_s: float,
    kept_s: float,
) -> str:
    now, path = time.time(), folder / f"{name}{suffix}"
    signing = signer(names, now, signs_after_s)
    gone_at = superseded_at(names, name, signs_after_s) + kept_s
    if name == signing:
        return f"kept {path}: it signs"
    if names.index(name) > names.index(signing):
        return f"kept {path}: it signs from {in_words(made_at(name) + signs_after_s)} on"
    if gone_at == math.inf:
        return f"kept {path}: the name after it is no time, so remove it by hand when it is unused"
    if gone_at > now:
        return f"kept {path}: its last token expires by {in_words(gone_at)}"
    path.unlink(missing_ok=True)
    return f"removed {path}: its last token expired by {in_words(gone_at)}"


def in_words(moment: float) -> str:
    """A moment for people, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
