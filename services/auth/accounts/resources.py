"""The type `user` in the API. Users cannot make themselves administrators or verified."""

from datetime import timedelta
from functools import partial
from typing import Annotated

from pydantic import BaseModel, StringConstraints
from sqlalchemy import ColumnElement, false, func, true

from services.auth.limits import check
from services.auth.models import User as Account
from services.auth.passwords import hash_password
from shared.addresses import address_key
from shared.auth import User, Viewer
from shared.jsonapi.fields import URL, Instant
from shared.jsonapi.resource import (
    AdminOnly,
    Computed,
    ReadOnly,
    Resource,
    Row,
    Values,
    WriteOnly,
)

# Which control characters `\s` matches differs between the regex of pydantic and that of OpenAPI,
# so all of them are excluded.
_PART = r"[^@\s\x00-\x1f\x7f-\x9f\ufeff]+"
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, max_length=254, pattern=rf"^{_PART}@{_PART}\.{_PART}$"
    ),
]
Password = Annotated[str, StringConstraints(min_length=8, max_length=128)]
Name = Annotated[str, StringConstraints(max_length=200)]
TAKEN = "There is already an account with this address."
# An account that is not verified by then loses its address.
VERIFY_WITHIN = timedelta(days=7)


class UserAttributes(BaseModel):
    """The attributes in the order in which documents show them."""

    email: Email
    password: WriteOnly[Password]
    first_name: Name | None = None
    last_name: Name | None = None
    avatar_url: URL | None = None
    is_verified: AdminOnly[bool] = False
    is_admin: AdminOnly[bool] = False
    created_at: ReadOnly[Instant]
    deleted_at: ReadOnly[Instant | None] = None


def _is_self(user: User) -> ColumnElement[bool]:
    return true() if user.is_admin else Account.id == user.id


def _readable(viewer: Viewer) -> ColumnElement[bool]:
    return Account.deleted_at.is_(None) & (_is_self(viewer) if viewer else false())


def user_resource(*, verify_on_sign_up: bool) -> Resource:
    """Declare the type `user`. A changed email address must be verified again."""

    def to_columns(current: Row, values: Values) -> Values:
        if "email" in values:
            key = address_key(values["email"])
            if key != current.get("email_key"):
                values.setdefault("is_verified", verify_on_sign_up)
            values["email_key"] = key
        if not current and not values.get("is_verified"):
            values["verify_by"] = func.now() + VERIFY_WITHIN
        return values

    return Resource(
        type="user",
        model=Account,
        attributes=UserAttributes,
        path="users",
        readable=_readable,
        changeable=_is_self,
        creatable_by_anyone=True,
        before_create=partial(check, kind="sign-up"),
        soft_delete=True,
        to_columns=to_columns,
        computed={"password": Computed("password_hash", hash_password)},
        violations={"uq_users_email_key": ("email", TAKEN)},
    )
