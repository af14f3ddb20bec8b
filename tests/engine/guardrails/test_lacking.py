"""Packs for the simulator are refused on people, and what a pack lacks is said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.catalog import Arm, Catalog
from engine.errors import ConfigError, EligibilityError
from engine.guardrails.layer import Guardrails
from engine.guardrails.lint.protections import warnings_of
from engine.guardrails.pack import Pack, load_pack, pack_from, require_people

CATALOG = Catalog(name="t", channels=("email", "sms"), hours=(9,), arms=(Arm(id="a", approved=True),))


def changed(
    pack: Pack, without: tuple[str, ...] = (), params: dict[str, dict[str, Any]] | None = None, **more: Any
) -> Pack:
    kept = [entry for entry in pack.rules if entry.rule not in without]
    rules = [msgspec.structs.replace(one, params=(params or {}).get(one.rule, one.params)) for one in kept]
    return msgspec.structs.replace(pack, rules=tuple(rules), **more)


def said(pack: Pack) -> str:
    return " ".join(warnings_of(Guardrails(pack, CATALOG)))


def test_a_pack_for_the_simulator_is_refused_until_somebody_says_so() -> None:
    permission = load_pack("permission")
    assert permission.audience == "simulation"
    with pytest.raises(EligibilityError, match="for the simulator alone") as caught:
        require_people(permission)
    assert "guardrails.audience=people" in caught.value.hint
    require_people(msgspec.structs.replace(permission, audience="people"))
    for name in ("default", "journeys", "full"):
        require_people(load_pack(name))
    with pytest.raises(ConfigError, match="audience"):
        pack_from(permission.to_builtins() | {"audience": "everybody"})


def test_the_audience_of_people_leaves_the_digest_alone() -> None:
    """Logs of packs that do not name it keep their `pack_version`."""
    pack = load_pack()
    assert "audience" not in pack.to_builtins()
    assert pack_from(pack.to_builtins() | {"audience": "people"}).digest == pack.digest
    assert pack_from(pack.to_builtins() | {"audience": "simulation"}).digest != pack.digest


@pytest.mark.parametrize("name", ["default", "journeys", "full"])
def test_the_packs_for_people_lack_nothing(name: str) -> None:
    assert warnings_of(Guardrails(load_pack(name), CATALOG)) == ()


def test_what_is_missing_is_said() -> None:
    pack = load_pack()
    assert "latency_margin_s 0" in said(changed(pack, latency_margin_s=0))
    assert "no cap on how often" in said(changed(pack, ("frequency",)))
    assert "no quiet hours" in said(changed(pack, ("quiet_hours",)))
    assert "no rule for suppressed contacts" in said(changed(pack, ("suppression",)))
    everything = said(load_pack("permission"))
    assert "simulated contacts" in everything
    assert "no cap" in everything
    assert all(line.startswith("guardrail pack ") for line in warnings_of(Guardrails(load_pack("permission"), CATALOG)))


@pytest.mark.parametrize(
    ("rule", "params", "words"),
    [
        ("frequency", {"caps": [{"max": None, "window_s": 60}]}, "no cap on how often a contact is written to"),
        (
            "frequency",
            {"caps": [{"max": 1, "window_s": 60, "channels": ["email"]}]},
            "no cap on how often a contact is written to on sms",
        ),
        ("frequency", {"caps": [{"max": 1, "window_s": 60}], "applies_to": ["transactional"]}, "no cap"),
        ("quiet_hours", {"windows": {"*": {"daily": ["00:00-24:00"]}}}, "no quiet hours"),
        (
            "quiet_hours",
            {"windows": {"sms": {"mon": ["09:00-20:00"]}, "*": {"daily": ["00:00-24:00"]}}},
            "no quiet hours on email",
        ),
    ],
)
def test_a_rule_that_protects_from_nothing_is_none(rule: str, params: dict[str, Any], words: str) -> None:
    assert words in said(changed(load_pack(), params={rule: params}))
