"""The statement that finds up to CANDIDATES events in PostgreSQL by its indices, and scores them.

Words go into a tsquery in quotes, for `public.words` has left nothing in them that could end one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.search.engines.query import SearchQuery

CANDIDATES = 1000
# Shorter words begin too many others, and have too few trigrams to be like any.
LONG = 3
# Of more words it takes too long to leave out each in turn.
MANY = 6
# From here on are scripts that put no space between words.
UNSPACED = "\u2e80"
NAME_WORDS = "to_tsvector('simple', search_name)"
KM_A_DEGREE = 111.19
DISTANCE_KM = """12742.0176 * asin(sqrt(least(1, sin(radians(latitude - {0}) / 2) ^ 2
    + cos(radians({0})) * cos(radians(latitude)) * sin(radians(longitude - {1}) / 2) ^ 2)))"""
STATEMENT = """
SELECT id, name, searchable_location_name, starts_at, online, latitude, longitude, search_name,
       nullif(btrim(regexp_replace(searchable_location_name, '^.*,', '')), '') AS country,
       search_country = left({country}, 200) AS is_country, ({score})::float8 AS score,
       {exact} AS is_exact, to_char(timezone({zone}, starts_at), 'YYYY-MM') AS month
FROM events.findable WHERE id = ANY(ARRAY({sources}))
"""
# A condition, and its own order where there are more than CANDIDATES.
Source = tuple[str, str]
SOURCE = "(SELECT id FROM events.findable WHERE {conditions} {order} LIMIT {limit})"


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


def statement(query: SearchQuery, *, typos: bool = False, faceted: bool = True) -> Statement:
    """What finds events with all words, or with words like them.

    Unless `faceted`, chosen values of facets leave nothing out.
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
        # Each by its own index, so that no row is compared with what another one looks for. An
        # array is made once, where a plan of a table that was not analyzed would look again a row.
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
    """By when they begin, so that an index is read from now on and not through all that was."""
    if query.period == "all":
        yield "true", ""
        return
    now = made.bind(query.now, "timestamptz")
    yield "starts_at IS NULL", ""
    if query.period == "past":
        yield f"starts_at < {now}", ""
    else:
        # What is on, by an index that has none of what is over.
        over = "coalesce(ends_at, starts_at)"
        order = f"ORDER BY {over}" if query.order == "starts_at" else ""
        yield f"starts_at < {now} AND {over} >= {now}", order
        yield f"starts_at >= {now}", ""


def _words(made: Statement, text: str | None) -> str:
    return f"public.words({made.bind(text)})"


def _tsquery(made: Statement, words: list[str]) -> str:
    """Every word, the beginnings of longer ones being enough."""
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
    """By itself an exact name is found among any number of others that have its words."""
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
    """Words like all of these in one stretch or each by itself; or, of several, all but one."""

    def is_like(text: str) -> str:
        found = f"{_words(made, text)} <% search_heads"
        return f"{found} AND {found.replace('heads', 'name')}" if query.names_only else found

    # Of very many those that are most alike: the whole score would take too long.
    order = ""
    if query.order == "relevance":
        similarity = f"public.word_similarity({_words(made, ' '.join(words))}, search_heads)"
        order = f"ORDER BY {similarity} DESC, id"
    yield is_like(" ".join(words)), order
    if len(words) > 1 and min(map(len, words)) >= LONG:
        yield " AND ".join(map(is_like, words)), order
    if 2 < len(words) <= MANY:
        some = (_tsquery(made, words[:i] + words[i + 1 :]) for i in range(len(words)))
        vector = NAME_WORDS if query.names_only else "search_words"
        yield f"{vector} @@ ({' || '.join(some)})", ""


def _scores(
    made: Statement, query: SearchQuery, words: list[str], exact: str, *, typos: bool
) -> Iterator[str]:
    """The parts of the score: 3 for an exact name, up to 1 for anything else."""
    text, asked = _words(made, " ".join(words)), _tsquery(made, words)
    yield f"CASE WHEN {exact} THEN 3 ELSE 0 END"
    yield f"CASE WHEN starts_with(search_name, {text}) THEN 0.5 ELSE 0 END"
    in_name, in_heads = (
        f"to_tsvector('simple', {each}) @@ {asked}" for each in ("search_name", "search_heads")
    )
    yield f"CASE WHEN {in_name} THEN 1 WHEN {in_heads} THEN 0.75 ELSE 0 END"
    yield f"public.word_similarity({text}, search_name)"
    if not typos:
        # As much as words that are alike have at most.
        yield "1"
    else:
        each = (f"public.word_similarity({_words(made, word)}, search_heads)" for word in words)
        yield f"({' + '.join(each)}) / {len(words)}"
    if query.typed.years:
        years = made.bind(list(query.typed.years), "int[]")
        year = "date_part('year', timezone('UTC', starts_at))"
        yield f"CASE WHEN {year} = ANY({years}) THEN 0.5 ELSE 0 END"


def _first(made: Statement, query: SearchQuery) -> str:
    """Which come first where there are more than CANDIDATES."""
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
