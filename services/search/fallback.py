"""The same search in PostgreSQL: for when Elasticsearch is away, or was never configured."""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, not_, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from services.search.document import document
from services.search.found import Found
from services.search.models import Searchable
from services.search.query import SearchQuery
from services.search.typed import words
from shared.jsonapi.errors import ServiceUnavailable

MAX_COUNT = 1000
SIMILAR = 0.45
TIMEOUT_MS = 2000
QUERY_CANCELED = "57014"


def _fold(value: Any) -> ColumnElement[str]:
    return func.public.fold(func.coalesce(value, ""))


def _text(value: Any) -> ColumnElement[str]:
    return func.regexp_replace(value, "<[^>]*>", " ", "g")


def _haystack() -> ColumnElement[str]:
    parts = (
        Searchable.name,
        Searchable.searchable_location_name,
        Searchable.organizer_name,
        _text(Searchable.description),
        _text(Searchable.organizer_description),
    )
    return _fold(func.concat_ws(" ", *parts))


def _has_words(text: str) -> ColumnElement[bool]:
    # A word is found where one begins with it.
    found = (_haystack().regexp_match(literal(r"\m") + _fold(word)) for word in words(text))
    return and_(*found)


def _has_phrase(text: str) -> ColumnElement[bool]:
    # Between the words of a phrase may be what is no word; at its ends are the ends of words.
    between = func.regexp_replace(_fold(text), " ", r"\W+", "g")
    return _haystack().regexp_match(literal(r"\m") + between + literal(r"\M"))


def _in_years(years: tuple[int, ...]) -> ColumnElement[bool]:
    year = func.date_part("year", func.timezone("UTC", Searchable.starts_at))
    return year.in_(years)


def _statement(query: SearchQuery) -> Select[Any]:
    statement = select(*Searchable.__table__.c).where(Searchable.privacy == "public")
    if query.online is not None:
        statement = statement.where(Searchable.online == query.online)
    typed = query.typed
    statement = statement.where(*(_has_phrase(each) for each in typed.phrases))
    statement = statement.where(*(not_(_has_phrase(each)) for each in typed.excluded))
    newest = Searchable.starts_at.desc().nulls_last()
    text = typed.text_without_years
    if not text:
        return statement.add_columns(literal(0.0).label("score")).order_by(newest, Searchable.id)
    similarity = func.public.word_similarity(_fold(text), _fold(Searchable.name))
    is_exact = _fold(Searchable.name).in_((_fold(text), _fold(typed.text)))
    score = case((is_exact, 2.0), (_has_words(text), 1.0), else_=0.0) + similarity
    if typed.years:
        score += case((_in_years(typed.years), 0.5), else_=0.0)
    matches = or_(_has_words(text), similarity >= SIMILAR)
    statement = statement.add_columns(score.label("score")).where(matches)
    return statement.order_by(score.desc(), newest, Searchable.id)


async def search_postgres(session: AsyncSession, query: SearchQuery) -> Found:
    """What is found, counted up to MAX_COUNT."""
    await session.execute(select(func.set_config("statement_timeout", str(TIMEOUT_MS), True)))
    statement = _statement(query)
    count = select(func.count()).select_from(statement.limit(MAX_COUNT).subquery())
    page = statement.offset(query.offset).limit(query.size)
    try:
        rows = (await session.execute(page)).mappings().all()
        total = int(await session.scalar(count) or 0)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != QUERY_CANCELED:
            raise
        detail = "Search took too long; try again, or with fewer words."
        raise ServiceUnavailable(detail, headers={"Retry-After": "5"}) from error
    return Found([{**document(row), "score": row["score"]} for row in rows], total)


async def suggest_postgres(session: AsyncSession, query: SearchQuery) -> list[dict[str, Any]]:
    return []
