"""Writes conf/guardrails/pack.schema.json from the structs of packs and rules, so that it cannot drift from the code.

`python -m engine.guardrails.lint.schema PATH` writes it anew. Editors complete and check packs with it; what it cannot
say (a number against another, a window's spelling) `tactful guardrails lint` checks.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.guardrails.pack import Pack, RuleEntry
from engine.guardrails.registry import rule_class, shipped_rules

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FOREIGN_RULE: Final = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
_REF: Final = "#/$defs/{name}"


def pack_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a pack, with the parameters of every rule that ships."""
    names = shipped_rules()
    kinds = [rule_class(name) for name in names]
    (pack, entry, *params), defs = msgspec.json.schema_components([Pack, RuleEntry, *kinds], ref_template=_REF)
    entry_name = entry["$ref"].rpartition("/")[2]
    common = defs.pop(entry_name)
    choices = []
    for name, reference in zip(names, params, strict=True):
        choices.append({"$ref": _REF.format(name=f"rule_{name}")})
        defs[f"rule_{name}"] = _entry_of(common, {"const": name}, reference, kinds[names.index(name)])
    choices.append({"$ref": _REF.format(name="rule_of_your_own")})
    defs["rule_of_your_own"] = _entry_of(common, {"type": "string", "pattern": FOREIGN_RULE}, {"type": "object"}, None)
    defs[entry_name] = {"title": common["title"], "description": common["description"], "anyOf": choices}
    for part in defs.values():
        if "description" in part:
            part["description"] = inspect.cleandoc(part["description"])
    made = {"$schema": DIALECT, "title": "A guardrail pack of Tactful", **pack, "$defs": dict(sorted(defs.items()))}
    # Defaults are tuples; what is compared with the file must be what JSON gives back.
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


def _entry_of(
    common: dict[str, Any], name: dict[str, Any], params: dict[str, Any], kind: type[Any] | None
) -> dict[str, Any]:
    """A rule entry whose `params` are those of one rule; mandatory where the rule has a parameter without default."""
    made = {key: value for key, value in common.items() if key != "description"}
    made["title"] = name.get("const", "A rule of your own")
    made["properties"] = {**common["properties"], "rule": name, "params": params}
    if kind is not None and any(field.required for field in msgspec.structs.fields(kind)):
        made["required"] = [*common["required"], "params"]
    return made


def schema_text() -> str:
    """What the file holds."""
    return json.dumps(pack_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    """Write the schema to the path of the first argument."""
    Path(arguments[0]).write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
