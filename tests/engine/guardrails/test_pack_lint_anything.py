"""Lint never fails on what people write, and what it lets pass starts."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.guardrails.layer import Guardrails
from engine.guardrails.lint.pack import lint_pack
from engine.guardrails.pack import pack_from, read_pack

TODAY = dt.date(2026, 11, 22)
CATALOG = Catalog(name="small", channels=("email", "sms"), hours=(9,), arms=(Arm(id="a", approved=True),))

plain = st.none() | st.booleans() | st.integers(-5, 90_000) | st.floats(allow_nan=False) | st.text(max_size=8)
anything = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into nested mappings and lists."""
    steps: list[Any] = (
        list(data) if isinstance(data, dict) else list(range(len(data))) if isinstance(data, list) else []
    )
    return [path, *(found for step in steps for found in places(data[step], (*path, step)))]


@settings(max_examples=60)
@given(data=anything)
def test_anything_at_all(data: Any) -> None:
    flaws = lint_pack(data, today=TODAY)
    assert any(flaw.level == "error" for flaw in flaws)


def test_a_channel_without_a_name_is_no_channel() -> None:
    data = copy.deepcopy(read_pack())
    next(rule for rule in data["rules"] if rule["id"] == "F5")["params"]["caps"][1]["channels"] = [""]
    lint_pack(data, today=TODAY, catalog=CATALOG)


@pytest.mark.slow
@settings(max_examples=100)
@given(draw=st.data())
def test_a_pack_with_one_thing_replaced(draw: Any) -> None:
    data = copy.deepcopy(read_pack())
    *way, last = draw.draw(st.sampled_from(places(data)[1:]))
    part = data
    for step in way:
        part = part[step]
    if draw.draw(st.booleans()) and isinstance(part, dict):
        del part[last]
    else:
        part[last] = draw.draw(anything)
    if not any(flaw.level == "error" for flaw in lint_pack(data, today=TODAY, catalog=CATALOG)):
        Guardrails(pack_from(data), CATALOG)
