"""The statement that finds up to CANDIDATES events in PostgreSQL by its indices, and scores them.

Words go into a tsquery in quotes, for `public.words` has left nothing in them that could end one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.search.query import SearchQuery

CANDIDATES = 1000
# Shorter words begin too many others, and have too few trigrams to be like any.
LONG = 3
# From here on are scripts that put no space between words.
UNSPACED = "\u2e80"
KM_A_DEGREE = 111.19
HEADS = "public.heads(name, searchable_location_name, organizer_name)"
SEARCHED = (
    "public.searched(name, searchable_location_name, organizer_name, description, "
    "organizer_description)"
)
NAME = "public.words(coalesce(name, ''))"
PLACE = "public.words(coalesce(searchable_location_name, ''))"
COUNTRY = "nullif(btrim(regexp_replace(searchable_location_name, '^.*,', '')), '')"
DISTANCE_KM = """12742.0176 * asin(sqrt(least(1, sin(radians(latitude - {0}) / 2) ^ 2
    + cos(radians({0})) * cos(radians(latitude)) * sin(radians(longitude - {1}) / 2) ^ 2)))"""
STATEMENT = """
SELECT *, ({score})::float8 AS score, to_char(timezone({zone}, starts_at), 'YYYY-MM') AS month,
       public.words(country) = public.words({country}) AS is_country
FROM (SELECT *, public.words(coalesce(name, '')) AS words, {heads} AS heads, {place} AS country
      FROM (SELECT id, name, searchable_location_name, organizer_name, starts_at, online,
                   latitude, longitude
            FROM events.searchable WHERE privacy = 'public' {conditions}
            {order} LIMIT {limit}) AS found) AS candidates
"""


@dataclass
class Statement:
    """A statement and its values, put together."""

    text: str = ""
    values: list[Any] = field(default_factory=list)

    def bind(self, value: Any, kind: str = "text") -> str:
        """The placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"

    def phrase(self, text: str) -> str:
        """The tsquery of words that stand together."""
        return f"phraseto_tsquery('simple', public.words({self.bind(text)}))"


def statement(
    query: SearchQuery, *, typos: bool = False, in_names: bool = False, faceted: bool = True
) -> Statement:
    """What finds events with all words, or with words like them; in their names alone, if asked.

    Unless `faceted`, chosen values of facets leave nothing out.
    """
    made = Statement()
    conditions = [*_filters(made, query), *(_chosen(made, query) if faceted else ())]
    score = "0.0"
    if words := query.typed.text_without_years.split():
        found = _alike(made, words) if typos else _all_words(made, words)
        conditions.append(found)
        if in_names:
            conditions.append(found.replace(SEARCHED, _vector(NAME)).replace(HEADS, NAME))
        score = " + ".join(_scores(made, query, words, typos=typos))
    made.text = STATEMENT.format(
        score=score,
        zone=made.bind(query.zone),
        country=made.bind(query.country),
        heads=HEADS,
        place=COUNTRY,
        conditions="".join(f"AND {each}\n" for each in conditions),
        order="" if words else _browsing(query),
        limit=CANDIDATES,
    )
    return made


def _vector(text: str) -> str:
    return f"to_tsvector('simple', {text})"


def _tsquery(made: Statement, words: list[str]) -> str:
    """Every word, the beginnings of longer ones being enough."""
    each = (
        f"to_tsquery('simple', '''' || nullif(public.words({made.bind(word)}), '') || "
        f"'''{':*' * (len(word) >= LONG or word is words[-1])}')"
        for word in words
    )
    return f"({' && '.join(each)})"


def _all_words(made: Statement, words: list[str]) -> str:
    found = f"{SEARCHED} @@ {_tsquery(made, words)}"
    parts = [word for word in words if len(word) >= LONG and max(word) >= UNSPACED]
    if not parts:
        return found
    within = (f"{HEADS} LIKE '%' || public.words({made.bind(word)}) || '%'" for word in parts)
    rest = [word for word in words if word not in parts]
    others = f" AND {SEARCHED} @@ {_tsquery(made, rest)}" if rest else ""
    return f"({found} OR ({' AND '.join(within)}{others}))"


def _alike(made: Statement, words: list[str]) -> str:
    """Words like all of these in one stretch or each by itself; or, of several, all but one."""
    found = [f"public.words({made.bind(' '.join(words))}) <% {HEADS}"]
    if len(words) > 1 and min(map(len, words)) >= LONG:
        each = (f"public.words({made.bind(word)}) <% {HEADS}" for word in words)
        found.append(f"({' AND '.join(each)})")
    if len(words) > 2:
        some = (_tsquery(made, words[:i] + words[i + 1 :]) for i in range(len(words)))
        found.append(f"{SEARCHED} @@ ({' || '.join(some)})")
    return f"({' OR '.join(found)})"


def _scores(
    made: Statement, query: SearchQuery, words: list[str], *, typos: bool
) -> Iterator[str]:
    """The parts of the score: 3 for an exact name, up to 1 for anything else."""
    text, whole = made.bind(" ".join(words)), made.bind(query.typed.text)
    asked = _tsquery(made, words)
    yield f"CASE WHEN words IN (public.words({text}), public.words({whole})) THEN 3 ELSE 0 END"
    yield f"CASE WHEN starts_with(words, public.words({text})) THEN 0.5 ELSE 0 END"
    in_name, in_heads = (f"{_vector(each)} @@ {asked}" for each in ("words", "heads"))
    yield f"CASE WHEN {in_name} THEN 1 WHEN {in_heads} THEN 0.75 ELSE 0 END"
    yield f"public.word_similarity(public.words({text}), words)"
    if not typos:
        # As much as words that are alike have at most.
        yield "1"
    else:
        each = (f"public.word_similarity(public.words({made.bind(w)}), heads)" for w in words)
        yield f"({' + '.join(each)}) / {len(words)}"
    if query.typed.years:
        years = made.bind(list(query.typed.years), "int[]")
        year = "date_part('year', timezone('UTC', starts_at))"
        yield f"CASE WHEN {year} = ANY({years}) THEN 0.5 ELSE 0 END"


def _browsing(query: SearchQuery) -> str:
    return f"ORDER BY starts_at {'DESC' if query.order == '-starts-at' else 'ASC'} NULLS LAST, id"


def _filters(made: Statement, query: SearchQuery) -> Iterator[str]:
    if query.period != "all":
        is_over = f"coalesce(ends_at, starts_at) < {made.bind(query.now, 'timestamptz')}"
        yield is_over if query.period == "past" else f"({is_over}) IS NOT TRUE"
    for phrase in query.typed.phrases:
        yield f"{SEARCHED} @@ {made.phrase(phrase)}"
    for phrase in query.typed.excluded:
        yield f"NOT {SEARCHED} @@ {made.phrase(phrase)}"
    if query.place:
        place = made.phrase(query.place)
        yield f"{SEARCHED} @@ {place}"
        yield f"{_vector(PLACE)} @@ {place}"
    yield from _starting(made, query.starts_from, query.starts_before)
    if query.near:
        yield _near(made, *query.near, query.distance_km)


def _chosen(made: Statement, query: SearchQuery) -> Iterator[str]:
    if query.online is not None:
        yield f"online = {made.bind(query.online, 'boolean')}"
    if query.country:
        yield f"{SEARCHED} @@ {made.phrase(query.country)}"
        yield f"public.words({COUNTRY}) = public.words({made.bind(query.country)})"
    if query.month_range:
        yield from _starting(made, *query.month_range)


def _starting(made: Statement, start: datetime | None, end: datetime | None) -> Iterator[str]:
    if start:
        yield f"starts_at >= {made.bind(start, 'timestamptz')}"
    if end:
        yield f"starts_at < {made.bind(end, 'timestamptz')}"


def _near(made: Statement, latitude: float, longitude: float, distance_km: float) -> str:
    here = made.bind(latitude, "float8"), made.bind(longitude, "float8")
    furthest = made.bind(distance_km, "float8")
    degrees = made.bind(math.ceil(distance_km / KM_A_DEGREE * 100) / 100, "float8")
    box = f"latitude BETWEEN {here[0]} - {degrees} AND {here[0]} + {degrees}"
    return f"{box} AND {DISTANCE_KM.format(*here)} <= {furthest}"
