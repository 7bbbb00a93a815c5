"""Finding the row that a path names, by its id or by the identifier of its type."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam

from shared.jsonapi.read.reader import not_found
from shared.jsonapi.resource import ROW_NAME, Resource

ROW_ID: Any = bindparam("row_id", None, type_=BigInteger)


def item_parameter(resource: Resource, row_id: str) -> dict[str, Any]:
    """The parameter of `item_condition`; NotFound where the text cannot name a row."""
    # 18 digits always fit into a bigint.
    if row_id.isascii() and row_id.isdigit() and len(row_id) <= 18:
        return {"row_id": int(row_id)}
    if resource.identifier is None or "\0" in row_id:
        raise not_found(resource, row_id)
    return {"row_name": row_id}


def item_condition(resource: Resource, parameter: dict[str, Any]) -> ColumnElement[bool]:
    """The condition that `item_parameter` gives its value to."""
    if "row_id" in parameter:
        return and_(resource.table.c.id == ROW_ID)
    return and_(resource.identifier == ROW_NAME)
