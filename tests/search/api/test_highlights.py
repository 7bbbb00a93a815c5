"""What is marked in the texts that were found."""

import pytest

from services.search.api.highlights import highlights


@pytest.mark.parametrize(
    ("text", "words", "marked"),
    [
        ("Rust Days", ["rust"], "<em>Rust</em> Days"),
        ("Zürich Café", ["zurich", "cafe"], "<em>Zürich</em> <em>Café</em>"),
        ("Gardening", ["garden"], "<em>Gardening</em>"),
        ("Garden", ["gardens"], "<em>Garden</em>"),
        ("Design week", ["deisgn"], "<em>Design</em> week"),
        ("Accessibility", ["acessiblity"], "<em>Accessibility</em>"),
        ("<b> & Rust", ["rust"], "&lt;b&gt; &amp; <em>Rust</em>"),
    ],
)
def test_names_are_marked_whole(text: str, words: list[str], marked: str) -> None:
    assert highlights({"name": text}, words) == {"name": [marked]}


@pytest.mark.parametrize(
    ("text", "words"),
    [("Rust", ["gus"]), ("Go", ["ho"]), ("Design", ["dexxgn"]), ("Rust", [])],
)
def test_what_is_not_asked_for_is_not_marked(text: str, words: list[str]) -> None:
    assert highlights({"name": text}, words) == {}


def test_a_typo_is_looked_for_only_where_the_word_is_not_there() -> None:
    assert highlights({"name": "Design deisgn"}, ["deisgn"]) == {
        "name": ["Design <em>deisgn</em>"]
    }


def test_of_a_description_two_fragments_are_shown() -> None:
    text = " ".join(["filler"] * 40 + ["rust"] + ["filler"] * 40 + ["rust"] * 2 + ["filler"] * 40)
    (first, second) = highlights({"description": text}, ["rust"])["description"]
    for fragment in (first, second):
        assert fragment.startswith("…filler")
        assert fragment.endswith("filler…")
    assert (first.count("<em>rust</em>"), second.count("<em>rust</em>")) == (1, 2)


def test_only_texts_with_a_mark_are_shown() -> None:
    row = {
        "name": "Rust Days",
        "organizer_name": "Ada",
        "description": None,
        "location_name": "rust",
    }
    assert highlights(row, ["rust"]) == {"name": ["<em>Rust</em> Days"]}
