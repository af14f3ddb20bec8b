"""A reply as plain lower-case words: no case, accents, punctuation, hidden characters or look-alike widths."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Cyrillic and Greek letters and digits that are written for Latin ones.
_LOOK_ALIKES: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0442\u0475\u03bf\u03b10", "aeopcyxistvoao"
)
_SPACED_OUT = re.compile(r"\b(?:[a-z] ){2,}[a-z]\b")
_LONGEST: Final = 2_000


def words_of(text: str) -> list[str]:
    """The words of a reply; letters written one by one (S T O P, s.t.o.p) are one word.

    Only the first 2,000 characters are read: an opt-out does not hide behind them.
    """
    # An acute accent for an apostrophe would come apart into a blank and an accent.
    straight = text[:_LONGEST].replace("\u00b4", "'")
    wide = unicodedata.normalize("NFKD", straight).lower().translate(_LOOK_ALIKES)
    kept = "".join(_plain(character) for character in wide)
    joined = _SPACED_OUT.sub(lambda found: found[0].replace(" ", ""), " ".join(kept.split()))
    return joined.split()


def _plain(character: str) -> str:
    """Letters and digits stay; apostrophes, accents and hidden characters vanish; the rest is a blank."""
    if character.isalnum():
        return character
    if character in "'\u2019\u02bc`\u00b4" or unicodedata.category(character) in {"Mn", "Cf", "Me"}:
        return ""
    return " "


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
