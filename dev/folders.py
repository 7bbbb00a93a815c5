"""Where stores keep their data and programs: in the project, if their user can enter it.

PostgreSQL and Elasticsearch refuse to run as root, so root starts them as another user.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.servers import unprivileged

ROOT = Path(__file__).resolve().parent.parent


def cache_folder() -> Path:
    """Where all clones keep downloads: the cache of the user, or for root that of the system."""
    if unprivileged() is not None:
        return Path("/var/cache/almanac")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "almanac"


@contextmanager
def open_to_others() -> Iterator[None]:
    """Make folders that the unprivileged user can enter, whatever our umask is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def is_reachable(folder: Path) -> bool:
    """Whether the unprivileged user can enter every folder on the way."""
    if unprivileged() is None:
        return True
    parents = [p for p in (folder, *folder.parents) if p.exists()]
    return all(p.stat().st_mode & 0o001 for p in parents)


def store_folder(data: Path, name: str) -> Path:
    """Make and return the folder of one store below `data`, owned by the user it runs as.

    If that user cannot enter `data`, the folder is in /var/lib/almanac, and a line says so.
    """
    folder = data / name
    if not is_reachable(data):
        folder = _elsewhere(data) / name
        if not folder.exists():
            print(f"{name} keeps its data in {folder}: its user cannot enter {data}.")
    with open_to_others():
        folder.mkdir(parents=True, exist_ok=True)
    uid = unprivileged()
    if uid is not None and folder.stat().st_uid != uid:
        os.chown(folder, uid, uid)
    return folder


def _elsewhere(data: Path) -> Path:
    return Path("/var/lib/almanac") / hashlib.sha256(str(data).encode()).hexdigest()[:12]


def remove_data(data: Path) -> None:
    """Remove all data of stores for `data`, also what is kept outside of it."""
    for folder in (data, _elsewhere(data)):
        shutil.rmtree(folder, ignore_errors=True)


def reachable_copy(site: Path, pattern: str, name: str) -> Path:
    """The folder of installed packages, or a copy of some of them if others cannot enter it."""
    if is_reachable(site):
        return site
    copy = cache_folder() / name
    if not copy.exists():
        print(f"Copying {name} to {copy}: its user cannot enter {sys.prefix}.")
        # Renamed when it is complete, so that a killed run leaves no half of a copy.
        partial = copy.with_name(f"{name}.{os.getpid()}")
        with open_to_others():
            partial.mkdir(parents=True)
        for package in site.glob(pattern):
            shutil.copytree(package, partial / package.name, symlinks=True)
        for path in partial.rglob("*"):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o055 if mode & 0o100 else 0o044))
        partial.rename(copy)
    return copy
