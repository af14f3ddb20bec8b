"""The layer does not start with a consent rule that does nothing, however it was switched off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.errors import ConfigError, EligibilityError
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack, pack_from
from engine.guardrails.required import require_consent
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.guardrails.rules.consent import ConsentRule
from engine.types import PURPOSES

CATALOG = Catalog(
    name="required",
    channels=("email", "sms"),
    hours=(9, "now"),
    arms=(Arm(id="promo", approved=True), Arm(id="receipt", approved=True, purpose="transactional")),
)


def test_the_shipped_rule_works() -> None:
    require_consent([ConsentRule()], "shipped", CATALOG, 600)
    assert Guardrails(load_pack(), CATALOG).rules


class Lax(msgspec.Struct, frozen=True):
    """A consent rule with a way out: what its verdict does is given."""

    reads: ClassVar[tuple[str, ...]] = ("consent",)
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES
    closes: Callable[[Any], Any]

    def verdict(self, scene: Scene) -> Verdict:
        closed = self.closes(scene.contacts.consent)
        return Verdict() if closed is None else Verdict(channel_hour=closed.transpose(0, 2, 1)[..., None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        return Finding(None, None, "closed")


def _only_promotional(consent: Any) -> Any:
    closed = consent != 1
    closed[:, :, 1] = False
    return closed


LAX = {
    "nothing removed": (lambda _: None, "no record"),
    "no record passes": (lambda consent: consent == 0, "no record"),
    "denied passes": (lambda consent: consent == -1, "denied"),
    "any purpose opens all": (lambda consent: np.repeat(~(consent == 1).any(2, keepdims=True), 2, 2), "other purpose"),
    "any channel opens all": (lambda consent: np.repeat(~(consent == 1).any(1, keepdims=True), 2, 1), "other channels"),
    "transactional left out": (_only_promotional, "no record"),
}


@pytest.mark.parametrize("name", LAX)
def test_a_rule_that_leaves_a_send_is_refused(name: str) -> None:
    closes, case = LAX[name]
    with pytest.raises(EligibilityError, match=case):
        require_consent([Lax(closes)], "lax", CATALOG, 600)
    # Beside a rule that works it does no harm: all rules hold at once.
    require_consent([Lax(closes), ConsentRule()], "both", CATALOG, 600)


class NoScope(Lax, frozen=True):
    """Reads a column that contacts lack, and has no purpose in its scope: the layer would remove nothing for it."""

    reads: ClassVar[tuple[str, ...]] = ("consent", "column_of_ones_own")
    applies_to: ClassVar[tuple[str, ...]] = ()


def test_a_rule_without_scope_is_refused() -> None:
    with pytest.raises(EligibilityError, match="has no effect"):
        require_consent([NoScope(lambda consent: consent != 1)], "scope", CATALOG, 600)
    with pytest.raises(EligibilityError, match="has no effect"):
        require_consent([], "none", CATALOG, 600)


def entry(rule: str, **params: Any) -> dict[str, Any]:
    source = {"kind": "eng", "jurisdiction": "any", "source": "test", "checked_on": "2026-11-22"}
    return {"id": rule[:2], "rule": rule, "params": params, **source}


def pack(*rules: dict[str, Any]) -> Any:
    return pack_from({"name": "t", "version": "1", "rules": list(rules)})


@pytest.mark.parametrize("rules", [(), (entry("content"),), (entry("suppression"), entry("content"))])
def test_the_layer_does_not_start_without_consent(rules: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(EligibilityError, match="is empty" if not rules else "has no 'consent' rule"):
        Guardrails(pack(*rules), CATALOG)


def test_no_parameter_switches_consent_off() -> None:
    for params in ({"enabled": False}, {"off": True}, {"applies_to": []}, {"channels": []}):
        with pytest.raises((ConfigError, EligibilityError)):
            Guardrails(pack(entry("consent", **params)), CATALOG)


def test_the_layer_does_not_start_with_a_void_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real rule made void, as a parameter of a later version might: the layer looks at what it does."""
    monkeypatch.setattr(ConsentRule, "verdict", lambda _self, _scene: Verdict())
    with pytest.raises(EligibilityError, match="has no effect"):
        Guardrails(load_pack(), CATALOG)
