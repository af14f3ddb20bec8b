"""`tactful train`: learn a policy from a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, OverrideAudit, Overrides, Replace, free_out, guarded, progress, show
from experiments.cli.inputs import Log


def run(
    log: Log,
    metric: Annotated[str, typer.Option(help="The reward to learn, a metric of the log.")],
    out: Annotated[Path, typer.Option(help="Folder of the trained policy; it appears whole or not at all.")],
    start: Annotated[
        Path | None,
        typer.Option("--from", help="A trained folder to go on from; it keeps its learner and exploration."),
    ] = None,
    also: Annotated[
        str,
        typer.Option(help="Metrics of p_respond and p_unsub to model as well: click,unsubscribed or respond=NAME."),
    ] = "",
    override_audit: OverrideAudit = None,
    replace: Replace = False,
    as_json: Json = False,
    overrides: Overrides = None,
) -> None:
    """Train a Vowpal Wabbit contextual bandit and compile it.

    The folder holds VW's model to learn on, the score tables to serve with, and a manifest with the parity measured
    between the two. Overrides, for instance: learner=dr exploration=softmax learner.learning_rate=0.1.
    """
    from engine.errors import ParameterError
    from experiments.judge.audit import gate_sentence
    from experiments.judge.train import train_on_log
    from experiments.settings import TrainConfig, compose_settings
    from policies.vw.responses import asked_for

    with guarded(as_json=as_json):
        free_out(out, replace=replace or start == out, inputs=[log], folder=True)
        if start is not None and overrides:
            raise ParameterError(
                "overrides", "train --from", allowed="none: the folder keeps its own", got=overrides, hint="drop --from"
            )
        config = compose_settings("train", overrides or [], TrainConfig)
        with progress("training", None):
            output = train_on_log(log, metric, out, config, start, asked_for(also), override_audit)
        table = Table("metric", "rows", "actions", "parity", title="Trained policy")
        table.add_row(
            output.metric,
            str(output.rows),
            str(output.actions),
            "n/a" if output.parity is None else f"{output.parity:.2g}",
        )
        lines = [f"policy: {output.folder}"]
        if output.known_rows:
            lines.append(f"{output.known_rows:,} rows of the log were learnt from before, so they were passed over")
        lines += [f"audit: {gate_sentence(output.audit)}"]
        lines += output.said
        show(output, [table], lines, as_json=as_json)
