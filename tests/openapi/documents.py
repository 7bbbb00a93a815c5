"""The OpenAPI documents of the services, made from their declarations alone."""

from typing import Any

from services.auth.accounts.audit_entries import AUDIT_ENTRY
from services.auth.accounts.resources import user_resource
from services.events import app as events
from services.faq import app as faq
from services.search.api.openapi import describe_search
from shared.jsonapi.openapi import describe
from shared.jsonapi.resource import Registry


def registries(*, dasherize: bool = True) -> dict[str, Registry]:
    types = {
        "auth": [user_resource(verify_on_sign_up=True), AUDIT_ENTRY],
        "events": events.RESOURCES,
        "faq": faq.RESOURCES,
    }
    return {name: Registry(found, dasherize=dasherize) for name, found in types.items()}


def documents(*, dasherize: bool = True) -> dict[str, dict[str, Any]]:
    """`paths` and `components` by service."""
    found = registries(dasherize=dasherize)
    described = {name: describe(registry) for name, registry in found.items()}
    return described | {"search": describe_search(dasherize=dasherize, has_etag=True)}
