"""The statement that finds up to CANDIDATES events in PostgreSQL by its indices, and scores them.

Words are put into a tsquery in quotes. The quotes are safe, because `public.words` leaves no
character in the words that could end a quote.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.search.engines.query import SearchQuery

CANDIDATES = 1000
# Shorter words begin too many others, and have too few trigrams to be compared.
LONG = 3
# With more words it would take too long to leave out each in turn.
MANY = 6
# From this character on come scripts that put no space between words.
UNSPACED = "\u2e80"
NAME_WORDS = "to_tsvector('simple', search_name)"
KM_A_DEGREE = 111.19
# The great-circle distance, as in found.py: 12742 km is the diameter of the earth.
DISTANCE_KM = """12742.0176 * asin(sqrt(least(1, sin(radians(latitude - {0}) / 2) ^ 2
    + cos(radians({0})) * cos(radians(latitude)) * sin(radians(longitude - {1}) / 2) ^ 2)))"""
STATEMENT = """
SELECT id, name, searchable_location_name, starts_at, online, latitude, longitude, search_name,
       nullif(btrim(regexp_replace(searchable_location_name, '^.*,', '')), '') AS country,
       search_country = left({country}, 200) AS is_country, ({score})::float8 AS score,
       {exact} AS is_exact, to_char(timezone({zone}, starts_at), 'YYYY-MM') AS month
FROM events.findable WHERE id = ANY(ARRAY({sources}))
"""
# A condition, and the order in which it is cut where more than CANDIDATES events meet it.
Source = tuple[str, str]
SOURCE = "(SELECT id FROM events.findable WHERE {conditions} {order} LIMIT {limit})"


@dataclass
class Statement:
    """A statement that is being put together, and its values."""

    text: str = ""
    values: list[Any] = field(default_factory=list)

    def bind(self, value: Any, kind: str = "text") -> str:
        """Add a value; returns its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"

    def phrase(self, text: str) -> str:
        """The tsquery of words that stand together."""
        return f"phraseto_tsquery('simple', public.words({self.bind(text)}))"


def statement(query: SearchQuery, *, typos: bool = False, faceted: bool = True) -> Statement:
    """The statement that finds events with all words, or with similar words if `typos`.

    Unless it is `faceted`, the chosen values of facets leave nothing out.
    """
    made = Statement()
    conditions = [*_filters(made, query), *(_chosen(made, query) if faceted else ())]
    words = query.typed.text_without_years.split()
    if not words:
        sources, score, exact = list(_browsing(made, query)), "0.0", "false"
    else:
        find = _alike if typos else _all_words
        sources = list(find(made, query, words))
        exact = _exact(made, query)
        score = " + ".join(_scores(made, query, words, exact, typos=typos))
    made.text = STATEMENT.format(
        score=score,
        exact=exact,
        zone=made.bind(query.zone),
        country=_words(made, query.country),
        # Each source is read by its own index. The array is computed once; a join could be planned
        # to read the sources again for every row of a table that was not analyzed yet.
        sources=" UNION ".join(
            SOURCE.format(
                conditions=" AND ".join([f"({each})", *conditions]),
                order=order or _first(made, query),
                limit=CANDIDATES,
            )
            for each, order in sources
        ),
    )
    return made


def _browsing(made: Statement, query: SearchQuery) -> Iterator[Source]:
    """Sources by date, so that an index is read from now on and not through all past events."""
    if query.period == "all":
        yield "true", ""
        return
    now = made.bind(query.now, "timestamptz")
    yield "starts_at IS NULL", ""
    if query.period == "past":
        yield f"starts_at < {now}", ""
    else:
        # Events that are on, by the index of their ends, which skips those that are over.
        over = "coalesce(ends_at, starts_at)"
        order = f"ORDER BY {over}" if query.order == "starts_at" else ""
        yield f"starts_at < {now} AND {over} >= {now}", order
        yield f"starts_at >= {now}", ""


def _words(made: Statement, text: str | None) -> str:
    return f"public.words({made.bind(text)})"


def _tsquery(made: Statement, words: list[str]) -> str:
    """The tsquery for every word; of longer words, and of the last one, a beginning is enough."""
    each = (
        f"to_tsquery('simple', '''' || nullif({_words(made, word)}, '') || "
        f"'''{':*' * (len(word) >= LONG or word is words[-1])}')"
        for word in words
    )
    return f"({' && '.join(each)})"


def _exact(made: Statement, query: SearchQuery) -> str:
    texts = (query.typed.text_without_years, query.typed.text)
    return f"search_name IN ({', '.join(f'left({_words(made, each)}, 200)' for each in texts)})"


def _all_words(made: Statement, query: SearchQuery, words: list[str]) -> Iterator[Source]:
    """Sources of events with all words.

    An exact name is a source by itself, so that it is found among any number of names with the
    same words.
    """
    yield f"{_exact(made, query)} AND search_name <> ''", ""
    if query.names_only:
        text = f"nullif({_words(made, ' '.join(words))}, '')"
        yield f"search_name ~>=~ {text} AND search_name ~<~ ({text} || chr(1114111))", ""
    vector, text = (
        (NAME_WORDS, "search_name") if query.names_only else ("search_words", "search_heads")
    )
    yield f"{vector} @@ {_tsquery(made, words)}", ""
    parts = [word for word in words if len(word) >= LONG and max(word) >= UNSPACED]
    if parts:
        within = [f"{text} LIKE '%' || {_words(made, word)} || '%'" for word in parts]
        rest = [word for word in words if word not in parts]
        others = [f"{vector} @@ {_tsquery(made, rest)}"] if rest else []
        yield " AND ".join([*within, *others]), ""


def _alike(made: Statement, query: SearchQuery, words: list[str]) -> Iterator[Source]:
    """Sources of events with similar words, in one stretch or each by itself.

    Of several words, all but one are enough.
    """

    # Of very many events the most similar ones are kept; the whole score would take too long.
    order = ""
    if query.order == "relevance":
        similarity = f"public.word_similarity({_words(made, ' '.join(words))}, search_heads)"
        order = f"ORDER BY {similarity} DESC, id"
    yield _is_like(made, query, " ".join(words)), order
    if len(words) > 1 and min(map(len, words)) >= LONG:
        yield " AND ".join(_is_like(made, query, word) for word in words), order
    if 2 < len(words) <= MANY:
        some = (_tsquery(made, words[:i] + words[i + 1 :]) for i in range(len(words)))
        vector = NAME_WORDS if query.names_only else "search_words"
        yield f"{vector} @@ ({' || '.join(some)})", ""


def _is_like(made: Statement, query: SearchQuery, text: str) -> str:
    found = f"{_words(made, text)} <% search_heads"
    return f"{found} AND {found.replace('heads', 'name')}" if query.names_only else found


def _scores(
    made: Statement, query: SearchQuery, words: list[str], exact: str, *, typos: bool
) -> Iterator[str]:
    """The parts of the score: 3 for an exact name, and at most 1 for each of the others."""
    text, asked = _words(made, " ".join(words)), _tsquery(made, words)
    yield f"CASE WHEN {exact} THEN 3 ELSE 0 END"
    yield f"CASE WHEN starts_with(search_name, {text}) THEN 0.5 ELSE 0 END"
    in_name, in_heads = (
        f"to_tsvector('simple', {each}) @@ {asked}" for each in ("search_name", "search_heads")
    )
    yield f"CASE WHEN {in_name} THEN 1 WHEN {in_heads} THEN 0.75 ELSE 0 END"
    yield f"public.word_similarity({text}, search_name)"
    if not typos:
        # As much as similar words get at most.
        yield "1"
    else:
        each = (f"public.word_similarity({_words(made, word)}, search_heads)" for word in words)
        yield f"({' + '.join(each)}) / {len(words)}"
    if query.typed.years:
        years = made.bind(list(query.typed.years), "int[]")
        year = "date_part('year', timezone('UTC', starts_at))"
        yield f"CASE WHEN {year} = ANY({years}) THEN 0.5 ELSE 0 END"


def _first(made: Statement, query: SearchQuery) -> str:
    """The order in which a source is cut where more than CANDIDATES events match."""
    if query.order == "relevance":
        return ""
    if query.order == "distance" and query.near:
        return f"ORDER BY {_distance(made, *query.near)}, id"
    return f"ORDER BY starts_at {'DESC' if query.order == '-starts_at' else 'ASC'} NULLS LAST, id"


def _filters(made: Statement, query: SearchQuery) -> Iterator[str]:
    if query.period != "all":
        is_over = f"coalesce(ends_at, starts_at) < {made.bind(query.now, 'timestamptz')}"
        yield is_over if query.period == "past" else f"({is_over}) IS NOT TRUE"
    for phrase in query.typed.phrases:
        yield f"search_words @@ {made.phrase(phrase)}"
    for phrase in query.typed.excluded:
        yield f"NOT search_words @@ {made.phrase(phrase)}"
    if query.place:
        place = _words(made, query.place)
        yield f"search_words @@ plainto_tsquery('simple', {place})"
        yield f"strpos(' ' || search_place || ' ', ' ' || {place} || ' ') > 0"
    yield from _starting(made, query.starts_from, query.starts_before)
    if query.near:
        yield _near(made, *query.near, query.distance_km)


def _chosen(made: Statement, query: SearchQuery) -> Iterator[str]:
    if query.online is not None:
        yield f"online = {made.bind(query.online, 'boolean')}"
    if query.country:
        yield f"search_country = left({_words(made, query.country)}, 200)"
    if query.month_range:
        yield from _starting(made, *query.month_range)


def _starting(made: Statement, start: datetime | None, end: datetime | None) -> Iterator[str]:
    if start:
        yield f"starts_at >= {made.bind(start, 'timestamptz')}"
    if end:
        yield f"starts_at < {made.bind(end, 'timestamptz')}"


def _near(made: Statement, latitude: float, longitude: float, distance_km: float) -> str:
    here, furthest = made.bind(latitude, "float8"), made.bind(distance_km, "float8")
    degrees = made.bind(math.ceil(distance_km / KM_A_DEGREE * 100) / 100, "float8")
    box = f"latitude BETWEEN {here} - {degrees} AND {here} + {degrees}"
    return f"{box} AND {_distance(made, latitude, longitude)} <= {furthest}"


def _distance(made: Statement, *place: float) -> str:
    return DISTANCE_KM.format(*(made.bind(each, "float8") for each in place))
