"""Creating and changing resources as a document describes, for endpoints and for operations."""

from typing import Any

from sqlalchemy import update

from shared.errors import BadRequest
from shared.jsonapi.negotiation import parse_object
from shared.jsonapi.resource import Relationship, Resource
from shared.jsonapi.write.bodies import BodyReader, Changes, linked_ids
from shared.jsonapi.write.linkage import write_links
from shared.jsonapi.write.rows import (
    Precondition,
    Writer,
    check_target_of,
    insert_row,
    lock_row,
    update_row,
    write_version,
)

# The body of a request, or the document of an operation, which was parsed with its request.
Body = bytes | dict[str, Any]


def _parsed(document: Body) -> dict[str, Any]:
    return document if isinstance(document, dict) else parse_object(document)


async def create(writer: Writer, resource: Resource, document: Body) -> int:
    """Insert the resource that a document describes and return its id."""
    reader = BodyReader(writer.registry, resource, writer.viewer)
    changes = reader.read(_parsed(document), row_id=None)
    row_id = await insert_row(writer, resource, changes)
    # These are kept in other rows, which need the id of the new one.
    for name, ids in changes.other_links.items():
        link = resource.links[name]
        pointer = f"/data/relationships/{writer.registry.names.wire(name)}/data"
        await write_links(writer, link, row_id, "PATCH", ids, pointer)
    return row_id


async def change(
    writer: Writer,
    resource: Resource,
    row_id: str,
    document: Body,
    precondition: Precondition,
) -> int:
    """Change the row as a document describes and return its id.

    Raises what `lock_row`, `precondition.check` and the validation of the document raise, in this
    order.
    """
    row = await lock_row(writer, resource, row_id)
    # Preconditions come after the rights and before the content (RFC 9110 §13.2.1): a client with
    # an old version learns that, rather than what is wrong with its document.
    expected = precondition.check(row["version"])
    reader = BodyReader(writer.registry, resource, writer.viewer)
    changes = reader.read(_parsed(document), row_id=str(row["id"]))
    # A relationship may need more rights than the attributes beside it. Locking the row once more
    # asks for them, and an error points to the relationship.
    for name in changes.other_links:
        if resource.links[name].owner_only:
            source = {"pointer": f"/data/relationships/{writer.registry.names.wire(name)}"}
            await lock_row(writer, resource, row_id, delete=True, source=source)
    await update_row(writer, resource, row, changes, expected)
    for name, ids in changes.other_links.items():
        pointer = f"/data/relationships/{writer.registry.names.wire(name)}/data"
        await write_links(writer, resource.links[name], row["id"], "PATCH", ids, pointer)
    return int(row["id"])


async def change_linkage(  # noqa: PLR0913 - what changes how, where
    writer: Writer,
    resource: Resource,
    link: Relationship,
    row_id: str,
    method: str,
    document: Body,
    precondition: Precondition,
) -> int:
    """Replace (PATCH), add to (POST) or take from (DELETE) linkage; return the id of the row."""
    row = await lock_row(writer, resource, row_id, delete=link.owner_only)
    expected = precondition.check(row["version"])
    given = _parsed(document)
    if "data" not in given:
        raise BadRequest("The document needs `data`.", source={"pointer": ""})
    ids = linked_ids(writer.registry, link, given["data"], "")
    if link.is_column:
        changes = Changes(own_links={link.name: ids[0] if ids else None})
        await check_target_of(writer, link, ids, "/data")
        await update_row(writer, resource, row, changes, expected, linkage_at="/data")
        return int(row["id"])
    # The linkage is part of the resource, so its version must change, but no column of the row
    # does. Setting the version to itself fires the trigger, which raises it.
    touch = update(resource.table).where(resource.table.c.id == row["id"])
    touch = touch.values(version=resource.table.c.version)
    await write_version(writer, resource, touch, row, expected)
    await write_links(writer, link, row["id"], method, ids, "/data")
    return int(row["id"])
