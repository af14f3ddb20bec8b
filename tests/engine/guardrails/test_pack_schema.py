"""conf/guardrails/pack.schema.json is what the structs say, and refuses what they refuse."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from engine.catalog import Arm, Catalog
from engine.errors import ConfigError
from engine.guardrails.layer import Guardrails
from engine.guardrails.lint.schema import main, pack_schema, schema_text
from engine.guardrails.pack import pack_from, read_pack
from engine.guardrails.registry import shipped_rules

CATALOG = Catalog(name="s", channels=("email", "sms"), hours=(9, "now"), arms=(Arm(id="a", approved=True),))


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = pack_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def default() -> Any:
    return msgspec.to_builtins(read_pack())


def test_the_file_is_up_to_date(root: Path) -> None:
    stored = (root / "conf" / "guardrails" / "pack.schema.json").read_text(encoding="utf-8")
    remedy = "run `python -m engine.guardrails.lint.schema conf/guardrails/pack.schema.json`"
    assert stored == schema_text(), remedy


def test_the_command_writes_it(tmp_path: Path) -> None:
    main([str(tmp_path / "schema.json")])
    assert json.loads((tmp_path / "schema.json").read_text(encoding="utf-8")) == pack_schema()


def test_every_shipped_rule_has_its_parameters_in_it() -> None:
    defs = pack_schema()["$defs"]
    for name in shipped_rules():
        assert defs[f"rule_{name}"]["properties"]["rule"] == {"const": name}
        assert "$ref" in defs[f"rule_{name}"]["properties"]["params"]


def test_every_shipped_pack_is_valid(root: Path, validator: jsonschema.Draft202012Validator) -> None:
    packs = list((root / "conf" / "guardrails").glob("*.yaml"))
    assert packs
    for path in packs:
        validator.validate(msgspec.to_builtins(read_pack(path)))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("colour",), 1),
        (("rules", 0, "kind"), "guess"),
        (("rules", 1, "rule"), "nonsense"),
        (("rules", 0, "on_missing"), "allow"),
        (("rules", 0, "params"), {"channels": []}),
        (("rules", 4, "params", "caps", 0, "maxx"), 1),
        (("rules", 4, "params", "caps", 0, "max"), "one"),
        (("rules", 4, "params", "caps"), None),
        (("latency_margin_s",), "soon"),
    ],
)
def test_schema_and_structs_refuse_the_same(
    where: tuple[str | int, ...], value: Any, validator: jsonschema.Draft202012Validator
) -> None:
    data = default()
    assert validator.is_valid(data)
    Guardrails(pack_from(copy.deepcopy(data)), CATALOG)
    part = data
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = value
    assert not validator.is_valid(data)
    with pytest.raises(ConfigError):
        Guardrails(pack_from(data), CATALOG)


def test_a_rule_of_your_own_may_have_any_parameters(validator: jsonschema.Draft202012Validator) -> None:
    data = default()
    data["rules"][0] |= {"rule": "mine.rules:NoFlorida", "params": {"state": "FL"}}
    assert validator.is_valid(data)
