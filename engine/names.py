"""Names as people and exports write them, held against the names that are known.

`SMS`, ` sms ` and the same letters in full width are one name. Every place where a name of a channel, purpose, event,
topic, template, category, list, state or reason comes in asks here, so that a spelling never opens what the right
spelling closes. Two questions exist. `found` and `known_name` say which known name is meant, and nothing else is
accepted. `may_mean` is for names that speak against a send and whose vocabulary is open: it also gives the known names
of which this one may be a misspelling, so that a cap counts the entry rather than lose it.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Any, Final, get_args, get_type_hints

import msgspec
import numpy as np

from engine.errors import ParameterError
from engine.optout.words import edits
from engine.types import CodeArray

# What each channel is also called. A catalog may use any of these names; the first is the one that we store.
CHANNEL_WORDS: Final[tuple[tuple[str, ...], ...]] = (
    ("email", "emails", "e-mail message", "electronic mail"),
    ("sms", "text", "texts", "txt", "text message", "text messages", "sms message"),
    ("push", "push notification", "push notifications", "app push", "mobile push", "web push"),
    ("mms",),
    ("rcs",),
    ("whatsapp",),
    ("in_app", "in-app message"),
    ("voice", "phone call", "telephone"),
    ("post", "postal", "postal mail", "direct mail"),
    ("fax",),
)

_MOST_EDITS: Final = 2
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.*?)`")
_SHOWN: Final = 20
# Cyrillic and Greek letters that cannot be told from Latin ones.
_LOOK_ALIKES: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0442\u0475\u0461"
    "\u0501\u04bb\u0458\u03b1\u03bf\u03b9\u03bd\u03ba\u03c1\u03c4\u03c5\u03c7",
    "aeopcyxistvwdhjaoivkptux",
)
# Characters that show nothing and are no format characters by their category: fillers and variation selectors.
_INVISIBLE: Final = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_HIDDEN: Final = ("Cc", "Cf")
_DASHES: Final = ("Pd", "Pc")
_MINUS: Final = "\u2212\u02d7\u2043"
_MARKS: Final = re.compile(r"\d+|(?<![^\W_])[^\W\d_](?![^\W_])")


@lru_cache(maxsize=65_536)
def name_key(name: str) -> str:
    """What is left of a name without case, width, separators and hidden characters: equal keys are one name.

    White space, hyphens, dashes and underscores are left out, so that `hard bounce`, `hard-bounce` and `hard_bounce`
    are one name; so are control and zero-width characters, and letters that look like Latin ones are those.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    shown = [one for one in _INVISIBLE.sub("", folded) if unicodedata.category(one) not in _HIDDEN or one.isspace()]
    kept = "".join(one for one in shown if not _separates(one)) or "".join(shown).strip()
    return unicodedata.normalize("NFKC", kept.translate(_LOOK_ALIKES))


def _separates(character: str) -> bool:
    return character.isspace() or character in _MINUS or unicodedata.category(character) in _DASHES


def found(name: str, known: Iterable[str]) -> str | None:
    """The known name that is meant: the same text, or else the only one with the same key; None where there is none."""
    names = tuple(known)
    if name in names:
        return name
    same = {one for one in names if name_key(one) == name_key(name)}
    return same.pop() if len(same) == 1 else None


def known_name(name: object, known: Iterable[str], *, owner: str, parameter: str, hint: str = "") -> str:
    """The known name that is meant.

    Args:
        name: name as it was written.
        known: all names that exist.
        owner / parameter: named in the error.
        hint: said after the nearest name.

    Raises:
        ParameterError: it is none of them; the hint names the nearest one.
    """
    names = tuple(known)
    meant = found(name, names) if isinstance(name, str) else None
    if meant is None:
        near = did_you_mean(str(name), names)
        more = f", ... {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        allowed = f"one of {', '.join(names[:_SHOWN]) or 'none'}{more}"
        raise ParameterError(parameter, owner, allowed=allowed, got=name, hint=f"{near}{hint}".strip())
    return meant


def known_names(names: Iterable[str], known: Collection[str], *, owner: str, parameter: str) -> tuple[str, ...]:
    """`known_name` of several names, in their order and without repeats.

    Raises:
        ParameterError: see there.
    """
    return tuple(dict.fromkeys(known_name(name, known, owner=owner, parameter=parameter) for name in names))


def may_mean(name: str, known: Iterable[str]) -> frozenset[str]:
    """The known names that a name may mean, for what speaks against a send.

    The same text, or else all names with the same key, or else those that are a slip of the pen away: one edit in names
    of three to five letters, two in longer ones (the usual measure of full-text search), none in shorter ones. Names
    that differ in their numbers or single letters (`week_12`, `week_13`; `offer_a`, `offer_b`) are not slips of each
    other.
    """
    names = frozenset(known)
    return frozenset({name}) if name in names else _nearly(name, names)


@lru_cache(maxsize=16_384)
def _nearly(name: str, names: frozenset[str]) -> frozenset[str]:
    """Remembered, because every block of contacts asks again of the same few names."""
    key, letters, keyed = name_key(name), frozenset(name_key(name)), _keyed(names)
    same = frozenset(one for one, other, _ in keyed if other == key)
    if same:
        return same
    # One edit changes the length by at most one and the set of letters by at most two: most names end here.
    near = (
        one
        for one, other, others in keyed
        if abs(len(key) - len(other)) <= _MOST_EDITS and len(letters ^ others) <= 2 * _MOST_EDITS
    )
    return frozenset(one for one in near if _is_slip(name, one))


@lru_cache(maxsize=64)
def _keyed(names: frozenset[str]) -> tuple[tuple[str, str, frozenset[str]], ...]:
    """Each name with its key and the letters of the key."""
    return tuple((name, name_key(name), frozenset(name_key(name))) for name in names)


def _is_slip(name: str, other: str) -> bool:
    first, second = name_key(name), name_key(other)
    length = max(len(first), len(second))
    most = 0 if length < 3 else 1 if length < 6 else _MOST_EDITS
    if edits(first, second, most) > most:
        return False
    marks, others = _marks(name), _marks(other)
    return not marks or not others or marks == others


def _marks(name: str) -> list[str]:
    return _MARKS.findall(unicodedata.normalize("NFKC", name).casefold().replace("_", " "))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The beginning of a hint: the nearest known name, or nothing."""
    names = tuple(known)
    by_key = {name_key(one): one for one in names}
    near = difflib.get_close_matches(name_key(name), by_key, n=1, cutoff=0.5)
    return f"did you mean {by_key[near[0]]!r}? " if near else ""


def near_key(message: str, struct: Any) -> str:
    """The beginning of a hint for msgspec's message of an unknown field: the nearest key of a struct or its parts."""
    found_field = _UNKNOWN_FIELD.search(message)
    if found_field is None:
        return ""
    return did_you_mean(found_field[1], sorted(_keys_of(struct)))


def _keys_of(kind: Any) -> set[str]:
    """Names of the fields of a struct and of the structs inside it."""
    inside = {name for part in get_args(kind) for name in _keys_of(part)}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        inside |= {key for name in kind.__struct_fields__ for key in (name, *_keys_of(hints[name]))}
    return inside


def codes_of(
    names: Iterable[str | None],
    known: tuple[str, ...],
    *,
    none: int,
    unknown: int,
    meant: Callable[[str, tuple[str, ...]], str | None] = found,
) -> CodeArray:
    """Positions among the known names.

    Args:
        names: names as they were written.
        known: the axis.
        none: the code of None.
        unknown: the code of a name that is none of the known ones.
        meant: how a name is understood: `found`, or `channel_of` for channels.
    """
    code = {name: at for at, name in enumerate(known)}

    def coded(name: str | None) -> int:
        one = None if name is None else meant(name, known)
        return none if name is None else unknown if one is None else code[one]

    return np.array([coded(name) for name in names], dtype=np.int32)


@lru_cache(maxsize=4096)
def channel_of(name: str, channels: tuple[str, ...]) -> str | None:
    """The channel of a catalog that a name means, also by what it is usually called; None where it cannot be told."""
    meant = found(name, channels)
    if meant is not None:
        return meant
    group = _group_of(name)
    same = [channel for channel in channels if group is not None and _group_of(channel) == group]
    return same[0] if len(same) == 1 else None


def usual_channel(name: str) -> str:
    """The usual name of a channel (`SMS` and `text` are `sms`); a name that is not usual is left as it is."""
    group = _group_of(name)
    return name if group is None else group


def is_usual_channel(name: str, channels: tuple[str, ...]) -> bool:
    """Whether a name means a usual channel that the catalog does not have, and so none of the catalog's."""
    group = _group_of(name)
    return group is not None and all(_group_of(channel) != group for channel in channels)


def may_be_on(name: str, named: Collection[str], channels: tuple[str, ...]) -> bool:
    """Whether what happened on a channel may have happened on one of those named, for what speaks against a send.

    Args:
        name: name as it was recorded.
        named: channels of the catalog, or usual ones.
        channels: channels of the catalog.
    """
    meant = channel_of(name, channels)
    if meant is None and is_usual_channel(name, channels):
        meant = usual_channel(name)
    return meant is None or meant in named


def known_channel(name: str, channels: tuple[str, ...], *, owner: str, parameter: str) -> str:
    """The name of a channel of the catalog, or the usual name of one that the catalog does not have.

    Raises:
        ParameterError: it is neither; the hint names the nearest channel.
    """
    meant = channel_of(name, channels) or _group_of(name)
    return meant or known_name(name, dict.fromkeys((*channels, *USUAL_CHANNELS)), owner=owner, parameter=parameter)


USUAL_CHANNELS: Final = tuple(words[0] for words in CHANNEL_WORDS)
_GROUPS: Final = {name_key(word): words[0] for words in CHANNEL_WORDS for word in words}


def _group_of(name: str) -> str | None:
    return _GROUPS.get(name_key(name))
