"""Every route of a service's resource types; the first match wins, so that items come early."""

from starlette.routing import BaseRoute

from shared.jsonapi.http.endpoints import collection_routes
from shared.jsonapi.http.operations import operations_routes
from shared.jsonapi.http.relationships import relationship_routes
from shared.jsonapi.resource import Registry


def resource_routes(registry: Registry) -> list[BaseRoute]:
    """The routes of every type that has a path, and of atomic operations."""
    routes: list[BaseRoute] = []
    shown = [resource for resource in registry.by_type.values() if resource.path]
    for resource in shown:
        routes += collection_routes(registry, resource)
    for resource in shown:
        routes += relationship_routes(registry, resource)
    return routes + operations_routes(registry)
