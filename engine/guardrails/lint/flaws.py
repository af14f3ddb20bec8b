"""What lint finds in a pack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from engine import names
from engine.guardrails.pack import RuleEntry
from engine.guardrails.rule import Rule

ERROR: Final = "error"
WARNING: Final = "warning"


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a pack, or looks wrong.

    Attributes:
        level: an error makes the pack unusable or looser than it claims; a warning is for somebody to look at.
        code: what kind of flaw, a word for filters.
        where: id of the rule entry and the path inside it; "pack" for the whole.
        text / hint: for people.
    """

    level: Literal["error", "warning"]
    code: str
    where: str
    text: str
    hint: str = ""


@dataclass(frozen=True)
class Linted:
    """One rule entry that can be used: what stands in the pack and the rule that it makes."""

    entry: RuleEntry
    rule: Rule

    @property
    def where(self) -> str:
        return self.entry.id


def error(code: str, where: str, text: str, hint: str = "") -> Flaw:
    return Flaw(level=ERROR, code=code, where=where, text=text, hint=hint)


def warning(code: str, where: str, text: str, hint: str = "") -> Flaw:
    return Flaw(level=WARNING, code=code, where=where, text=text, hint=hint)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, and all of them."""
    known = sorted(known)
    return f"{names.did_you_mean(name, known)}known: {', '.join(known) or 'none'}"
