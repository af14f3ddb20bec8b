"""The conformance suite of a guardrail rule: ours go through it by parametrize, and so can a user's own.

from engine.guardrails.check import check_rule
check_rule(MyRule(limit=3), catalog)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.eligibility import Eligibility
from engine.errors import EligibilityError
from engine.guardrails.judging import findings, judge, removed
from engine.guardrails.rule import Rule, Scene, Verdict, purpose_mask
from engine.guardrails.specimens import specimen_contacts
from engine.time.localtime import instant_of
from engine.types import HOLD, PURPOSES, BoolArray

CONTACTS: Final = 48
EXPLAINED: Final = 12
MARGIN_S: Final = 600
# An ordinary instant, the hour before a spring change, and the hour that an autumn change repeats.
INSTANTS: Final = (
    datetime(2026, 7, 15, 13, 37, 11, 250_000, tzinfo=UTC),
    datetime(2026, 3, 8, 6, 30, tzinfo=UTC),
    datetime(2026, 11, 1, 5, 59, 59, tzinfo=UTC),
)

Contacts = Callable[[Catalog, int, int], ContactBatch]


def check_rule(rule: Rule, catalog: Catalog, contacts: Contacts = specimen_contacts) -> None:
    """Try a rule on made-up contacts around ordinary days and daylight-saving changes.

    Args:
        rule: what to check.
        catalog: the actions; a small one makes the check quick.
        contacts: makes n contacts around an instant, for rules that read more than the core inputs.

    Raises:
        EligibilityError: the rule breaks the contract; the message says where.
    """
    for now in INSTANTS:
        now_at = instant_of(now)
        scene = Scene(catalog, contacts(catalog, CONTACTS, now_at), now_at, MARGIN_S)
        before = _arrays(scene.contacts)
        _check_shapes(rule, scene)
        _check_purity(rule, scene, before)
        _check_blocks(rule, scene)
        _check_missing(rule, scene)
        for row in range(min(EXPLAINED, scene.contacts.n)):
            _check_explained(rule, scene, row)


def _require(holds: bool, rule: Rule, message: str) -> None:
    if not holds:
        raise EligibilityError(
            f"rule {type(rule).__name__} {message}", hint="see docs/guardrails.md, A rule of your own"
        )


def _left(rule: Rule, scene: Scene) -> Eligibility:
    return removed(judge(rule, scene), scene.contacts.n, scene.catalog)


def _check_shapes(rule: Rule, scene: Scene) -> None:
    channels, hours, arms = scene.catalog.shape
    verdict, n = rule.verdict(scene), scene.contacts.n
    _require(isinstance(verdict, Verdict), rule, "must return a Verdict")
    shapes = {"channel_arm": (n, channels, arms), "channel_hour": (n, len(PURPOSES), channels, hours)}
    for name, full in shapes.items():
        factor: BoolArray | None = getattr(verdict, name)
        if factor is None:
            continue
        _require(factor.dtype == np.bool_, rule, f"must write {name} as bool, wrote {factor.dtype}")
        fits = factor.ndim == len(full) and all(got in (1, want) for got, want in zip(factor.shape, full, strict=True))
        _require(fits and len(factor) == n, rule, f"must write {name} of a shape like {full}, wrote {factor.shape}")
    _require(bool(_left(rule, scene).dense()[:, HOLD].all()), rule, "must leave hold alone")
    empty = Scene(scene.catalog, scene.contacts.take(slice(0, 0)), scene.now_at, scene.latency_margin_s)
    _require(_left(rule, empty).n == 0, rule, "must judge an empty batch")


def _arrays(held: Any, of: str = "") -> dict[str, NDArray[Any]]:
    """Every array within, at any depth, by a dotted name."""
    if isinstance(held, np.ndarray):
        return {of: held.copy()}
    if not isinstance(held, Mapping):
        held = vars(held) if is_dataclass(held) else {}
    found: dict[str, NDArray[Any]] = {}
    for key, value in held.items():
        found |= _arrays(value, f"{of}.{key}" if of else str(key))
    return found


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()


def _check_purity(rule: Rule, scene: Scene, before: dict[str, NDArray[Any]]) -> None:
    first, again = _left(rule, scene).packed(), _left(rule, scene).packed()
    _require(bool((first == again).all()), rule, "must give the same verdict twice")
    after = _arrays(scene.contacts)
    _require(after.keys() == before.keys(), rule, "must not add to its inputs, or take from them")
    for name, column in before.items():
        _require(_same(column, after[name]), rule, f"must not change its input {name}")


def _check_blocks(rule: Rule, scene: Scene) -> None:
    """Each contact is judged alone: the same verdict in blocks of any size and any order."""
    whole, n = _left(rule, scene).packed(), scene.contacts.n
    order = np.arange(n)[::-1]
    for rows in (np.array([0]), np.arange(n // 3, n), order):
        block = Scene(scene.catalog, scene.contacts.take(rows), scene.now_at, scene.latency_margin_s)
        same = np.array_equal(_left(rule, block).packed(), whole[rows])
        _require(same, rule, f"must judge contacts one by one, but {len(rows)} of {n} come out differently")


def _check_missing(rule: Rule, scene: Scene) -> None:
    """Without an input that it reads, a rule removes everything in its scope."""
    arms = purpose_mask(rule.applies_to)[scene.catalog.purpose_codes]
    _, _, count = scene.catalog.shape
    for name in rule.reads:
        blanked = Scene(scene.catalog, scene.contacts.blanked(name), scene.now_at, scene.latency_margin_s)
        sends = _left(rule, blanked).dense()[:, 1:].reshape(scene.contacts.n, -1, count)
        _require(not sends[:, :, arms].any(), rule, f"must remove everything in its scope where {name} is missing")


def _check_explained(rule: Rule, scene: Scene, row: int) -> None:
    """Each removed action has a finding, and its `next_allowed_at` is later than now and really passes."""
    alone = Scene(scene.catalog, scene.contacts.alone(row), scene.now_at, scene.latency_margin_s)
    gone = np.flatnonzero(~_left(rule, alone).dense()[0])
    found = findings(rule, alone)
    _require([action for action, _ in found] == gone.tolist(), rule, "must explain exactly what it removed")
    passes: dict[int, BoolArray] = {}
    for action, finding in found:
        _require(bool(finding.reason), rule, f"must give a reason for action {action}")
        later = finding.next_allowed_at
        if later is None:
            continue
        _require(later > scene.now_at, rule, f"must give a next_allowed_at after now, gave {later}")
        if later not in passes:
            then = Scene(scene.catalog, alone.contacts, later, scene.latency_margin_s)
            passes[later] = _left(rule, then).dense()[0]
        _require(bool(passes[later][action]), rule, f"says action {action} passes at {later}, but removes it there")
