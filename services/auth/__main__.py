"""Commands for operators, about accounts and signing keys: `python -m services.auth --help`."""

import argparse
import asyncio
import sys
from pathlib import Path

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from services.auth.keys import new_key
from services.auth.models import User
from shared.db import Database
from shared.settings import get_settings


async def set_flag(email: str, flag: str) -> bool:
    """Set is_verified or is_admin of an account; return False if there is no such account."""
    database = Database(get_settings(), "almanac_auth")
    # A deleted account keeps its row, but must not get rights.
    statement = update(User).where(User.email == email, User.deleted_at.is_(None))
    try:
        async with database.session() as session, session.begin():
            found = await session.execute(statement.values({flag: True}).returning(User.id))
            return found.one_or_none() is not None
    finally:
        await database.engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.auth", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("verify", "mark its address as verified"),
        ("make-admin", "give it all rights"),
    ):
        command = commands.add_parser(name, help=f"{text}; the account must exist")
        command.add_argument("email")
    key = commands.add_parser("new-key", help="make a signing key if the folder has none")
    key.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "new-key":
        print(new_key(arguments.folder))
        return
    flag = {"verify": "is_verified", "make-admin": "is_admin"}[arguments.command]
    try:
        found = asyncio.run(set_flag(arguments.email, flag))
    except (OSError, SQLAlchemyError) as error:
        sys.exit(f"The database does not answer ({type(error).__name__}): check DATABASE_URL.")
    if not found:
        sys.exit(f"There is no account with the address {arguments.email}.")
    print(f"{arguments.email}: {flag} is set.")


if __name__ == "__main__":
    main()
