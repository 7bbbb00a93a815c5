"""Waits until a process is ready, and prints the health checks that keep it from that."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException

from dev.servers import Server, wait_until

# What a developer can do about a failed check, by its name.
ADVICE = {
    "health_check_migrations": "If a model has no migration yet, write it with make revision "
    'MESSAGE="what changes", then say make migrate.',
}


class Readiness:
    """Asks one process; `failed` has the checks that failed the last time."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self.failed: list[str] = []
        self._told: set[str] = set()

    def ask(self) -> bool:
        """Return whether it is ready; print each failure when it is first seen."""
        is_ready, results = _readyz(self.url)
        failed = [each for each in results if not each["passed"]]
        self.failed = [f"{each['checker']}: {each['output']}" for each in failed]
        for line, each in zip(self.failed, failed, strict=True):
            if line not in self._told:
                self._told.add(line)
                advice = ADVICE.get(each["checker"])
                print(f"{self.name} is not ready yet: {line}", flush=True)
                if advice:
                    print(f"  {advice}", flush=True)
        return is_ready

    def reason(self) -> str:
        """The failed checks in one line; empty if it did not answer."""
        return "; ".join(self.failed)


def wait_until_ready(server: Server, url: str, timeout_s: float) -> None:
    """Return when `url`, the /readyz of the process, says that it is ready.

    Failed checks are printed at once, since a developer may correct the cause while we wait.
    Raises DevError, which names them, if the process ends or takes too long.
    """
    readiness = Readiness(server.name, url)
    wait_until(server, readiness.ask, timeout_s, reason=readiness.reason)


def _readyz(url: str) -> tuple[bool, list[dict[str, str]]]:
    """(whether it is ready, the results of its checks); no results if it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - our own loopback
            return answer.status == 200, []
    except urllib.error.HTTPError as error:
        with error:
            return False, _results(error.read())
    except (OSError, HTTPException):
        return False, []


def _results(body: bytes) -> list[dict[str, str]]:
    try:
        results: list[dict[str, str]] = json.loads(body)["results"]
    except (ValueError, KeyError, TypeError):
        return []
    return results
