"""Both naming modes of the system, over one database."""

from collections.abc import Iterator
from contextlib import contextmanager

from dev.folders import ROOT
from tests.conformance.target import Target
from tests.system import SERVICES, System, administrator, migrated_stores, running_system

DATA = ROOT / ".local" / "conformance"


@contextmanager
def running_targets() -> Iterator[list[list[Target]]]:
    """The targets of the mode with dashes, and those of the mode without."""
    with (
        migrated_stores(DATA) as stores,
        running_system(DATA / "dashes", stores) as dashes,
        running_system(DATA / "snake-case", stores, DASHERIZE_API="false") as snake_case,
    ):
        yield [_targets(dashes, dasherize=True), _targets(snake_case, dasherize=False)]


def _targets(system: System, *, dasherize: bool) -> list[Target]:
    """The services directly, then through the gateway."""
    mode = "dasherized" if dasherize else "snake_case"
    direct = {f"{name}_url": system.urls[name] for name in SERVICES}
    behind = dict.fromkeys(direct, system.urls["gateway"])
    direct["admin_token"] = behind["admin_token"] = administrator(system)
    return [
        Target(f"{name} / direct / {mode}", name, dasherize, system.urls[name], **direct)
        for name in ("events", "faq")
    ] + [
        Target(f"{name} / gateway / {mode}", name, dasherize, system.urls["gateway"], **behind)
        for name in ("events", "faq")
    ]
