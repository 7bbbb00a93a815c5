"""The `lid` of an atomic operation, which stands for the id that an earlier operation created."""

from typing import Any

from shared.errors import BadRequest, below
from shared.jsonapi.strict import escape
from shared.jsonapi.write.bodies import MAX_IDENTIFIERS

# The ids of the resources created so far, by type and lid.
Lids = dict[tuple[str, str], str]


def data_with_ids(operation: dict[str, Any], lids: Lids, *, is_new: bool = False) -> Any:
    """Return `data` of an operation with an id in place of each lid, relationships included.

    With `is_new` the lid of `data` itself is that of the resource to be created: it is removed,
    and must not be taken yet. Raises BadRequest for a lid that is unknown or taken.
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
    """Return linkage with an id in place of each lid.

    `pointer` leads to the linkage, or with a `name` to the object that has the relationship of
    that name.
    """
    # A list that is too long is left as it is, to be refused when the linkage is read.
    is_list = isinstance(linkage, list) and len(linkage) <= MAX_IDENTIFIERS
    resolved = []
    for number, each in enumerate(linkage if is_list else [linkage]):
        try:
            resolved.append(with_id(each, lids))
        except BadRequest as error:
            # The pointer is made only now: it is as long as the client's name, and there may be
            # a thousand identifiers.
            at = pointer if name is None else f"{pointer}/{escape(name)}/data"
            raise below(error, f"{at}/{number}" if is_list else at) from error
    return resolved if is_list else resolved[0]


def with_id(node: Any, lids: Lids, *, is_new: bool = False) -> Any:
    """Return a resource or identifier object with an id in place of its lid.

    Raises BadRequest, whose pointer begins at the object: `/lid`.
    """
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
        detail = f"No earlier operation created a {node.get('type')} with the lid {lid!r}."
        raise BadRequest(detail, source=source)
    node["id"] = known
    return node
