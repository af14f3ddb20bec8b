"""Catalogs: indexing, names, aliases, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog, catalog_from, one_axis_catalog
from engine.errors import ConfigError, DataError, ParameterError
from tests.strategies import catalogs


def _plain(**changes: Any) -> dict[str, Any]:
    arms = [{"id": "news", "approved": True}, {"id": "offer", "approved": True, "discount_depth": 0.2}]
    return {"name": "two", "channels": ["email", "sms"], "hours": [9, 18], "arms": arms, **changes}


def test_an_index_by_hand() -> None:
    """C = 2, H = 2, K = 2: (sms, 9, offer) = 1 + (1 * 2 + 0) * 2 + 1 = 6."""
    catalog = catalog_from(_plain())
    assert (catalog.shape, catalog.k) == ((2, 2, 2), 9)
    assert catalog.index(1, 0, 1) == 6
    assert catalog.action_names[6] == "sms|9|offer"
    assert [axis.tolist() for axis in catalog.split(np.array([0, 6]))] == [[-1, 1], [-1, 0], [-1, 1]]


def test_the_reference_size_has_577_actions() -> None:
    arms = tuple(Arm(id=f"arm{a}") for a in range(8))
    assert Catalog(name="full", channels=("e", "s", "p"), hours=tuple(range(24)), arms=arms).k == 577


def test_axes_of_size_one_are_left_out_of_names() -> None:
    assert one_axis_catalog("plain", ["a", "b"], hold_name="none").action_names == ("none", "a", "b")
    assert one_axis_catalog("single", ["a"]).action_names == ("hold", "a")


@given(catalogs())
def test_split_inverts_index_and_resolve_inverts_names(catalog: Catalog) -> None:
    actions = np.arange(catalog.k)
    channel, hour, arm = catalog.split(actions)
    assert [catalog.index(*cell) for cell in zip(channel[1:], hour[1:], arm[1:], strict=True)] == actions[1:].tolist()
    assert [catalog.resolve(name) for name in catalog.action_names] == actions.tolist()
    assert catalog.resolve("hold") == 0
    assert catalog_from(catalog.to_builtins()) == catalog
    assert catalog_from(catalog.to_builtins()).version == catalog.version


@given(catalogs(), st.sampled_from(["name", "channels", "hold_name"]))
def test_every_change_changes_the_version(catalog: Catalog, field: str) -> None:
    data = catalog.to_builtins()
    data[field] = (*data[field], "another") if field == "channels" else data[field] + "x"
    assert catalog_from(data).version != catalog.version


def test_aliases_lead_to_their_action() -> None:
    catalog = catalog_from(_plain(aliases={"control": "hold", "evening": "sms|18|news"}))
    assert catalog.resolve("control") == 0
    assert catalog.resolve("evening") == catalog.index(1, 1, 0)


def test_an_unknown_action_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(DataError, match=r"unknown action 'sms\|9\|ofer'.*did you mean 'sms\|9\|offer'"):
        catalog_from(_plain()).resolve("sms|9|ofer")
    with pytest.raises(DataError, match="knows: 'hold', 'a'") as caught:
        one_axis_catalog("plain", ["a"]).resolve("zzz")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": []}, "channels"),
        ({"channels": ["email", "email"]}, "unique"),
        ({"channels": ["email", ""]}, "non-empty"),
        ({"hours": [24]}, "in 0..23"),
        ({"hours": [-1]}, "in 0..23"),
        ({"hours": [9, "9"]}, "unique"),
        ({"arms": []}, "arms"),
        ({"arms": [{"id": "a"}, {"id": "a"}]}, "unique"),
        ({"arms": [{"id": ""}]}, "non-empty"),
        ({"arms": [{"id": "a", "purpose": "spam"}]}, "purpose"),
        ({"arms": [{"id": "a", "discount_depth": 1.0}]}, "discount_depth"),
        ({"arms": [{"id": "a", "discount_depth": float("nan")}]}, "discount_depth"),
        ({"arms": [{"id": "a", "margin_usd": float("inf")}]}, "finite"),
        ({"arms": [{"id": "a", "attributes": {"urgency": float("nan")}}]}, "finite"),
        ({"arms": [{"id": "a", "channels": ["pigeon"]}]}, "pigeon"),
        ({"arms": [{"id": "a", "valid_from": "2026-01-01T00:00:00"}]}, "offset"),
        ({"arms": [{"id": "a", "valid_until": "soon"}]}, "offset"),
        (
            {"arms": [{"id": "a", "valid_from": "2026-02-01T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"}]},
            "after valid_from",
        ),
        ({"aliases": {"x": "nothing"}}, "aliases"),
        ({"aliases": {"sms|9|news": "hold"}}, "no name of another action"),
        ({"colour": "red"}, "colour"),
        ({"name": 7}, "name"),
        ({"channels": ["email"], "hours": [9], "hold_name": "none", "arms": [{"id": "hold"}]}, "hold"),
        ({"channels": ["a|b", "a"], "hours": [9], "arms": [{"id": "c"}, {"id": "b|c"}]}, "collide"),
    ],
)
def test_what_is_no_catalog_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"shop\.yaml is no catalog") as caught:
        catalog_from(_plain(**changes), source="shop.yaml")
    assert message in str(caught.value)


def test_the_constructor_refuses_too() -> None:
    with pytest.raises(ParameterError, match="hours"):
        Catalog(name="x", channels=("e",), hours=(25,), arms=(Arm(id="a"),))
