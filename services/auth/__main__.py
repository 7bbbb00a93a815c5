"""Commands for operators, about accounts and signing keys: `python -m services.auth --help`."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.accounts.addresses import claim, lock_address
from services.auth.audit import RECORDED, record
from services.auth.claims import FIRST, claims
from services.auth.duplicates import list_duplicates
from services.auth.keys.files import (
    REFRESH,
    SIGNING,
    UnusableKeys,
    in_words,
    new_key,
    retire_keys,
    rotate_keys,
)
from services.auth.keys.ring import made_at
from services.auth.models import User
from services.auth.sessions.rows import LONGEST
from shared.db import Database
from shared.settings import get_settings
from shared.tokens import LEEWAY_S


async def set_flag(email: str, flag: str) -> bool:
    """Set is_verified or is_admin of an account; return False if there is no such account.

    Only an account that is verified can be made an administrator: others may be a stranger's.
    """
    database = Database(get_settings(), "almanac_auth")
    try:
        async with database.session() as session, session.begin():
            return await _set_flag(session, email, flag)
    finally:
        await database.engine.dispose()


async def _set_flag(session: AsyncSession, email: str, flag: str) -> bool:
    await lock_address(session, email)
    columns = User.id, User.email_key, getattr(User, flag).label("is_set")
    of_address = claims(email) if flag == "is_verified" else claims(email) & User.is_verified
    known = select(*columns).where(of_address).order_by(*FIRST).limit(1)
    account = (await session.execute(known.with_for_update())).one_or_none()
    if account is None:
        return False
    if not account.is_set:
        await record(session, account.id, RECORDED[flag, True], detail="by an operator")
    values: dict[str, Any] = {flag: True}
    if flag == "is_verified":
        values["verify_by"] = None
        if account.email_key is not None:
            await claim(session, account.id, email)
    await session.execute(update(User).where(User.id == account.id).values(**values))
    return True


def add_commands(commands: Any) -> None:
    for name, text in (
        ("verify", "mark its address as verified"),
        ("make-admin", "give it all rights"),
    ):
        command = commands.add_parser(name, help=f"{text}; the account must exist")
        command.add_argument("email")
    commands.add_parser(
        "duplicates", help="list accounts whose address another account owns in another spelling"
    )
    for name, text in (
        ("new-key", "make the keys that the folder lacks"),
        ("rotate-key", "add a new key for access tokens and one for refresh tokens"),
        ("retire-keys", "remove the keys whose last token has expired"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("folder", type=Path)


def change_keys(command: str, folder: Path) -> list[str]:
    """Run a command on a folder of keys and return what it has to say."""
    if command == "new-key":
        return [str(new_key(folder))]
    settings = get_settings()
    signs_after_s = settings.jwt_key_signs_after_s
    if command == "rotate-key":
        made = rotate_keys(folder)
        moment = in_words(max(made_at(path.stem) for path in made) + signs_after_s)
        return [f"made {path}: it signs from {moment} on" for path in made]
    access_s = max(settings.access_token_ttl_s, settings.refreshed_token_ttl_s) + LEEWAY_S
    kept_s = {SIGNING: access_s, REFRESH: LONGEST.total_seconds()}
    return retire_keys(folder, signs_after_s, kept_s)


def change_account(command: str, address: str) -> str:
    flag = {"verify": "is_verified", "make-admin": "is_admin"}[command]
    if not asyncio.run(set_flag(address, flag)):
        unless = " that has proved it; `verify` does that by hand" * (flag == "is_admin")
        sys.exit(f"There is no account with the address {address}{unless}.")
    is_now = "verified" if flag == "is_verified" else "an administrator"
    return f"{address} is {is_now} now."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.auth", description=__doc__)
    add_commands(parser.add_subparsers(dest="command", required=True))
    arguments = parser.parse_args()
    try:
        if "folder" in arguments:
            lines = change_keys(arguments.command, arguments.folder)
        elif "email" in arguments:
            lines = [change_account(arguments.command, arguments.email)]
        else:
            lines = asyncio.run(list_duplicates(get_settings()))
    except UnusableKeys as error:
        sys.exit(f"The keys cannot be used: {error}.")
    except (OSError, SQLAlchemyError) as error:
        if "folder" in arguments:
            sys.exit(f"The folder cannot be used: {error}.")
        sys.exit(f"The database does not answer ({type(error).__name__}): check DATABASE_URL.")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
