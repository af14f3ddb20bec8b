"""`tactful schema` prints the schemas of the structs, and the contract's keys stand in them.

Every command's test holds what the command really printed against its schema (`tests.experiments.commands.call`).
"""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from experiments.cli.schema import PRINTED, printed
from experiments.outputs import ErrorOutput, json_bytes
from tests.experiments.commands import refused, run, screen, validate

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


@pytest.mark.parametrize("name", PRINTED)
def test_every_name_prints_a_valid_schema_of_its_own_struct(name: str) -> None:
    schema = json.loads(screen("schema", name))
    Draft202012Validator.check_schema(schema)
    struct = printed(name)
    assert schema["$ref"] == f"#/$defs/{struct.__name__}"
    described = schema["$defs"][struct.__name__]
    assert set(described["properties"]) == set(struct.__struct_fields__)
    assert all(definition["properties"] for definition in schema["$defs"].values())


def test_without_a_name_the_schemas_are_listed() -> None:
    assert run("schema")["names"] == list(PRINTED)
    assert set(PRINTED) <= set(screen("schema").replace("\u2502", " ").split())


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    error, hint = refused(2, "schema", "guardrails_lnt")
    assert "'guardrails_lnt'" in error
    assert hint.startswith("did you mean 'guardrails-lint'?")


def test_the_contracts_keys_are_required() -> None:
    definitions: dict[str, dict[str, object]] = {}
    for name in PRINTED:
        definitions |= json.loads(screen("schema", name))["$defs"]
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
