"""HTML that people write runs nothing in a page, and takes a bounded time to clean."""

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from dev.folders import ROOT
from services.faq.__main__ import BATCH, clean_answers
from shared.jsonapi.html import clean_html, sanitised
from shared.settings import Settings
from tests.client import Account, Client, pointers

HOSTILE = '<b>Yes</b><img src=x onerror=alert(1)><a href="javascript:alert(1)">no</a>'
CLEANED = '<b>Yes</b><a rel="noopener noreferrer">no</a>'
WHERE = {"event": ["description", "organizer-description", "code-of-conduct"], "faq": ["answer"]}


async def write(
    api: Client, kind: str, attributes: dict[str, Any], by: Account, event: dict[str, Any]
) -> Any:
    if kind == "event":
        return await api.create(kind, {"name": "An event", **attributes}, by=by)
    given = {"question": "<b>?</b> & so on", **attributes}
    return await api.create(kind, given, by=by, event=("event", event["id"]))


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in WHERE.items() for n in names])
async def test_html_is_cleaned_wherever_it_is_taken(
    api: Client, user: Account, kind: str, name: str
) -> None:
    event = await api.event(user)
    made = await write(api, kind, {name: HOSTILE}, user, event)
    assert made.status_code == 201, made.text
    data = made.json()["data"]
    assert data["attributes"][name] == CLEANED
    # What was answered can be sent back, and an update is cleaned too.
    again = await api.update(data, {name: CLEANED}, by=user)
    assert again.json()["data"]["attributes"][name] == CLEANED
    changed = await api.update(data, {name: f"<script>x</script>{HOSTILE}"}, by=user)
    assert changed.json()["data"]["attributes"][name] == CLEANED


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in WHERE.items() for n in names])
async def test_too_much_html_is_refused(api: Client, user: Account, kind: str, name: str) -> None:
    event = await api.event(user)
    long_tag, doubled, nested = f"<a href='{'x' * 3000}'>", "<p>x" * 4000, "<ul><li>" * 101
    for text in ("<p>" * 6000, "&" * 20_000, long_tag, doubled, nested):
        answer = await write(api, kind, {name: text}, user, event)
        assert answer.status_code == 422
        assert pointers(answer) == {f"/data/attributes/{name}"}


def test_what_ends_is_open_no_more() -> None:
    paragraphs, lists = "<p>One.<br>Two.</p>" * 500, "<ul><li>One.<li>Two.</ul>" * 500
    table = "<table>" + "<tr><th>a<td>b" * 500
    for text in (paragraphs, lists, table, "<b>x</b>" * 500, "<ul><li>" * 100):
        assert clean_html(text)
    for text in ("<b>x</i>" * 101, "<div>" * 101 + "</p>" * 101, "<A>" * 51 + "<a>" * 50):
        with pytest.raises(ValueError, match="open at once"):
            clean_html(text)


@pytest.mark.parametrize("title", ["1 > 0", "1 < 0"])
def test_quotes_hide_what_is_in_them(title: str) -> None:
    """So many tags of this kind lose their attributes before they are parsed."""
    text = f'<b title="{title}">x</b>' * 20
    assert clean_html(text + "y" * 60_000).startswith("<b>x</b><b>x</b>")


async def test_an_answer_of_which_nothing_is_left_is_refused(api: Client, user: Account) -> None:
    event = await api.event(user)
    answer = await write(api, "faq", {"answer": "<script>x</script>"}, user, event)
    assert (answer.status_code, pointers(answer)) == (422, {"/data/attributes/answer"})


async def test_plain_text_is_stored_as_it_is_typed(api: Client, user: Account) -> None:
    event = await api.event(user, name="<b>R&D</b>")
    assert event["attributes"]["name"] == "<b>R&D</b>"
    faq = (await write(api, "faq", {"answer": "Yes."}, user, event)).json()["data"]
    assert faq["attributes"]["question"] == "<b>?</b> & so on"


PIECES = """
    <b> </b> <i x=1> <a href=x> </a> <p> </p> <ul> <li> </ul> <table> <td> </table> <script>
    </script> <style> <svg> <math> </svg> <!-- --> & &lt; < > " ' x <br> <select> <template>
    <center> <button> <form> <h1> <![CDATA[ <img/src=x/onerror=y> <span> </span> <title>
    <textarea> <noscript>
""".split()


def test_what_is_clean_stays_as_it_is() -> None:
    chance = random.Random(13)  # noqa: S311 - not for secrets
    for _ in range(2000):
        text = "".join(chance.choices(PIECES, k=chance.randint(1, 30)))
        cleaned = sanitised(text)
        assert sanitised(cleaned) == cleaned, text
        assert clean_html(cleaned) == cleaned, text


def worst(length: int) -> dict[str, str]:
    """Texts that take a parser of HTML long, of some length."""
    names = " ".join(chr(0x4E00 + n) for n in range(1200))
    return {
        "nested lists": "<ul><li>" * (length // 8),
        "nested blocks": "<div>" * (length // 5),
        "formatting": "".join(f"<b id={n}>" for n in range(length // 9)),
        "attributes of formatting": f"<b {names}>" * (length // 2404),
        "attributes": f"<a {names}>" * (length // 2404),
        "ends of what is not open": "<span>" * 99 + "</z>" * (length // 4 - 1500),
        "ends of what is open": "<b>" * 90 + "<p></b>" * (length // 7),
        "roots": f"<html {names}>" * 25 + "<html a></html>" * ((length - 60_000) // 15),
        "deep lists": "<ul>" * 100 + "<li><p>" * (length // 7),
        "ampersands": "&" * length,
    }


@pytest.mark.parametrize("name", worst(10_000))
def test_the_worst_html_takes_a_bounded_time(name: str) -> None:
    text = worst(100_000)[name][:100_000]
    began = time.process_time()
    with contextlib.suppress(ValueError):
        clean_html(text)
    # It takes 25 ms at most; without limits the parser would take from one to several seconds.
    assert time.process_time() - began < 0.5


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.close()


@pytest.fixture
async def stored(
    api: Client, user: Account, connection: asyncpg.Connection
) -> dict[int, tuple[str, bool]]:
    """(answer, whether it is to be cleaned) of faqs from before answers were cleaned."""
    event = await api.event(user)
    answers = [(HOSTILE, True), ("By <b>train</b>.", False)] * BATCH
    add = "INSERT INTO faq.faqs (event_id, question, answer) VALUES ($1, '?', $2) RETURNING id"
    return {
        await connection.fetchval(add, int(event["id"]), answer): (answer, is_hostile)
        for answer, is_hostile in answers
    }


async def test_stored_answers_are_cleaned_once(
    settings: Settings, connection: asyncpg.Connection, stored: dict[int, tuple[str, bool]]
) -> None:
    assert await clean_answers(settings) >= BATCH
    assert await clean_answers(settings) == 0
    read = "SELECT id, answer, version FROM faq.faqs WHERE id = ANY($1)"
    for row in await connection.fetch(read, list(stored)):
        answer, is_hostile = stored[row["id"]]
        expected = (CLEANED, 2) if is_hostile else (answer, 1)
        assert (row["answer"], row["version"]) == expected


async def test_cleaning_overwrites_nobody(
    settings: Settings, connection: asyncpg.Connection, stored: dict[int, tuple[str, bool]]
) -> None:
    faq_id = next(iter(stored))
    async with connection.transaction():
        change = "UPDATE faq.faqs SET answer = 'Newer.' WHERE id = $1"
        await connection.execute(change, faq_id)
        cleaning = asyncio.ensure_future(clean_answers(settings))
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        async with asyncio.timeout(120):
            while not await connection.fetchval(waiting):  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
    await cleaning
    read = "SELECT answer, version FROM faq.faqs WHERE id = $1"
    assert tuple(await connection.fetchrow(read, faq_id)) == ("Newer.", 2)


@pytest.mark.parametrize(
    ("suffix", "code", "said"), [("", 0, "cleaned"), ("_x", 1, "DATABASE_URL")]
)
async def test_the_command_says_what_it_did(
    settings: Settings, suffix: str, code: int, said: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.faq", "clean-answers"),
        env={**os.environ, "DATABASE_URL": settings.database_url.get_secret_value() + suffix},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert (process.returncode, said in output.decode()) == (code, True), output
    assert b"Traceback" not in output


def text_table(document: dict[str, Any]) -> list[str]:
    """The rows of docs/api.md that say what the texts of each type are."""
    rows = []
    for kind in ("Event", "Faq", "FaqType", "User"):
        schemas = document["components"]["schemas"]
        texts: dict[str, list[str]] = {"text/html": [], "text/plain": []}
        for part in (f"{kind}Attributes", f"{kind}CreateAttributes"):
            for name, schema in schemas[part]["properties"].items():
                found = texts.get(schema.get("contentMediaType"))
                if found is not None and f"`{name}`" not in found:
                    found.append(f"`{name}`")
        cells = [", ".join(names) or "none" for names in texts.values()]
        wire = schemas[kind]["properties"]["type"]["const"]
        rows.append(f"| `{wire}` | {' | '.join(cells)} |")
    return rows


async def test_the_documentation_says_which_texts_are_html(api: Client) -> None:
    document = (await api.get("/openapi.json")).json()
    documented = (ROOT / "docs/api.md").read_text()
    missing = [row for row in text_table(document) if row not in documented]
    assert not missing, "\n".join(missing)


async def test_every_text_of_every_type_says_what_it_is(api: Client) -> None:
    schemas = (await api.get("/openapi.json")).json()["components"]["schemas"]
    html = set()
    for kind, schema in schemas.items():
        shown = schema.get("properties", {}).get("attributes")
        for name, each in attributes_of(schemas, shown).items():
            types = each.get("type", [])
            if "string" in types and not {"enum", "const", "format"} & each.keys():
                assert each["contentMediaType"] in ("text/html", "text/plain"), (kind, name)
                assert each["description"], (kind, name)
                if each["contentMediaType"] == "text/html":
                    html.add(name)
    assert html == {name for names in WHERE.values() for name in names}


def attributes_of(schemas: dict[str, Any], shown: Any) -> dict[str, Any]:
    if shown and "$ref" in shown:
        shown = schemas[shown["$ref"].rpartition("/")[2]]
    found: dict[str, Any] = (shown or {}).get("properties", {})
    return found
