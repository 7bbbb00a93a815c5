"""Parses what a user typed: words, "phrases" and -excluded ones. No text is an error.

The query languages of the stores are not used: they would take odd input for syntax.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

MAX_LENGTH, MAX_WORDS, MAX_WORD = 200, 12, 50
# Quotation marks that keyboards and phones put in place of the plain one.
QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
TOKEN = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))')
YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True)
class Typed:
    """The words in their order, including those of phrases; and the phrases and exclusions."""

    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        return " ".join(self.words)

    @cached_property
    def years(self) -> tuple[int, ...]:
        """Years beside other words: they say when an event is, so its name may lack them."""
        years = tuple(int(word) for word in self.words if YEAR.fullmatch(word))
        return years if len(years) < len(self.words) else ()

    @cached_property
    def text_without_years(self) -> str:
        years = set(map(str, self.years))
        return " ".join(word for word in self.words if word not in years)


def parse(text: str) -> Typed:
    """Parse the first MAX_LENGTH characters of a text; of its words MAX_WORDS are used."""
    composed = unicodedata.normalize("NFC", text)[:MAX_LENGTH].translate(QUOTES)
    found, phrases, excluded = [], [], []
    for match in TOKEN.finditer(composed):
        quoted = match["quoted"]
        parts = words(match["bare"] if quoted is None else quoted)
        if not parts:
            continue
        if match["minus"]:
            excluded.append(" ".join(parts))
            continue
        found += parts
        if quoted is not None:
            phrases.append(" ".join(parts))
    return Typed(tuple(found[:MAX_WORDS]), tuple(phrases), tuple(excluded[:MAX_WORDS]))


def words(text: str) -> list[str]:
    """The words of a text; all characters that are not part of words separate them."""
    kept = "".join(c if _is_of_a_word(c) else " " for c in text)
    found = [word.strip("'’")[:MAX_WORD] for word in kept.split()]
    return [word for word in found if any(c.isalnum() or c == "_" for c in word)]


def _is_of_a_word(character: str) -> bool:
    # Letters, numbers, and the marks that letters of Hindi and other languages are composed of.
    return unicodedata.category(character)[0] in "LMN" or character in "_'’"
