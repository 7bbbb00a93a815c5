"""Every route of a service's resource types; the first match wins, so that items come early."""

from starlette.routing import BaseRoute

from shared.jsonapi.http.endpoints import collection_routes
from shared.jsonapi.http.operations import operations_routes
from shared.jsonapi.http.relationships import relationship_routes
from shared.jsonapi.read.caches import Caches
from shared.jsonapi.resource import Registry


def resource_routes(registry: Registry, caches: Caches | None = None) -> list[BaseRoute]:
    """The routes of every type that has a path, and of atomic operations."""
    caches = caches or Caches()
    routes: list[BaseRoute] = []
    shown = [resource for resource in registry.by_type.values() if resource.path]
    for resource in shown:
        routes += collection_routes(registry, resource, caches)
    for resource in shown:
        routes += relationship_routes(registry, resource, caches)
    return routes + operations_routes(registry, caches)
