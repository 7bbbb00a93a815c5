"""The components of one service's OpenAPI document, each of which is kept once, under a name.

The gateway merges the documents of all services, so a name must mean the same in all of them.
The service that has a type's URLs uses the plain name of the type. Another service that shows
the type in its documents puts its own name before it.
"""

import re
from typing import Any

from shared.jsonapi.resource import Registry, Resource

Schema = dict[str, Any]

# The schema of a member that must be absent. The boolean `false` would mean the same, but tools
# that generate requests fail on it.
NEVER: Schema = {"not": {}}


def pascal(name: str) -> str:
    """Return `FaqType` for `faq-type` and `faq_type`, `Event.StartsAt` for `event.starts-at`."""
    return re.sub(r"(^|[-_]|\.)(\w)", lambda m: m[1].strip("-_") + m[2].upper(), name)


def is_at_home(resource: Resource) -> bool:
    """Whether this service has the type's URLs, which only one service has (checklist 27)."""
    return resource.path is not None and bool(resource.methods)


class Components:
    """Collects the components that the operations refer to. A name stands for one thing."""

    def __init__(self, registry: Registry, *, etag: bool = True) -> None:
        self.registry, self.etag = registry, etag
        self.wire = registry.names.wire
        self.by_kind: dict[str, dict[str, Any]] = {}
        homes = (pascal(r.type) for r in registry.by_type.values() if is_at_home(r))
        self.service = next(homes, "")

    def add(self, kind: str, name: str, member: Any) -> Schema:
        """Keep `member` as components/`kind`/`name` and return the reference to it.

        Raises ValueError if another one has that name already; adding an equal one is fine.
        """
        if self.by_kind.setdefault(kind, {}).setdefault(name, member) != member:
            raise ValueError(f"Two different {kind} of the OpenAPI document are called {name}")
        return {"$ref": f"#/components/{kind}/{name}"}

    def schema(self, name: str, schema: Schema) -> Schema:
        return self.add("schemas", name, schema)

    def name(self, resource: Resource, part: str = "") -> str:
        """Return `EventAttributes`, or in the service of faqs `Faq.EventAttributes`."""
        guest = "" if is_at_home(resource) else f"{self.service}."
        return f"{guest}{pascal(resource.type)}{part}"


def closed(properties: Schema, *, required: list[str] | None = None) -> Schema:
    """Return an object that has only these members; all are required unless `required` says."""
    return {
        "type": "object",
        "required": list(properties) if required is None else required,
        "properties": properties,
        "additionalProperties": False,
    }


def array(items: Schema, **limits: Any) -> Schema:
    return {"type": "array", "items": items, **limits}
