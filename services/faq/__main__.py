"""Commands for operators, about faqs: `python -m services.faq --help`."""

import argparse
import asyncio
import sys

import asyncpg
from tqdm import tqdm

from shared.db import AWAY, raw_connection
from shared.jsonapi.html import sanitised
from shared.settings import Settings, get_settings

BATCH = 500
PAGE = "SELECT id, answer FROM faq.faqs WHERE id > $1 ORDER BY id LIMIT $2"
# An answer that a user has changed meanwhile needs no cleaning: it was cleaned when written.
CHANGE = "UPDATE faq.faqs SET answer = $3 WHERE id = $1 AND answer = $2"


async def clean_answers(settings: Settings) -> int:
    """Clean the answers that were stored before answers were cleaned; return how many changed."""
    connection = await raw_connection(settings, "almanac_faq")
    try:
        total = await connection.fetchval("SELECT count(*) FROM faq.faqs")
        with tqdm(total=total, unit=" answers", desc="Cleaning") as bar:
            last, changed = 0, 0
            # Each UPDATE is a transaction of its own, so writers are not held up.
            while rows := await connection.fetch(PAGE, last, BATCH):
                for faq_id, answer in rows:
                    changed += await _clean(connection, faq_id, answer)
                last = rows[-1]["id"]
                bar.update(len(rows))
        return changed
    finally:
        await connection.close(timeout=5)


async def _clean(connection: asyncpg.Connection, faq_id: int, answer: str) -> bool:
    cleaned = sanitised(answer)
    if cleaned == answer:
        return False
    status: str = await connection.execute(CHANGE, faq_id, answer, cleaned)
    return status == "UPDATE 1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.faq", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "clean-answers",
        help="clean answers stored by old releases; may run again, and while users write",
    )
    parser.parse_args()
    try:
        changed = asyncio.run(clean_answers(get_settings()))
    except KeyboardInterrupt:
        sys.exit(130)
    except (*AWAY, asyncpg.PostgresError) as error:
        sys.exit(f"PostgreSQL does not answer ({type(error).__name__}): check DATABASE_URL.")
    print(f"{changed} answers were cleaned.")


if __name__ == "__main__":
    main()
