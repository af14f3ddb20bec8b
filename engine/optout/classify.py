"""What a reply says: stop, start, help, or none of these (catalogue K1-K4, K10).

A false opt-out costs a message, a missed one a complaint: doubt is read as stop. Only a reply that is one single word
can subscribe again, because "yes, stop" must not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.optout.lists import Lists, load_lists
from engine.optout.words import edits, words_of

Verdict = Literal["stop", "start", "help", "none"]


@dataclass(frozen=True)
class Reading:
    """What a reply says, and why.

    Attributes:
        verdict: stop, start, help or none.
        evidence: the words that decided; "" where none did.
        how: keyword (alone), phrase (anywhere), misspelling, leading (a keyword begins the reply), or "".
        source: of the list in which they stand.
    """

    verdict: Verdict
    evidence: str = ""
    how: str = ""
    source: str = ""


def classify(text: str, lists: Lists | None = None) -> Reading:
    """Read a reply.

    Args:
        text: as the provider delivered it.
        lists: the keyword lists; the shipped ones by default.
    """
    lists = load_lists() if lists is None else lists
    written = words_of(text)
    words = [_spelt(word, lists) for word in written]
    found = _start(written, lists) or _stop(words, lists)
    if found is None:
        return _help(words, lists) or Reading("none")
    if found.verdict == "stop" and found.how != "phrase" and words != written:
        return Reading("stop", found.evidence, "misspelling", found.source)
    return found


def _start(words: list[str], lists: Lists) -> Reading | None:
    source = lists.start_words.get(tuple(words)) if len(words) == 1 else None
    return None if source is None else Reading("start", words[0], "keyword", source)


def _stop(words: list[str], lists: Lists) -> Reading | None:
    """A keyword with nothing but courtesy around it, a phrase anywhere, or a keyword at the beginning or the end."""
    source = lists.stop_words.get(tuple(words))
    if source is not None:
        return Reading("stop", " ".join(words), "keyword", source)
    return _phrase(words, lists) or _gap(words, lists) or _courteous(words, lists) or _leading(words, lists)


def _phrase(words: list[str], lists: Lists) -> Reading | None:
    longest = max(map(len, lists.stop_phrases), default=0)
    for begin in range(len(words)):
        for end in range(begin + 1, min(begin + longest, len(words)) + 1):
            said = tuple(words[begin:end])
            if said in lists.stop_phrases and not _turned_round(words[:begin], said, lists):
                return Reading("stop", " ".join(said), "phrase", lists.stop_phrases[said])
    return None


def _gap(words: list[str], lists: Lists) -> Reading | None:
    """ "Do not ever text": the words of a phrase with others between them."""
    for opening, gap in lists.openings:
        for begin in range(len(words) - len(opening)):
            end = begin + len(opening)
            if tuple(words[begin:end]) != opening:
                continue
            for at, word in enumerate(words[end : end + gap.between + 1], end):
                if word in _TURNABLE:  # "do not stop texting"
                    break
                if word in gap.then:
                    return Reading("stop", " ".join(words[begin : at + 1]), "phrase", "ours")
    return None


def _courteous(words: list[str], lists: Lists) -> Reading | None:
    """What is left without fillers is a keyword, once or several times."""
    left = [word for word in words if word not in lists.fillers]
    if not left:
        return None
    once = tuple(dict.fromkeys(left))
    for said in (tuple(left), once):
        if said in lists.stop_words:
            return Reading("stop", " ".join(said), "keyword", lists.stop_words[said])
    if all((word,) in lists.stop_words for word in once):
        return Reading("stop", " ".join(once), "keyword", lists.stop_words[once[:1]])
    return None


def _leading(words: list[str], lists: Lists) -> Reading | None:
    """A reply that begins or ends with one of the words that law and carriers name, unless it means something else."""
    first, last = words[:1], words[-1:]
    if first and first[0] in _BEGINS and not _goes_on(first[0], words[1:], lists):
        return Reading("stop", first[0], "leading", lists.stop_words.get(tuple(first), "ours"))
    if last and last[0] in _ENDS and words[-2:-1] and words[-2] in lists.fillers - _NOUN_NEXT:
        return Reading("stop", last[0], "leading", lists.stop_words.get(tuple(last), "ours"))
    return None


# "the end" is no opt-out and "bus stop" neither; "I mean it, stop" is one.
_BEGINS = frozenset({"stop", "stopall", "unsubscribe", "cancel", "quit", "revoke", "optout", "arret", "remove"})
_ENDS = frozenset({"stop", "stopall", "unsubscribe", "optout", "arret"})
_NOUN_NEXT = frozenset({"the", "my", "your", "of", "that", "this", "to", "from"})
_TURNABLE = frozenset({"stop", "quit", "cease", "unsubscribe", "opt", "cancel"})


def _turned_round(before: list[str], said: tuple[str, ...], lists: Lists) -> bool:
    """Whether "do not" or "never" stands right before a phrase that says to stop."""
    return said[0] in _TURNABLE and any(tuple(before[-len(one) :]) == one for one in lists.turned_round)


def _goes_on(word: str, after: list[str], lists: Lists) -> bool:
    """Whether what follows an opt-out word shows that it means something else ("stop by")."""
    return any(tuple(after[: len(follow)]) == follow for follow in lists.followers.get(word, ()) if follow)


def _help(words: list[str], lists: Lists) -> Reading | None:
    left = tuple(word for word in words if word not in lists.fillers)
    source = lists.help_words.get(left)
    return None if source is None else Reading("help", " ".join(left), "keyword", source)


def _spelt(word: str, lists: Lists) -> str:
    """A word, or the opt-out word of which it is a misspelling."""
    fuzzy = lists.fuzzy
    if len(word) < fuzzy.min_length or word in fuzzy.own_words or (word,) in lists.stop_words or word in lists.fillers:
        return word
    if (word,) in lists.help_words or (word,) in lists.start_words:
        return word
    squeezed = _squeezed(word)
    for target in fuzzy.words:
        most = fuzzy.long_edits.get(target, 1)
        if squeezed == target or (word[0] == target[0] and edits(word, target, most) <= most):
            return target
    return word


def _squeezed(word: str) -> str:
    """Without repeated letters: "stoooop"."""
    return "".join(letter for at, letter in enumerate(word) if at == 0 or letter != word[at - 1])
