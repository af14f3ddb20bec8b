"""Keyword lists of opt-out language, as data (conf/optout/keywords.yaml)."""

from __future__ import annotations

from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import yaml

from engine.errors import ConfigError
from engine.optout.words import words_of
from engine.plain_data import read_yaml

# Words by source; ours may be written as one list of lists.
BySource = dict[str, list[str | list[str]]]


class Fuzzy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which misspellings are read as a word.

    Attributes:
        min_length: shorter words are read as they stand.
        words: that may be misspelt, by one edit.
        long_edits: word -> edits, where one is too few.
        own_words: that are no misspelling of any.
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


class Lists(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The lists; see the comments of the file."""

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
        raise ConfigError(f"{source} are no opt-out lists: {error}", hint="see docs/optout.md") from error


@lru_cache(maxsize=8)
def load_lists(path: Path | None = None) -> Lists:
    """The lists that ship, or those of a file.

    Raises:
        ConfigError: a file that cannot be read, or that holds no lists.
    """
    shipped = resources.files("conf") / "optout" / "keywords.yaml"
    try:
        text = shipped.read_text(encoding="utf-8") if path is None else path.read_text(encoding="utf-8")
        data = read_yaml(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"opt-out lists cannot be read: {error}", hint="see docs/optout.md") from error
    return lists_from(data, source=str(path or "conf/optout/keywords.yaml"))
