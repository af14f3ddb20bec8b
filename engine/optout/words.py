"""A reply as plain lower-case words: no case, accents, punctuation, hidden characters or decorated letters."""

from __future__ import annotations

import re
import unicodedata
from string import ascii_lowercase
from typing import Final

# Letters of other scripts that are drawn like Latin ones, capitals apart because capitals and small letters differ.
_LOOK_ALIKES: Final = str.maketrans(
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u0442\u0432\u043a\u043c\u043d\u0501\u04bb\u051b\u051d\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03b1\u03bf\u03c1\u03b9\u03bd\u03c4\u03c5\u03c7\u03b5",
    "abesijkmhopctyxaeopcyxsijtbkmhdhqwabezhikmnoptyxaopivtuxe",
)
_DIGITS_FOR_LETTERS: Final = str.maketrans("0134578", "oieastb")
# Letters in boxes, in black circles and of flags, and small capitals: Unicode gives them no plain form.
_DECORATED: Final[dict[int, int | str]] = {
    **{first + at: letter for first in (0x1F150, 0x1F170, 0x1F1E6) for at, letter in enumerate(ascii_lowercase)},
    **str.maketrans(
        "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274\u1d0f\u1d18\u0280\ua731\u1d1b\u1d1c\u1d20\u1d21\u028f\u1d22",
        "abcdefghijklmnoprstuvwyz",
    ),
    **str.maketrans("\u00b4\u2019\u02bc`", "'" * 4),
}
_STROKES: Final = str.maketrans(
    {"\u0142": "l", "\u00f8": "o", "\u0111": "d", "\u0131": "i", "\u00e6": "ae", "\u0153": "oe", "\u0127": "h"}
)
# They count as letters, and nothing is seen of them.
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u3164\uffa0")
_HIDDEN: Final = frozenset({"Mn", "Mc", "Me", "Cf"})
_SPACED_OUT = re.compile(r"(?<!\S)(?:[^\W_] ){2,}[^\W_](?!\S)")
_DOLLAR = re.compile(r"\$(?=[^\W\d_])")
_ZERO = re.compile(r"(?<=[^\W\d_])0(?=[^\W\d_])")
_RUNS = re.compile(r"\d+|[^\W\d_]+")


def words_of(text: str) -> list[str]:
    """The words of a text; letters written one by one (S T O P, s.t.o.p) are one word.

    Words of other scripts stay in them; accents and vowel signs go, from lists and replies alike.
    """
    straight = _DOLLAR.sub("s", text).translate(_DECORATED)
    plain = unicodedata.normalize("NFKD", straight.casefold()).casefold().translate(_STROKES)
    kept = "".join(_plain(character) for character in plain)
    joined = _SPACED_OUT.sub(lambda found: found[0].replace(" ", ""), " ".join(kept.split()))
    return joined.split()


def look_alikes(text: str) -> str:
    """The text with letters of other scripts that are drawn like Latin ones replaced by these."""
    return text.translate(_LOOK_ALIKES)


def digits_as_letters(word: str) -> str:
    """A word whose digits stand for the letters that they are drawn like ("5t0p")."""
    return word.translate(_DIGITS_FOR_LETTERS)


def parts_of(word: str) -> list[str]:
    """A word of letters and digits as runs of either ("stop2end"); a zero between letters is an o."""
    return _RUNS.findall(_ZERO.sub("o", word)) or [word]


def _plain(character: str) -> str:
    """Letters and digits stay; apostrophes, accents and hidden characters vanish; the rest is a blank."""
    if character.isalnum():
        return "" if character in _BLANK_LETTERS else character
    return "" if character == "'" or unicodedata.category(character) in _HIDDEN else " "


def edits(first: str, second: str, most: int) -> int:
    """Edits between two words (insert, delete, change, exchange of neighbours), or most + 1 where there are more.

    Optimal string alignment distance: Boytsov, Indexing methods for approximate dictionary searching, 2011, sec. 2.2.
    """
    if abs(len(first) - len(second)) > most:
        return most + 1
    before, row = [0] * (len(second) + 1), list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        older, before, row = before, row, [i]
        for j, right in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == second[j - 2] and right == first[i - 2]:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return min(row[-1], most + 1)
