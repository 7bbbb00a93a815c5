"""What people do to a name when they type it."""

import random
import unicodedata

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS = {
    key: row[max(0, at - 1) : at] + row[at + 1 : at + 2]
    for row in _ROWS
    for at, key in enumerate(row)
}
# Letters that Unicode does not take apart.
_LETTERS = str.maketrans(
    dict(zip("øłđıØŁĐ", "oldiOLD", strict=True)) | {"ß": "ss", "æ": "ae", "œ": "oe"}
)
LEAST = 4


def without_accents(text: str) -> str:
    """As somebody types it whose keyboard has no accents."""
    apart = unicodedata.normalize("NFD", text)
    plain = "".join(c for c in apart if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", plain.translate(_LETTERS))


def can_be_mistyped(word: str) -> bool:
    """Words of fewer than LEAST letters become other words, and nobody can know."""
    return len(word) >= LEAST and word.isascii() and word.isalpha()


def has_a_plural(word: str) -> bool:
    """Not so names in the middle of which capitals are, such as EmpireJS."""
    return can_be_mistyped(word) and word[1:].islower()


def mistyped(word: str, chosen: random.Random) -> str:
    """The word with one key hit wrong, left out, hit twice, or with two in the wrong order.

    The first letter is right: it nearly always is.
    """
    while True:
        at = chosen.randrange(1, len(word))
        before, letter, after = word[:at], word[at], word[at + 1 :]
        made = chosen.choice(
            (
                before + chosen.choice(NEIGHBOURS[letter.lower()]) + after,
                before + after,
                before + letter * 2 + after,
                before + after[:1] + letter + after[1:],
            )
        )
        if made.lower() != word.lower():
            return made


def in_the_other_number(word: str) -> str:
    """The plural of a singular, and the other way round, as in English."""
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith("s"):
        return word[:-1]
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return f"{word[:-1]}ies"
    return f"{word}s"
