"""`tactful schema`: the JSON schema of what a command prints with `--json`, made from the struct that it prints."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from experiments.cli.console import Json, guarded, show
from experiments.cli.failures import cannot_write
from experiments.cli.terminal import write_json
from experiments.outputs import Output

# Where the struct of each command stands; modules are imported when they are asked for, or every command would be slow.
PRINTED: Final = {
    "import": "experiments.cli.judge.import_log:ImportOutput",
    "audit": "experiments.judge.audit:AuditOutput",
    "evaluate": "experiments.judge.evaluate:EvaluateOutput",
    "plan": "experiments.judge.planning.decisions:PlanOutput",
    "plan-learn": "experiments.judge.planning.learning:LearnOutput",
    "train": "experiments.judge.train:TrainOutput",
    "backtest": "experiments.judge.backtest:BacktestOutput",
    "ablate": "experiments.judge.ablate:AblateOutput",
    "promote": "experiments.judge.promotion:PromoteOutput",
    "rollback": "experiments.judge.promotion:RollbackOutput",
    "decide": "experiments.serve.decide:DecideOutput",
    "dispatch": "experiments.serve.dispatch:DispatchOutput",
    "explain": "experiments.serve.explain:ExplainOutput",
    "join": "experiments.cli.serve.join:JoinOutput",
    "remember": "experiments.serve.remember:RememberOutput",
    "monitor": "experiments.serve.monitor:MonitorOutput",
    "erase": "experiments.serve.erase:EraseOutput",
    "simulate": "experiments.simulate.outputs:SimulateOutput",
    "calibrate": "experiments.study.calibrate:CalibrateOutput",
    "experiment": "experiments.season.outputs:ExperimentOutput",
    "demo": "experiments.demo.run:DemoOutput",
    "schema": "experiments.cli.schema:SchemaNames",
    "catalog-preview": "experiments.serve.catalog_preview:CatalogPreviewOutput",
    "guardrails-lint": "experiments.serve.guardrails:LintOutput",
    "guardrails-diff": "experiments.serve.guardrails:DiffOutput",
    "guardrails-replay": "experiments.serve.replay:ReplayOutput",
    "guardrails-explain": "experiments.serve.guardrails:ExplainContactOutput",
    "state-record": "experiments.serve.state:StateRecordOutput",
    "state-expire": "experiments.serve.state:StateExpireOutput",
    "state-unsettled": "experiments.serve.state:StateUnsettledOutput",
    "state-settle": "experiments.serve.state:StateSettleOutput",
    "state-rebuild": "experiments.serve.state:StateRebuildOutput",
    "error": "experiments.outputs:ErrorOutput",
}


class SchemaNames(Output, frozen=True, kw_only=True):
    """`tactful schema --json`.

    Attributes:
        names: what has a schema: the commands, those of groups as GROUP-COMMAND, and `error`.
    """

    names: tuple[str, ...]


def run(
    name: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(PRINTED)}; without it they are listed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the JSON schema (draft 2020-12) of the object that a command prints with --json."""
    with guarded(as_json=as_json):
        if name is None:
            table = Table("name", title="JSON schemas")
            for known in PRINTED:
                table.add_row(known)
            show(SchemaNames(names=tuple(PRINTED)), [table], [], as_json=as_json)
            return
        text = json.dumps(schema_of(name), indent=2, sort_keys=True)
        try:
            write_json(text)
        except (OSError, ValueError) as error:
            raise cannot_write(error) from error


def printed(name: str) -> type[Output]:
    """The struct that a command prints.

    Raises:
        ParameterError: there is no such name.
    """
    from engine.errors import ParameterError
    from engine.names import did_you_mean

    if name not in PRINTED:
        hint = f"{did_you_mean(name, PRINTED)}`tactful schema` lists them"
        raise ParameterError("name", "schema", allowed=f"one of {', '.join(PRINTED)}", got=name, hint=hint)
    module, _, struct = PRINTED[name].partition(":")
    found: type[Output] = getattr(import_module(module), struct)
    return found


def schema_of(name: str) -> dict[str, Any]:
    """The JSON schema of the object that a command prints; the same struct gives the same schema on every machine.

    Raises:
        ParameterError: there is no such name.
    """
    import msgspec

    schema: dict[str, Any] = _ordered(msgspec.json.schema(printed(name)))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _ordered(node: Any) -> Any:
    """The same schema with alternatives in one order: versions of msgspec differ in theirs."""
    if isinstance(node, dict):
        ordered = {key: _ordered(value) for key, value in node.items()}
        if "anyOf" in ordered:
            ordered["anyOf"] = sorted(ordered["anyOf"], key=lambda option: json.dumps(option, sort_keys=True))
        return ordered
    return [_ordered(item) for item in node] if isinstance(node, list) else node
