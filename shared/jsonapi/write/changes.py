"""Creating and changing resources as a document describes, for endpoints and for operations."""

from typing import Any

from sqlalchemy import update

from shared.errors import BadRequest, JSONAPIError
from shared.jsonapi.negotiation import parse_object
from shared.jsonapi.relationship import Relationship
from shared.jsonapi.resource import Resource
from shared.jsonapi.write.bodies import BodyReader, Changes, linked_ids
from shared.jsonapi.write.linkage import Linkage, write_links
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
    given = _linkage(writer, resource, changes)
    linked = await write_links(writer, resource, row_id, "PATCH", given, is_new=True)
    if linked:
        await resource.after_change(writer.session, {"id": row_id}, {}, linked, writer.viewer)
    return row_id


def _linkage(writer: Writer, resource: Resource, changes: Changes) -> list[Linkage]:
    wire = writer.registry.names.wire
    return [
        Linkage(resource.links[name], ids, f"/data/relationships/{wire(name)}/data")
        for name, ids in changes.other_links.items()
    ]


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
    given = _linkage(writer, resource, changes)
    linked = await write_links(writer, resource, row["id"], "PATCH", given)
    await resource.after_change(writer.session, row, changes.values, linked, writer.viewer)
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
    is_leaving = method == "DELETE" and names_viewer(writer, link, document)
    row = await lock_row(writer, resource, row_id, delete=link.owner_only and not is_leaving)
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
    given_ids = [Linkage(link, ids, "/data")]
    linked = await write_links(writer, resource, row["id"], method, given_ids)
    await resource.after_change(writer.session, row, {}, linked, writer.viewer)
    return int(row["id"])


def names_viewer(writer: Writer, link: Relationship, document: Body) -> bool:
    """Whether the linkage is the viewer alone, who needs no right to the others to leave them."""
    if not link.by_invitation or writer.viewer is None:
        return False
    try:
        given = _parsed(document).get("data")
        ids = linked_ids(writer.registry, link, given, "")
    except JSONAPIError:
        # The caller finds the same mistake once the rights to the row are known.
        return False
    return ids == [writer.viewer.id]
