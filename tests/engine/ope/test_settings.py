"""The settings of an evaluation: one place, which yaml and docs repeat, and the range of each."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import pytest
import yaml

from engine.errors import ParameterError
from engine.ope.settings import DEFAULTS, RANGES, EvaluationSettings


def test_the_yaml_repeats_every_default(root: Path) -> None:
    """Key by key: what the yaml left out would not be seen by who reads it, and what it adds would be refused."""
    written = yaml.safe_load((root / "conf" / "evaluation" / "default.yaml").read_text(encoding="utf-8"))
    assert list(written) == list(EvaluationSettings.__struct_fields__)
    assert msgspec.convert(written, EvaluationSettings) == DEFAULTS


def test_the_docs_repeat_every_default_and_range(root: Path) -> None:
    text = (root / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name, default in msgspec.to_builtins(DEFAULTS).items():
        (row,) = re.findall(rf"^\|.*\| `evaluation\.{name}` \| (.*)$", text, re.MULTILINE)
        shown, _, meaning = row.partition(" | ")
        expected = str(default).removesuffix(".0") if default != "" else '""'
        assert shown.strip("`") == expected.replace("()", "[]"), name
        if name in RANGES and name != "interval":
            assert RANGES[name][0] in meaning, name


def test_the_docs_say_no_default_a_second_time(root: Path) -> None:
    text = (root / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert not re.search(r"unless you say otherwise", text)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("alpha", math.nan),
        ("interval", "wald"),
        ("clip", 0.0),
        ("clip", math.nan),
        ("folds", 1),
        ("replicates", 99),
        ("largest_weight", 0.99),
        ("largest_weight", math.inf),
        ("largest_sd", 0.0),
        ("largest_sd", math.inf),
        ("comparisons", 0),
    ],
)
def test_values_outside_their_range_are_refused_by_name(name: str, bad: object) -> None:
    with pytest.raises(ParameterError, match=f"`{name}` of evaluation must be {re.escape(RANGES[name][0])}"):
        EvaluationSettings(**{name: bad})


@pytest.mark.parametrize(("name", "edge"), [("clip", math.inf), ("folds", 2), ("replicates", 100), ("comparisons", 1)])
def test_the_edges_of_the_ranges_are_let_through(name: str, edge: float) -> None:
    assert getattr(EvaluationSettings(**{name: edge}), name) == edge


def test_alpha_is_shared_among_the_comparisons() -> None:
    assert EvaluationSettings(alpha=0.1, comparisons=4).shared_alpha == 0.025
