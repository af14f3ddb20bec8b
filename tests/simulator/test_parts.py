"""Parts by name: shipped ones, one of the user's own, and what is refused; every number says where it is from."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from engine.errors import ConfigError
from simulator.numbers import KINDS, Number, numbers_of, table
from simulator.people.register import Register
from simulator.scenario import PARTS, load_scenario, make_part, scenario_from
from simulator.world.faults import Fault
from simulator.world.happened import Money
from simulator.world.observe import Observation
from simulator.world.world import World
from tests.simulator.own_parts import FlatResponse
from tests.simulator.worlds import send

OWN = {"part": "tests.simulator.own_parts:FlatResponse", "seen": 1.0}


def test_a_part_of_ones_own_works() -> None:
    """Everybody sees; a quarter clicks and half of these buy: about 0.125 orders a message."""
    scenario = load_scenario("newsletter", {"response": OWN}, packages=("tests",))
    assert scenario.response == FlatResponse(seen=1.0)
    batch = World(scenario, 4000, 1)
    happened = batch.advance(send(batch, "email", "social_proof"))
    assert happened.delivered.all()
    assert happened.seen.all()
    assert happened.clicked.mean() == pytest.approx(0.25, abs=0.03)
    assert happened.message_order.mean() == pytest.approx(0.125, abs=0.025)


@pytest.mark.parametrize(
    ("part", "packages", "named"),
    [
        ("tests.simulator.own_parts:FlatResponse", (), "must be allowed"),
        ("tests.simulator.own_parts:FlatResponse", ("other",), "must be allowed"),
        ("tests.simulator.own_parts:Nothing", ("tests",), "is not there"),
        ("tests.simulator.own_parts:np", ("tests",), "no class but a module"),
        ("tests.simulator.own_parts.np:array", ("tests",), "cannot be imported"),
        ("tests.engine.guardrails.foreign_rules:makes_a_rule", ("tests",), "no class but a function"),
        ("tests.engine.guardrails.foreign_rules:Called", ("tests",), "no response: it lacks bind"),
        ("subprocess:Popen", ("subprocess",), "no response: it lacks bind"),
        ("tests.simulator.no_such:FlatResponse", ("tests",), "cannot be imported"),
        ("flatland", ("tests",), "shipped: shoppers"),
    ],
)
def test_a_part_that_cannot_be_had_is_refused(part: str, packages: tuple[str, ...], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_scenario("newsletter", {"response": {"part": part}}, packages=packages)
    assert named in f"{caught.value.message} {caught.value.hint}"


def test_the_parameters_of_ones_own_part_are_checked() -> None:
    with pytest.raises(ConfigError, match="seen"):
        make_part("response", OWN | {"seen": 1.5}, ("tests",))


def test_single_entries_replace_those_of_the_default_table() -> None:
    changed = make_part("response", {"click": {"sms": 0.5}})
    assert changed.click["sms"] == 0.5
    assert changed.click["email"] == make_part("response", {}).click["email"]


def test_changes_reach_into_a_scenario() -> None:
    scenario = load_scenario("newsletter", {"money": {"margin_share": 0.3}, "population": {"unknown_zone": 0.5}})
    assert scenario.spec.money.margin_share == 0.3
    assert scenario.spec.money.send_cost_usd == Money().send_cost_usd
    assert (World(scenario, 400, 1).people.zone_code == -1).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"attribution_window_days": 0}, "attribution_window_days"),
        ({"attribution_window_days": 91}, "attribution_window_days"),
        ({"risk_class": "tiny"}, "risk_class"),
        ({"catalog": "nonsense"}, "catalog"),
        ({"features": "nonsense"}, "features"),
        ({"features": ["simulated", "simulated"]}, "unique"),
        ({"guardrails": "nonsense"}, "nonsense"),
        ({"calibration": ["nonsense"]}, "calibration"),
        ({"money": {"margin_share": 2}}, "margin_share"),
        ({"observation": {"stale": -1}}, "stale"),
        ({"register": {"listed": 2}}, "listed"),
        ({"register": {"line_types": {"fax": 1}}}, "line_types"),
        ({"register": {"bases": {"sms": {"express": 1}}}}, "bases"),
        ({"register": {"bases": {"*": {"shouted": 1}}}}, "bases"),
        ({"weather": {}}, "weather"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value),
)
def test_a_wrong_scenario_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        load_scenario("newsletter", changes)
    assert caught.value.hint or caught.value.message


def test_what_is_no_scenario_is_refused() -> None:
    for data in (None, [], "newsletter", {"name": "x"}):
        with pytest.raises(ConfigError):
            scenario_from(data)
    with pytest.raises(ConfigError, match="newsletter") as caught:
        load_scenario("news")
    assert "winback" in caught.value.hint or "newsletter" in caught.value.message


STRUCTS = [kind for parts in PARTS.values() for kind in parts.values()] + [Money, Observation, Register, Fault]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_number_says_where_it_is_from(struct: type[msgspec.Struct]) -> None:
    """Every field that holds a number, or a table of numbers, has unit, kind and source."""
    documented = numbers_of(struct)
    assert documented
    for one in documented:
        assert one.kind in KINDS
        assert one.unit.strip()
        assert one.source.strip(), one
    named = {one.name for one in documented}
    for field in msgspec.structs.fields(struct):
        default = field.default if field.default is not msgspec.NODEFAULT else None
        if isinstance(default, float) and not isinstance(default, bool):
            assert field.name in named, field.name


def test_numbers_are_read_from_annotations() -> None:
    found = numbers_of(FlatResponse)
    assert found == (Number("FlatResponse", "seen", 0.5, "share", "assumed", "an example", "in [0, 1]"),)
    assert table({"a": 1.0}).default_factory() == {"a": 1.0}


def test_parts_are_equal_where_their_numbers_are() -> None:
    first, second = load_scenario("renewal"), load_scenario("renewal")
    assert first.population == second.population
    assert first.features.version == second.features.version
    assert np.isclose(first.step_days, 1.0)
