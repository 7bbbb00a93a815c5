"""The components of one service's OpenAPI document: named, kept once, referred to.

The gateway puts the documents of all services together, so a name says the same everywhere: a
type has its name in the service that it is at home in, and a longer one where it is a guest.
"""

import re
from typing import Any

from shared.jsonapi.resource import Registry, Resource

Schema = dict[str, Any]

# The schema of a member that must be absent; the boolean `false` would say the same, but tools
# that generate requests stumble over it.
NEVER: Schema = {"not": {}}


def pascal(name: str) -> str:
    """`faq-type` and `faq_type` → `FaqType`; `event.starts-at` → `Event.StartsAt`."""
    return re.sub(r"(^|[-_]|\.)(\w)", lambda m: m[1].strip("-_") + m[2].upper(), name)


def is_at_home(resource: Resource) -> bool:
    """Whether this service has the type's own URLs, which no other service has (checklist 27)."""
    return resource.path is not None and bool(resource.methods)


class Components:
    """Collects what the operations refer to. A name stands for one thing."""

    def __init__(self, registry: Registry, *, etag: bool = True) -> None:
        self.registry, self.etag = registry, etag
        self.wire = registry.names.wire
        self.by_kind: dict[str, dict[str, Any]] = {}
        homes = (pascal(r.type) for r in registry.by_type.values() if is_at_home(r))
        self.service = next(homes, "")

    def add(self, kind: str, name: str, member: Any) -> Schema:
        """Keep `member` as components/`kind`/`name` and return the reference to it."""
        if self.by_kind.setdefault(kind, {}).setdefault(name, member) != member:
            raise ValueError(f"Two different {kind} of the OpenAPI document are called {name}")
        return {"$ref": f"#/components/{kind}/{name}"}

    def schema(self, name: str, schema: Schema) -> Schema:
        return self.add("schemas", name, schema)

    def name(self, resource: Resource, part: str = "") -> str:
        """`EventAttributes`; `Faq.EventAttributes` in the service of faqs."""
        guest = "" if is_at_home(resource) else f"{self.service}."
        return f"{guest}{pascal(resource.type)}{part}"


def closed(properties: Schema, *, required: list[str] | None = None) -> Schema:
    """An object with these members only; all are required unless said otherwise."""
    return {
        "type": "object",
        "required": list(properties) if required is None else required,
        "properties": properties,
        "additionalProperties": False,
    }


def array(items: Schema, **limits: Any) -> Schema:
    return {"type": "array", "items": items, **limits}
