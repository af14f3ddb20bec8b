"""Mappings that cannot be used: each error names the file, the key, the value and what is allowed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.mapping.dialect import load_mapping, mapping_from

Mapped = dict[str, Any]


def changed(mapped: Mapped, path: str, value: Any) -> Mapped:
    """A copy with one key set, or removed where the value is None; dots go down, digits are positions."""
    out = copy.deepcopy(mapped)
    node: Any = out
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        node = node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return out


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("feature", [], ["unknown key 'feature'", "allowed", "'features'"]),
        ("catalog.arms", {}, ["unknown key 'arms' in catalog", "'arm'"]),
        ("features.0.colum", "x", ["features[0]", "'column'"]),
        ("rewards.click.hi", 1, ["rewards.click", "'high'"]),
        ("cluster", {"colum": "x"}, ["unknown key 'colum' in cluster"]),
        ("cluster", "user", ["user"]),
        ("cluster", {"column": "who", "optional": True}, ["optional"]),
        ("name", "  ", ["name"]),
        ("catalog.arm.column", None, ["constant / column / columns"]),
        ("catalog.arm.constant", "x", ["exactly once", "['constant', 'column']"]),
        ("catalog.arm.values", "seen", ["seen"]),
        ("catalog.arm.values", [True], ["quotes"]),
        ("catalog.arm.values", {"pattern": "("}, ["regular expression"]),
        ("catalog.arm.values", {"pattern": "abc"}, ["one group"]),
        ("catalog.arm.values", {"file": "c.csv"}, ["together with file"]),
        ("catalog.arm.values", {"pattern": "(a)", "file": "c.csv", "column": "a"}, ["exactly once"]),
        ("catalog.channel.attributes", {"file": "f", "key": "k"}, ["arm only"]),
        ("hold", {"axis": "arm"}, ["values"]),
        ("hold", {"axis": "arm", "column": "x", "values": [0]}, ["exactly once"]),
        ("hold.axis", "arms", ["arms"]),
        ("propensity", {"constant": "1/0"}, ["(0, 1]", "1/0"]),
        ("propensity", {"constant": 0}, ["(0, 1]"]),
        ("propensity", {"constant": "4/3"}, ["(0, 1]"]),
        ("propensity", {"constant": "half"}, ["half"]),
        ("propensity", {"per_arm": {"A": -0.5}}, ["propensity.per_arm.A", "-0.5"]),
        ("propensity", {}, ["exactly once"]),
        ("propensity", {"column": "p", "absent": True}, ["exactly once"]),
        ("propensity", {"expression": "open('x')"}, ["propensity.expression", "not allowed"]),
        ("availability", {"expression": "a.b"}, ["availability.expression"]),
        ("availability", {}, ["column / expression"]),
        ("eligible", {"expressions": {"A": "age >"}}, ["eligible.expressions.A"]),
        ("eligible", {}, ["exactly once"]),
        ("decided_at", {"column": "at", "format": "iso", "time_zone": "Europe/Berln"}, ["Europe/Berln"]),
        ("decided_at", {"column": "at", "format": "%d-%m-%Y"}, ["time_zone"]),
        ("contact", {"column": "a", "columns": ["b"]}, ["exactly once"]),
        ("feature_defaults.customer_benefit", None, ["customer_benefit", "benefit"]),
        ("feature_defaults.unit", None, ["unit", "'age'"]),
        ("features.0.type", "number", ["number"]),
        ("features.0.name", "plan", ["unique"]),
        ("features.0.name", "2nd", ["letter"]),
        ("rewards", {}, ["rewards"]),
        ("rewards.click.low", 1, ["low", "below high"]),
        ("rewards.click.column", None, ["column / expression"]),
        ("rewards.click", {"expression": "x[0]", "low": 0, "high": 1}, ["rewards.click.expression"]),
        ("csv", {"delimiter": "::"}, ["one character"]),
        ("csv", {"encoding": "utf-9"}, ["utf-9"]),
        ("format", "excel", ["excel"]),
        ("keep", "some", ["some"]),
        ("propensity", None, ["propensity"]),
    ],
)
def test_every_mistake_is_named(mapped: Mapped, path: str, value: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        mapping_from(changed(mapped, path, value), source="shop.yaml")
    for word in ["shop.yaml", *words]:
        assert word in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "no yaml"),
        ("- a\n- b", "table of keys, got \\['a', 'b'\\]"),
        ("", "got None"),
        ("name: a\nname: b", "'name' is given twice"),
        ("name: !!python/object/apply:os.getcwd []", "no yaml"),
    ],
)
def test_files_that_hold_no_mapping(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        load_mapping(path)
    assert str(path) in str(caught.value)


def test_a_name_that_is_not_shipped(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'hillstrom'"):
        load_mapping("hilstrom")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_mapping(tmp_path / "latin.yaml")


def test_defaults_fill_a_feature(mapped: Mapped) -> None:
    age, plan = mapping_from(mapped).schema().features
    assert (age.unit, plan.unit, age.source) == ("years", "level", "shop")
