"""What users type into a search: no text is an error, and little of it is syntax."""

import pytest

from services.search.engines.typed import MAX_WORDS, Typed, parse


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("jazz köln", Typed(("jazz", "köln"))),
        ('"open source" day', Typed(("open", "source", "day"), ("open source",))),
        ("“open source” „tag“", Typed(("open", "source", "tag"), ("open source", "tag"))),
        ("jazz -köln", Typed(("jazz",), (), ("köln",))),
        ('jazz -"late night"', Typed(("jazz",), (), ("late night",))),
        ("-köln", Typed((), (), ("köln",))),
        ("DevOpsDay - Zürich", Typed(("DevOpsDay", "Zürich"))),
        ("e-mail co-working", Typed(("e", "mail", "co", "working"))),
        ("-node.js", Typed((), (), ("node js",))),
        ('"lone quote', Typed(("lone", "quote"))),
        ('""', Typed()),
        ('- -- "-" ! ? * ~ ( ) \\ / : ^', Typed()),
        ("🎉 🎪", Typed()),
        ("AND OR NOT name:x*", Typed(("AND", "OR", "NOT", "name", "x"))),
        ("مؤتمر الويب", Typed(("مؤتمر", "الويب"))),
        ("\0\x1b[0m", Typed(("0m",))),
        ("--köln", Typed((), (), ("köln",))),
    ],
)
def test_a_text_is_taken_apart(text: str, typed: Typed) -> None:
    assert parse(text) == typed


@pytest.mark.parametrize(
    ("text", "years", "rest"),
    [
        ("pycon 2027", (2027,), "pycon"),
        ("2027", (), "2027"),
        ("2026 2027", (), "2026 2027"),
        ("area 1850", (), "area 1850"),
        ("web 20270", (), "web 20270"),
    ],
)
def test_years_are_told_from_words(text: str, years: tuple[int, ...], rest: str) -> None:
    typed = parse(text)
    assert (typed.years, typed.text_without_years) == (years, rest)


def test_of_a_long_text_so_much_is_used() -> None:
    assert len(parse("a b c d e f g " * 5_000).words) == MAX_WORDS
    assert len(parse("-a -b " * 5_000).excluded) == MAX_WORDS
    assert max(map(len, parse("x" * 10_000).words)) <= 50
