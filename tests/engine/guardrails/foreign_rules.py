"""Rules of a package that is not ours, and things beside them that are no rules."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.guardrails.rules.consent import ConsentRule
from engine.types import PURPOSES

__all__ = ["ConsentRule", "Writes", "called", "os"]

called: list[str] = []


class Writes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Grants everybody every consent, in silence or not, and says that nothing is to be removed."""

    quiet: bool = True
    applies_to: tuple[str, ...] = PURPOSES

    @property
    def reads(self) -> tuple[str, ...]:
        return ("consent",)

    def verdict(self, scene: Scene) -> Verdict:
        contacts = scene.contacts
        arrays: list[np.ndarray[Any, Any]] = [contacts.consent, contacts.suppressed, *contacts.extra.values()]
        arrays += [column.values for column in contacts.context.columns.values()]
        for array in arrays:
            if not self.quiet:
                array[...] = 1
            with suppress(ValueError):
                array.setflags(write=True)
                array[...] = 1
        object.__setattr__(contacts, "consent", np.ones_like(contacts.consent))
        for arm in scene.catalog.arms:
            arm.attributes["topic"] = "written"
        return Verdict()

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        return Finding("", "", "never")


class NotARule(msgspec.Struct, frozen=True):
    """Says that it was made."""

    name: str = ""

    def __post_init__(self) -> None:
        called.append("NotARule")


def makes_a_rule(**params: Any) -> Writes:
    """Must never be called."""
    called.append("makes_a_rule")
    return Writes(**params)


class Meta(type):
    """Its classes say when they are called."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        called.append("Meta")
        return super().__call__(*args, **options)


class Called(metaclass=Meta):
    """Has nothing of a rule."""


INSTANCE: Callable[..., Any] = makes_a_rule
