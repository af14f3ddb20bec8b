"""What a reply says: stop, doubt, start, help, or none of these (catalogue K1-K4, K10).

A false opt-out costs a message, a missed one a complaint. So a reply that names an opt-out word without saying "stop"
outright, or that nobody can read, is in doubt, and doubt closes until somebody has looked. Only a reply that is one
single word can subscribe again, because "yes, stop" must not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from engine.optout.lists import Lists, load_lists
from engine.optout.own_text import own_text
from engine.optout.spelling import spelt
from engine.optout.words import edits, look_alikes, words_of

Verdict = Literal["stop", "doubt", "start", "help", "none"]

# So many characters of the person's own words are read; what is longer is in doubt.
LONGEST: Final = 4_000


@dataclass(frozen=True)
class Reading:
    """What a reply says, and why.

    Attributes:
        verdict: stop, doubt, start, help or none.
        evidence: the words that decided; "" where none did.
        how: keyword (alone), phrase (anywhere), misspelling, leading (a keyword begins or ends the reply), sign (a
            picture), mentioned (an opt-out word whose sense is open), unknown (a language or a word that nobody
            knows), empty (nothing of the person's own is left), below (an opt-out in a signature or a quotation that
            nobody marked), long (longer than what is read), or "".
        source: source of the list in which they stand.
    """

    verdict: Verdict
    evidence: str = ""
    how: str = ""
    source: str = ""


def classify(text: str, lists: Lists | None = None) -> Reading:
    """Read a reply; the work is bounded whatever its length.

    Quoted messages, reactions of phones, signatures and disclaimers are left out first.

    Args:
        text: reply as the provider delivered it.
        lists: the lists of words; the shipped ones by default.
    """
    lists = load_lists() if lists is None else lists
    own = own_text(text)
    found = _read(own.text[:LONGEST], lists)
    if found.verdict == "stop":
        return found
    below = (_read(tail[:LONGEST], lists) for tail in own.tails)
    if any(tail.verdict == "stop" or tail.how == "mentioned" for tail in below):
        return Reading("doubt", how="below")
    if not _visible(own.text):
        return Reading("none" if own.reacted and not own.tails else "doubt", how="" if own.reacted else "empty")
    if own.cut or len(own.text) > LONGEST:
        return Reading("doubt", how="long")
    return found


def _visible(text: str) -> bool:
    return any(character.isprintable() and not character.isspace() for character in text)


def _read(text: str, lists: Lists) -> Reading:
    """Read the person's own words."""
    written = words_of(text)
    latin = words_of(look_alikes(text))
    words = spelt(written, latin if len(latin) == len(written) else written, lists)
    found = _start(written, lists) or _sign(text, words, lists) or _stop(text, words, lists)
    if found is None:
        return _mentioned(words, lists) or _help(words, lists) or _unknown(words, lists) or Reading("none")
    if found.verdict == "stop" and found.how not in ("phrase", "sign") and words != written:
        return replace(found, how="misspelling")
    return found


def _start(words: list[str], lists: Lists) -> Reading | None:
    source = lists.start_words.get(tuple(words)) if len(words) == 1 else None
    return None if source is None else Reading("start", words[0], "keyword", source)


def _sign(text: str, words: list[str], lists: Lists) -> Reading | None:
    """A picture that stands for the word, with nothing but courtesy around it."""
    if any(word not in lists.courtesy for word in words):
        return None
    for verdict in ("stop", "doubt"):
        for sign in lists.signs.get(verdict, ()):
            if sign in text:
                return Reading("stop" if verdict == "stop" else "doubt", sign, "sign", "ours")
    return None


def _stop(text: str, words: list[str], lists: Lists) -> Reading | None:
    """A keyword with nothing but courtesy around it, a phrase anywhere, or a keyword at the beginning or the end."""
    if tuple(words) in lists.stop_words:
        return _alone(words, lists)
    found = _phrase(words, lists) or _gap(words, lists) or _alone(words, lists) or _leading(words, lists)
    if found is not None and found.verdict == "stop":
        return found
    return _clause(text, lists) or found or _joined(words, lists)


def _alone(words: Sequence[str], lists: Lists) -> Reading | None:
    """The whole is keywords and words of courtesy, and at least one keyword."""
    longest = max(map(len, lists.stop_words), default=0)
    # Of each beginning that is such a mixture: its last keyword, or () for courtesy alone.
    reached: list[tuple[str, ...] | None] = [(), *[None] * len(words)]
    for begin, word in enumerate(words):
        so_far = reached[begin]
        if so_far is None:
            continue
        if word in lists.courtesy or word.isdigit():
            reached[begin + 1] = reached[begin + 1] or so_far
        for end in range(begin + 1, min(begin + longest, len(words)) + 1):
            said = tuple(words[begin:end])
            if said in lists.stop_words and not (so_far and _turned(list(words[:begin]), said, lists)):
                reached[end] = so_far or said
    said = reached[-1] or ()
    return Reading("stop", " ".join(said), "keyword", lists.stop_words[said]) if said else None


def _clause(text: str, lists: Lists) -> Reading | None:
    """A part of the reply, between signs of punctuation, that says nothing but a keyword."""
    doubt = None
    for clause in _CLAUSES.split(text):
        words = spelt(words_of(clause), words_of(look_alikes(clause)), lists)
        found = _alone(words, lists)
        if found is not None and found.evidence.startswith(_PLAIN):
            return found
        doubt = doubt or (found and replace(found, verdict="doubt", how="mentioned"))
    return doubt


_CLAUSES: Final = re.compile(r"[\n.!?;:,()\u2026\u2014|/\u3002\uff0c\uff01]+")
_PLAIN: Final = ("stop", "unsub", "opt", "arret", "abmeld", "abbestell", "desabon", "desinscri", "revok")


def _phrase(words: list[str], lists: Lists) -> Reading | None:
    longest = max(map(len, lists.stop_phrases), default=0)
    doubt = None
    for begin in range(len(words)):
        for end in range(begin + 1, min(begin + longest, len(words)) + 1):
            said = tuple(words[begin:end])
            if said not in lists.stop_phrases or _goes_on(" ".join(said), words[end:], lists):
                continue
            turned = _turned(words[:begin], said, lists)
            if not turned:
                return Reading("stop", " ".join(said), "phrase", lists.stop_phrases[said])
            if turned == "doubt":
                doubt = Reading("doubt", " ".join(said), "mentioned", lists.stop_phrases[said])
    return doubt


def _gap(words: list[str], lists: Lists) -> Reading | None:
    """ "Do not ever text": the words of a phrase with others between them."""
    for opening, gap in lists.openings:
        for begin in range(len(words) - len(opening)):
            end = begin + len(opening)
            if tuple(words[begin:end]) != opening or _turned(words[:begin], opening, lists):
                continue
            for at, word in enumerate(words[end : end + gap.between + 1], end):
                if word in _ELSE:  # "do not stop texting", "I never got the text"
                    break
                if word in gap.then and not _goes_on(" ".join(words[begin : at + 1]), words[at + 1 :], lists):
                    return Reading("stop", " ".join(words[begin : at + 1]), "phrase", "ours")
    return None


_ELSE: Final = frozenset(
    {"stop", "quit", "cease", "unsubscribe", "opt", "cancel", "get", "got", "received", "receive", "saw", "see"}
)


def _turned(before: list[str], said: tuple[str, ...], lists: Lists) -> Literal["", "round", "doubt"]:
    """Whether a negation before an opt-out turns it round ("do not stop"), or may ("if you do not stop")."""
    if any(said[: len(one)] == one for one in lists.turned_round):
        return ""  # it begins with a negation itself
    nearest = len(before)
    while nearest and before[nearest - 1] in lists.between and len(before) - nearest < 4:
        nearest -= 1
    for end in range(nearest, len(before) + 1):
        for one in lists.turned_round:
            begin = end - len(one)
            if begin < 0 or tuple(before[begin:end]) != one:
                continue
            accused = lists.accuse.intersection(before[max(0, begin - 3) : begin]) or "you" in before[end:]
            return "doubt" if accused else "round"
    return ""


def _leading(words: list[str], lists: Lists) -> Reading | None:
    """A reply that begins or ends with one of the words that law and carriers name, unless it means something else."""
    before = lists.courtesy - _NOUN_NEXT
    begin = next((at for at, word in enumerate(words) if word not in before), len(words))
    if begin < len(words) and words[begin] in _BEGINS and not _goes_on(words[begin], words[begin + 1 :], lists):
        return Reading("stop", words[begin], "leading", lists.stop_words.get((words[begin],), "ours"))
    if words[-1:] and words[-1] in _ENDS and words[-2:-1] and words[-2] in before:
        turned = _turned(words[:-1], tuple(words[-1:]), lists)
        if turned != "round":
            source = lists.stop_words.get(tuple(words[-1:]), "ours")
            return Reading("doubt" if turned else "stop", words[-1], "mentioned" if turned else "leading", source)
    return None


# "the end" is no opt-out and "bus stop" neither; "I mean it, stop" is one.
_BEGINS: Final = frozenset({"stop", "stopall", "unsubscribe", "unsub", "revoke", "optout", "arret"})
_ENDS: Final = frozenset({"stop", "stopall", "unsubscribe", "unsub", "optout", "arret"})
_NOUN_NEXT: Final = frozenset({"the", "my", "your", "of", "that", "this", "to", "from"})


def _goes_on(word: str, after: list[str], lists: Lists) -> bool:
    """Whether what follows an opt-out word shows that it means something else ("stop by")."""
    return any(tuple(after[: len(follow)]) == follow for follow in lists.followers.get(word, ()) if follow)


def _joined(words: list[str], lists: Lists) -> Reading | None:
    """A reply that is one keyword, written apart or with one letter wrong ("un sub", "optt out", "ens")."""
    one = "".join(words if len(words) == 1 else (word for word in words if word not in lists.courtesy))
    if not one or len(one) > max(map(len, lists.per_se), default=0) + 1 or one in lists.own_replies:
        return None
    for target in lists.per_se:
        if len(target) < 4 and len(words) > 1:
            continue
        if one == target:
            return Reading("stop", target, "keyword", "ours")
        if edits(one, target, 1) <= 1:
            return Reading("doubt", target, "misspelling", "ours")
    return None


def _mentioned(words: list[str], lists: Lists) -> Reading | None:
    """An opt-out word, or a "no" beside a word about messages, that nothing shows to be about something else."""
    hidden = _innocent(words, lists)
    business = not lists.business.isdisjoint(words)
    turned = False
    for begin, word in enumerate(words):
        for said in lists.mentions_at(word):
            if not _stands(words, begin, said) or hidden.issuperset(range(begin, begin + len(said))):
                continue
            if business and said in lists.business_mentions:
                continue
            if _turned(words[:begin], said, lists) != "round":
                return Reading("doubt", " ".join(words[begin : begin + len(said)]), "mentioned", "ours")
            turned = True
    return None if turned else _no_messages(words, lists)


def _no_messages(words: list[str], lists: Lists) -> Reading | None:
    """A "no" or a complaint beside a word about messages."""
    for language in lists.no_messages:
        no = next((word for word in words if word in language.denies), None)
        about = next((word for word in words if word.startswith(language.about) and word not in language.denies), None)
        if no is not None and about is not None and language.unless.isdisjoint(words):
            return Reading("doubt", f"{no} {about}", "mentioned", "ours")
    return None


def _stands(words: list[str], begin: int, said: tuple[str, ...]) -> bool:
    last = said[-1]
    part = words[begin : begin + len(said)]
    if len(part) < len(said) or tuple(part[:-1]) != said[:-1]:
        return False
    return part[-1].startswith(last[:-1]) if last.endswith("*") else part[-1] == last


def _innocent(words: list[str], lists: Lists) -> set[int]:
    """Places of words whose context shows that they are no opt-out."""
    spans = ((at, one) for at in range(len(words)) for one in lists.innocents_of(words[at]))
    return {place for at, one in spans if tuple(words[at : at + len(one)]) == one for place in range(at, at + len(one))}


def _help(words: list[str], lists: Lists) -> Reading | None:
    left = tuple(word for word in words if word not in lists.courtesy)
    source = lists.help_words.get(left)
    return None if source is None else Reading("help", " ".join(left), "keyword", source)


def _unknown(words: list[str], lists: Lists) -> Reading | None:
    """A reply of which too little is known to say that it is no opt-out."""
    said = [word for word in words if not word.isdigit()]
    strange = [word for word in said if not (word in lists.familiar or word in lists.harmless or _letter(word))]
    if not strange:
        return None
    # Courtesies are much the same everywhere ("sms", "tack"): they do not tell that the language is known.
    known = sum(word in lists.telling for word in said)
    asked = not _ASKS.isdisjoint(said) and set(said) - set(strange) <= lists.courtesy
    if not all(map(str.isascii, strange)) or known * 3 < len(said) or (asked and len(strange) <= 2):
        return Reading("doubt", " ".join(strange[:3]), "unknown", "")
    return None


# A lone T is how people in China opt out of texts.
def _letter(word: str) -> bool:
    return len(word) == 1 and word.isascii() and word != "t"


_ASKS: Final = frozenset(
    {"please", "kindly", "bitte", "svp", "plait", "favor", "favore", "alstublieft", "prosze", "lutfen", "veuillez"}
)
