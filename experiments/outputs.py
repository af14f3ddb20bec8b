"""What the commands print with `--json`: one object each, as typed structs whose JSON schemas ship in `schemas/`."""

from __future__ import annotations

from typing import Any

import msgspec


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every object that a command prints."""


class LogSummary(Output):
    """What was evaluated.

    Attributes:
        rows: all rows of the log; `dropped` names those that no estimate uses.
        contacts: distinct contacts.
        actions: actions that the log could take (hold counts where the log could hold).
        propensity: "logged", or "absent".
        clusters: "contact" where rows of one cluster depend on each other, else "row".
    """

    path: str
    rows: int
    contacts: int
    actions: int
    metric: str
    dropped: dict[str, int]
    propensity: str
    clusters: str
    notes: tuple[str, ...] = ()


class DifferenceRow(Output):
    """Value of the policy minus value of the baseline, on the same rows."""

    baseline: str
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None


class ResultRow(Output):
    """One policy by one estimator; null where a figure is not defined."""

    policy: str
    metric: str
    estimator: str
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None
    alpha: float
    n: int
    ess: float | None
    mean_weight: float | None
    max_weight: float | None
    unsupported_mass: float
    verdict: str
    difference: DifferenceRow | None
    exact: bool = True
    interval: str = ""
    notes: tuple[str, ...] = ()


class Skipped(Output):
    """A policy x estimator that is not defined on this log, and why."""

    policy: str
    estimator: str
    reason: str


class EvaluateOutput(Output):
    """`tactful evaluate --json`."""

    log: LogSummary
    results: tuple[ResultRow, ...]
    skipped: tuple[Skipped, ...] = ()
    files: dict[str, str] = {}


class Launch(Output):
    """What to launch.

    Attributes:
        policy: the policy to launch, as named in the results.
        verdict: better | worse | no difference | insufficient, of the learned policy against the baseline.
        reason: one sentence with the figures that decided.
    """

    policy: str
    verdict: str
    reason: str


class BacktestOutput(Output):
    """`tactful backtest --json`.

    Attributes:
        comparisons: further differences of the learned policy and the segments, by the deciding estimator.
    """

    log: LogSummary
    results: tuple[ResultRow, ...]
    launch: Launch
    comparisons: tuple[ResultRow, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    split: dict[str, Any] = {}
    files: dict[str, str] = {}


class ImportOutput(Output):
    """`tactful import --json`."""

    rows_read: int
    rows_kept: int
    rows_rejected: int
    reasons: dict[str, int]
    actions: int
    action_names: tuple[str, ...]
    propensity: str
    log: str
    rejects: str | None
    notes: tuple[str, ...] = ()


class TrainOutput(Output):
    """`tactful train --json`."""

    policy: str
    folder: str
    metric: str
    rows: int
    actions: int
    parity: float
    version: str


class DecideOutput(Output):
    """`tactful decide --json`.

    Attributes:
        sends: per action name, how often it was chosen; hold is counted in `held`.
        held: contacts that get no message now.
        held_all_removed: of those, contacts for which guardrails removed every send.
        removed: rule -> (contact, action) pairs that it removes.
        blocked_contacts: rule -> contacts for which it alone removes every send.
    """

    log: str
    contacts: int
    held: int
    held_all_removed: int
    sends: dict[str, int]
    by_channel: dict[str, int]
    removed: dict[str, int]
    blocked_contacts: dict[str, int]
    policy: str
    pack: str
    now: str


class RemovalRow(Output):
    """Why one action was removed."""

    rule: str
    reason: str
    observed: Any = None
    limit: Any = None
    next_allowed_at: str | None = None


class ActionRow(Output):
    """One action of one decision."""

    action: str
    eligible: bool
    score: float | None
    probability: float
    removed_by: tuple[RemovalRow, ...] = ()


class ExplainOutput(Output):
    """`tactful explain --json`."""

    decision_id: str
    decided_at: str
    action: str
    propensity: float
    actions: tuple[ActionRow, ...]


class ErrorOutput(Output):
    """Any command with `--json` that failed."""

    error: str
    hint: str


OUTPUTS: dict[str, type[Output]] = {
    "import": ImportOutput,
    "evaluate": EvaluateOutput,
    "backtest": BacktestOutput,
    "train": TrainOutput,
    "decide": DecideOutput,
    "explain": ExplainOutput,
    "error": ErrorOutput,
}


def json_schema(command: str) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of what a command prints."""
    schema: dict[str, Any] = msgspec.json.schema(OUTPUTS[command])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
