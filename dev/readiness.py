"""Waits for a process to become ready, and says which of its health checks fail meanwhile."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException

from dev.servers import Server, wait_until

# What a developer can do about a failed check.
ADVICE = {
    "health_check_migrations": "If a model has no migration yet, write it with make revision "
    'MESSAGE="what changes", then say make migrate.',
}


class Readiness:
    """The readiness of one process; `failed` has the checks that failed when it was last asked."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self.failed: list[str] = []
        self._told: set[str] = set()

    def ask(self) -> bool:
        """Whether it is ready; a check that fails is printed, once each."""
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
        """The failed checks in a line; empty while it has not answered."""
        return "; ".join(self.failed)


def wait_until_ready(server: Server, url: str, timeout_s: float) -> None:
    """Return when `url`, its /readyz, says so; DevError names the failed checks if it never does.

    They are printed while it is waited for as well, since some are mended from outside.
    """
    readiness = Readiness(server.name, url)
    wait_until(server, readiness.ask, timeout_s, reason=readiness.reason)


def _readyz(url: str) -> tuple[bool, list[dict[str, str]]]:
    """(whether it is ready, the results of its checks); none while it does not answer."""
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
