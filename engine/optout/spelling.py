"""Misspellings: the opt-out word that a word of a reply stands for, if it stands for one."""

from __future__ import annotations

from engine.optout.lists import Lists
from engine.optout.words import digits_as_letters, edits, parts_of

_LONGEST_RUN = 40


def spelt(words: list[str], latin: list[str], lists: Lists) -> list[str]:
    """Words as the lists write them.

    Args:
        words: words of a reply.
        latin: the same words with letters of other scripts that are drawn like Latin ones replaced by these.
        lists: the lists of words.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for pair in zip(words, latin, strict=False):
        if pair not in found:
            found[pair] = _read(*pair, lists)
    return [word for pair in zip(words, latin, strict=False) for word in found[pair]]


def _read(word: str, latin: str, lists: Lists) -> list[str]:
    if not word.isascii() and latin.isascii():
        read = _spelt(latin, lists)
        if read != [latin] or (latin,) in lists.stop_words:
            return read
    return _spelt(word, lists)


def _spelt(word: str, lists: Lists) -> list[str]:
    if word in lists.spellings:
        return [lists.spellings[word]]
    if _known(word, lists) or word.isdigit():
        return [word]
    if not word.isalpha():
        return _with_digits(word, lists)
    return [_near(word, lists)] if _near(word, lists) != word else _run_together(word, lists)


def _known(word: str, lists: Lists) -> bool:
    return (word,) in lists.stop_words or (word,) in lists.help_words or word in lists.familiar


def _with_digits(word: str, lists: Lists) -> list[str]:
    """ "5top" is a word, "stop2end" are three."""
    letters = digits_as_letters(word)
    if letters.isalpha() and len(letters) > 3:
        read = _near(letters, lists)
        if (read,) in lists.stop_words:
            return [read]
    parts = parts_of(word)
    return parts if len(parts) == 1 else [one for part in parts for one in _spelt(part, lists)]


def _near(word: str, lists: Lists) -> str:
    """The word, or the opt-out word of which it is a misspelling."""
    fuzzy = lists.fuzzy
    if len(word) < fuzzy.min_length or word in fuzzy.own_words:
        return word
    squeezed = "".join(letter for at, letter in enumerate(word) if at == 0 or letter != word[at - 1])
    for target in fuzzy.words:
        most = fuzzy.long_edits.get(target, 1)
        if squeezed == target or edits(word, target, most) <= most:
            return target
    return word


def _run_together(word: str, lists: Lists) -> list[str]:
    """The words of one that was written without blanks ("stopstop", "pleasestop"), if an opt-out is among them."""
    if not 6 <= len(word) <= _LONGEST_RUN or not word.isascii():
        return [word]
    pieces: list[list[str] | None] = [[], *[None] * len(word)]
    for end in range(2, len(word) + 1):
        for begin in range(max(0, end - 12), end - 1):
            before, piece = pieces[begin], word[begin:end]
            if before is not None and (_is_piece(piece, lists) or piece in lists.courtesy):
                pieces[end] = [*before, lists.spellings.get(piece, piece)]
                break
    read = pieces[-1]
    return read if read and any(_is_piece(piece, lists) for piece in read) else [word]


def _is_piece(piece: str, lists: Lists) -> bool:
    """A keyword that is long enough not to stand in other words by chance."""
    return len(piece) >= 4 and piece in lists.per_se
