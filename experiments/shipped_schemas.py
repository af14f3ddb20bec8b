"""The JSON schemas that ship in `schemas/`, one per command: written from the structs, so that they cannot differ.

`python -m experiments.shipped_schemas` writes them anew after a change of `experiments.outputs`.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Final

from experiments.outputs import OUTPUTS, json_schema
from experiments.outputs_ablate import ABLATE_OUTPUTS
from experiments.outputs_audit import AUDIT_OUTPUTS
from experiments.outputs_base import Output
from experiments.outputs_calibrate import CALIBRATE_OUTPUTS
from experiments.outputs_erase import ERASE_OUTPUTS
from experiments.outputs_experiment import EXPERIMENT_OUTPUTS
from experiments.outputs_explain import EXPLAIN_OUTPUTS
from experiments.outputs_guardrails import GUARDRAIL_OUTPUTS
from experiments.outputs_monitor import MONITOR_OUTPUTS
from experiments.outputs_promotion import PROMOTION_OUTPUTS
from experiments.outputs_simulate import SIMULATE_OUTPUTS
from experiments.outputs_state import STATE_OUTPUTS
from experiments.serve.catalog_preview import CATALOG_OUTPUTS

FOLDER = "schemas"
ALL: Final[dict[str, type[Output]]] = (
    OUTPUTS
    | AUDIT_OUTPUTS
    | MONITOR_OUTPUTS
    | EXPLAIN_OUTPUTS
    | ABLATE_OUTPUTS
    | PROMOTION_OUTPUTS
    | GUARDRAIL_OUTPUTS
    | CATALOG_OUTPUTS
    | STATE_OUTPUTS
    | ERASE_OUTPUTS
    | SIMULATE_OUTPUTS
    | CALIBRATE_OUTPUTS
    | EXPERIMENT_OUTPUTS
)


def schema_text(command: str) -> str:
    """The content of `schemas/<command>.schema.json`; keys are sorted, so that the same structs give the same bytes."""
    return json.dumps(json_schema(ALL[command]), indent=2, sort_keys=True) + "\n"


def shipped_schema(command: str) -> str:
    """The text that lies in the package."""
    return (resources.files("experiments") / FOLDER / f"{command}.schema.json").read_text(encoding="utf-8")


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into a folder that exists; returns the paths."""
    paths = [folder / f"{command}.schema.json" for command in ALL]
    for command, path in zip(ALL, paths, strict=True):
        path.write_text(schema_text(command), encoding="utf-8")
    return paths


if __name__ == "__main__":
    write_schemas(Path(__file__).parent / FOLDER)
