"""Lists of opt-out language, as data (conf/optout/keywords.yaml and ordinary.yaml)."""

from __future__ import annotations

from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import yaml

from engine.errors import ConfigError, reason_of
from engine.files.documents import load_yaml
from engine.optout.words import words_of

# Words by source; ours may be written as one list of lists.
BySource = dict[str, list[str | list[str]]]


class Fuzzy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which misspellings are read as a word.

    Attributes:
        min_length: shorter words are read as they stand.
        words: that may be misspelt, by one edit.
        long_edits: word -> edits, where one is too few.
        own_words: words that are no misspelling of any.
    """

    min_length: int
    words: tuple[str, ...]
    own_words: frozenset[str] = frozenset()
    long_edits: dict[str, int] = {}


class Gap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two words with at most `between` others between them."""

    first: tuple[str, ...]
    then: frozenset[str]
    between: int

    @property
    def beginnings(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(words_of(one)) for one in self.first)


class NoMessages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In one language: words that say no, beginnings of words about messages, and words that say they did not come."""

    denies: frozenset[str]
    about: tuple[str, ...]
    unless: frozenset[str] = frozenset()


class Lists(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The lists; see the comments of the files. What a file of one's own leaves out is empty: more is in doubt."""

    sources: dict[str, str]
    stop: BySource
    phrases: BySource
    help: BySource
    start: BySource
    fillers: frozenset[str]
    not_after: dict[str, list[str]]
    gaps: list[Gap]
    negations: list[str]
    fuzzy: Fuzzy
    same_as: dict[str, str] = {}
    signs: dict[str, list[str]] = {}
    mentions: list[str] = []
    innocent: list[str] = []
    business: frozenset[str] = frozenset()
    about_business: list[str] = []
    no_messages: list[NoMessages] = []
    between: frozenset[str] = frozenset()
    accuse: frozenset[str] = frozenset()
    own_replies: frozenset[str] = frozenset()
    per_se: tuple[str, ...] = ()
    understood: dict[str, str] = {}
    courtesies: str = ""

    @cached_property
    def stop_words(self) -> dict[tuple[str, ...], str]:
        """Words of each opt-out keyword -> its source."""
        return _flat(self.stop)

    @cached_property
    def stop_phrases(self) -> dict[tuple[str, ...], str]:
        """Words of each opt-out phrase -> its source."""
        return _flat(self.phrases)

    @cached_property
    def help_words(self) -> dict[tuple[str, ...], str]:
        return _flat(self.help)

    @cached_property
    def start_words(self) -> dict[tuple[str, ...], str]:
        return _flat(self.start)

    @cached_property
    def openings(self) -> list[tuple[tuple[str, ...], Gap]]:
        """Words that open a gap, and the gap."""
        return [(opening, gap) for gap in self.gaps for opening in gap.beginnings]

    @cached_property
    def turned_round(self) -> frozenset[tuple[str, ...]]:
        """Words of each negation."""
        return frozenset(tuple(words_of(one)) for one in self.negations)

    @cached_property
    def followers(self) -> dict[str, frozenset[tuple[str, ...]]]:
        """Opt-out word -> what makes it something else."""
        return {word: frozenset(tuple(words_of(one)) for one in after) for word, after in self.not_after.items()}

    @cached_property
    def spellings(self) -> dict[str, str]:
        """Other spelling of a word -> the word."""
        return {"".join(words_of(other)): word for word, others in self.same_as.items() for other in others.split()}

    @cached_property
    def common(self) -> frozenset[str]:
        """Common words of the languages that the lists know well."""
        return frozenset(word for words in self.understood.values() for one in words.split() for word in words_of(one))

    @cached_property
    def harmless(self) -> frozenset[str]:
        """Words of common replies in other languages."""
        return frozenset(word for one in self.courtesies.split() for word in words_of(one))

    @cached_property
    def courtesy(self) -> frozenset[str]:
        """The fillers, as words are read."""
        return frozenset(word for one in self.fillers for word in words_of(one))

    def mentions_at(self, first: str) -> list[tuple[str, ...]]:
        """Words of each mention that may begin with a word; a last word that ends in "*" is a beginning."""
        return self._mentions.get(first[:2], [])

    @cached_property
    def _mentions(self) -> dict[str, list[tuple[str, ...]]]:
        found: dict[str, list[tuple[str, ...]]] = {}
        for said in _with_stars(self.mentions):
            found.setdefault(said[0][:2], []).append(said)
        return found

    @cached_property
    def business_mentions(self) -> frozenset[tuple[str, ...]]:
        """Mentions that are about business where a word of business stands beside them."""
        return frozenset(_with_stars(self.about_business))

    def innocents_of(self, first: str) -> list[tuple[str, ...]]:
        """Words of each context that begins with a word and in which a mention is about something else."""
        return self._innocents.get(first, [])

    @cached_property
    def _innocents(self) -> dict[str, list[tuple[str, ...]]]:
        found: dict[str, list[tuple[str, ...]]] = {}
        for one in self.innocent:
            found.setdefault(words_of(one)[0], []).append(tuple(words_of(one)))
        return found

    @cached_property
    def telling(self) -> frozenset[str]:
        """The familiar words by which a language is known: all but courtesies that no language well known has."""
        return self.familiar - (self.courtesy - self.common)

    @cached_property
    def familiar(self) -> frozenset[str]:
        """Every word by which a reply is understood."""
        contexts = (word for ones in self._innocents.values() for one in ones for word in one)
        followers = (word for ones in self.followers.values() for one in ones for word in one)
        starts = (word for one in (*self.start_words, *self.help_words) for word in one)
        negations = (word for one in self.turned_round for word in one)
        listed = (self.common, self.courtesy, self.business, self.own_replies, self.fuzzy.own_words)
        return frozenset().union(*listed, contexts, followers, starts, negations)


def _with_stars(entries: list[str]) -> list[tuple[str, ...]]:
    return [(*words_of(one)[:-1], words_of(one)[-1] + "*" * one.endswith("*")) for one in entries]


def _flat(by_source: BySource) -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    for source, entries in by_source.items():
        for entry in entries:
            for text in [entry] if isinstance(entry, str) else entry:
                found.setdefault(tuple(words_of(text)), source)
    return found


def lists_from(data: Any, *, source: str = "opt-out lists") -> Lists:
    """Validate plain data as lists.

    Raises:
        ConfigError: unknown key or wrong type.
    """
    try:
        return msgspec.convert(data, Lists)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source} are no opt-out lists: {reason_of(error)}", hint="see docs/optout.md") from error


@lru_cache(maxsize=8)
def load_lists(path: Path | None = None) -> Lists:
    """The lists that ship, or those of a file.

    Raises:
        ConfigError: a file that cannot be read, or that holds no lists.
    """
    shipped = resources.files("conf") / "optout"
    try:
        if path is not None:
            data = load_yaml(path.read_text(encoding="utf-8"))
        else:
            names = ("keywords.yaml", "ordinary.yaml")
            parts = [load_yaml((shipped / name).read_text(encoding="utf-8")) for name in names]
            data = {key: value for part in parts for key, value in part.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"opt-out lists cannot be read: {reason_of(error)}", hint="see docs/optout.md") from error
    return lists_from(data, source=str(path or "conf/optout/keywords.yaml"))
