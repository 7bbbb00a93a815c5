"""The `lid` of an atomic operation: it stands for the id of what an earlier one created."""

from typing import Any

from shared.errors import BadRequest, below
from shared.jsonapi.strict import escape
from shared.jsonapi.write.bodies import MAX_MEMBERS

# The ids of what was created so far, by type and lid.
Lids = dict[tuple[str, str], str]


def data_with_ids(operation: dict[str, Any], lids: Lids, *, is_new: bool = False) -> Any:
    """`data` with the id for each lid, in its relationships too; BadRequest for an unknown lid.

    A new resource keeps its own lid out of it, which must not be taken.
    """
    data = operation.get("data")
    if not isinstance(data, dict):
        return _linked(data, lids, "/data")
    try:
        data = with_id(data, lids, is_new=is_new)
    except BadRequest as error:
        raise below(error, "/data") from error
    links = data.get("relationships")
    if not isinstance(links, dict):
        return data
    resolved = {
        name: {**link, "data": _linked(link["data"], lids, "/data/relationships", name)}
        if isinstance(link, dict) and "data" in link
        else link
        for name, link in links.items()
    }
    return {**data, "relationships": resolved}


def _linked(linkage: Any, lids: Lids, pointer: str, name: str | None = None) -> Any:
    """Linkage with the id for each lid; `name` is of the relationship below the pointer."""
    # A list that is too long is refused when it is read. A pointer is made for a fault only: it
    # is as long as the name, and there may be many identifiers.
    is_list = isinstance(linkage, list) and len(linkage) <= MAX_MEMBERS
    found = []
    for number, each in enumerate(linkage if is_list else [linkage]):
        try:
            found.append(with_id(each, lids))
        except BadRequest as error:
            at = pointer if name is None else f"{pointer}/{escape(name)}/data"
            raise below(error, f"{at}/{number}" if is_list else at) from error
    return found if is_list else found[0]


def with_id(node: Any, lids: Lids, *, is_new: bool = False) -> Any:
    """The resource or identifier with the id for its lid; BadRequest points to `/lid` in it."""
    if not isinstance(node, dict) or "lid" not in node:
        return node
    node, source = dict(node), {"pointer": "/lid"}
    lid = node.pop("lid")
    if not isinstance(lid, str):
        raise BadRequest("A lid must be a string.", source=source)
    if is_new:
        if any(lid == other for _, other in lids):
            raise BadRequest(f"The lid {lid!r} is taken already.", source=source)
        return node
    known = lids.get((str(node.get("type")), lid))
    if known is None:
        detail = f"No earlier operation made a {node.get('type')} of lid {lid!r}."
        raise BadRequest(detail, source=source)
    node["id"] = known
    return node
