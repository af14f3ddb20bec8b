"""Policies that try to write to what they are given: openly, in silence, and by every way that numpy has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from engine.content.eligibility import BlockEligibility
from engine.eligibility import Eligibility
from engine.features import ContextBatch
from engine.sampling import draw
from engine.types import BoolArray, CodeArray, FloatArray


def reached(given: Any) -> Iterator[Any]:
    """Every array and mapping that can be got at from what was given."""
    if isinstance(given, np.ndarray):
        owner: Any = given
        while isinstance(owner, np.ndarray):
            yield owner
            owner = owner.base
    elif isinstance(given, dict):
        yield given
        for value in given.values():
            yield from reached(value)
    elif is_dataclass(given):
        for one in fields(given):
            yield from reached(getattr(given, one.name))
    elif hasattr(given, "aliases"):
        yield given.aliases
        yield from reached(vars(given).get("purpose_codes"))
        for arm in given.arms:
            yield arm.attributes


def force(given: Any) -> None:
    """Write to all of it, opening what is closed; what cannot be written to stays as it is."""
    for one in list(reached(given)):
        with suppress(Exception):
            if isinstance(one, dict):
                one["written"] = "written"
                continue
            with suppress(ValueError):
                one.setflags(write=True)
            one[...] = True if one.dtype == np.bool_ else 1
    if is_dataclass(given):
        for one in fields(given):
            with suppress(Exception):
                object.__setattr__(given, one.name, None)


@dataclass
class Silent:
    """Forces everything, and then answers honestly by what it read before, or greedily: any send at all."""

    greedy: bool = False
    name: str = "silent"
    seen: int = 0

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        kept = eligible.copy()
        force(context)
        force(eligible)
        self.seen += len(kept)
        if self.greedy:
            kept[:, 1:] = True
        even: FloatArray = kept / kept.sum(axis=1, keepdims=True)
        return even


@dataclass
class SilentFused(Silent):
    """The same, drawing by itself."""

    propensity: Callable[[FloatArray], Any] = lambda own: own

    def choose(self, context: ContextBatch, eligibility: Eligibility, draws: FloatArray) -> Any:
        kept, uniform = eligibility.dense(), draws.copy()
        for one in (context, draws, eligibility):
            force(one)
        if self.greedy:
            kept[:, 1:] = True
        action, own = draw(kept / kept.sum(axis=1, keepdims=True), uniform)
        return action, self.propensity(own)


@dataclass
class SilentBatches:
    """The same over assemblies."""

    greedy: bool = False
    name: str = "silent"

    def choose_blocks(
        self, context: ContextBatch, eligibility: BlockEligibility, uniform: FloatArray
    ) -> tuple[CodeArray, FloatArray]:
        kept, drawn = eligibility.dense(), uniform.copy()
        for one in (context, uniform, eligibility.catalog, eligibility):
            force(one)
        if self.greedy:
            kept[:, 1:] = True
        return draw(kept / kept.sum(axis=1, keepdims=True), drawn)

    def block_probability(self, context: ContextBatch, eligibility: BlockEligibility, action: CodeArray) -> FloatArray:
        even = 1.0 / eligibility.dense().sum(axis=1)
        for one in (context, action, eligibility.catalog, eligibility):
            force(one)
        return even

    def distribution(self, context: ContextBatch, eligible: BoolArray) -> FloatArray:
        even: FloatArray = eligible / eligible.sum(axis=1, keepdims=True)
        return even
