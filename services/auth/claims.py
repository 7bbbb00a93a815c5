"""The accounts that have an address or claim it, and which of them comes first."""

from sqlalchemy import ColumnElement, and_, or_

from services.auth.models import User
from shared.addresses import address_key

# The order of the accounts of an address. The first signs in with it and is mailed a new password:
# an old account with this very spelling, else the verified one, else the newest that claims it.
FIRST = (User.email_key.is_(None).desc(), User.is_verified.desc(), User.id.desc())


def claims(address: str) -> ColumnElement[bool]:
    """The condition of accounts that have the address, or claim it.

    An old account whose address became equal to another's has its own spelling only.
    """
    own_spelling = and_(User.email_key.is_(None), User.email == address.strip())
    return User.deleted_at.is_(None) & or_(own_spelling, User.email_key == address_key(address))
