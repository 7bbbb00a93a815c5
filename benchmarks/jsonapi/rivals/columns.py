"""The columns of an event that rivals serve, with the types that they have in Python."""

from collections.abc import Iterator
from datetime import datetime

REQUIRED: dict[type, str] = {
    str: "identifier name timezone privacy state",
    bool: "online is_featured",
    datetime: "created_at updated_at",
}
OPTIONAL: dict[type, str] = {
    str: """
        description location_name searchable_location_name organizer_name organizer_description
        logo_url original_image_url external_event_url ticket_url code_of_conduct
    """,
    float: "latitude longitude",
    datetime: "starts_at ends_at deleted_at",
}


def columns() -> Iterator[tuple[str, type, bool]]:
    """(name, type, whether it may be null) of each column but the id."""
    for names, is_nullable in ((REQUIRED, False), (OPTIONAL, True)):
        for kind, listed in names.items():
            yield from ((name, kind, is_nullable) for name in listed.split())
