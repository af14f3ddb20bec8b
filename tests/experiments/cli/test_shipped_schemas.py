"""The shipped JSON schemas are those of the structs, and the contract's keys stand in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from experiments.outputs import ErrorOutput, json_bytes
from experiments.shipped_schemas import ALL, schema_text, shipped_schema, write_schemas
from tests.experiments.commands import validate

RESULT = (
    *("policy", "metric", "estimator", "value", "stderr", "low", "high", "alpha", "n", "ess", "mean_weight"),
    *("max_weight", "unsupported_mass", "verdict", "difference"),
)
KEYS = {
    "Estimate": RESULT,
    "Difference": ("baseline", "value", "stderr", "low", "high"),
    "LogSummary": ("rows", "contacts", "actions", "metric", "dropped"),
    "Launch": ("policy", "verdict", "reason"),
    "BacktestOutput": ("log", "results", "launch"),
    "EvaluateOutput": ("log", "results"),
    "ImportOutput": ("rows_read", "rows_kept", "rows_rejected", "actions", "propensity"),
    "ErrorOutput": ("error", "hint"),
}


@pytest.mark.parametrize("command", ALL)
def test_shipped_schema_is_up_to_date(command: str) -> None:
    assert shipped_schema(command) == schema_text(command), "run python -m experiments.shipped_schemas"
    Draft202012Validator.check_schema(json.loads(shipped_schema(command)))


def test_nothing_else_ships(root: Path, tmp_path: Path) -> None:
    written = {path.name for path in write_schemas(tmp_path)}
    assert {path.name for path in (root / "experiments" / "schemas").iterdir()} == written


def test_the_contracts_keys_are_required() -> None:
    definitions: dict[str, dict[str, object]] = {}
    for command in ALL:
        definitions |= json.loads(shipped_schema(command))["$defs"]
    for name, keys in KEYS.items():
        required = definitions[name]["required"]
        assert isinstance(required, list)
        assert set(keys) <= set(required), name


def test_a_wrong_object_is_refused() -> None:
    """A schema that let everything through would make every other check here empty."""
    good = json.loads(json_bytes(ErrorOutput(error="e", hint="h")))
    validate("error", good)
    for wrong in ({"error": "e"}, {"error": 1, "hint": "h"}, {}):
        with pytest.raises(ValidationError):
            validate("error", wrong)
