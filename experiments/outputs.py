"""What the commands print with `--json`: one object each, as typed structs whose JSON schemas ship in `schemas/`."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from engine.ope.estimate import Estimate, Skipped
from engine.ope.plan import Need
from engine.ope.quantiles import Quantile
from engine.ope.uplift.policies import Uplift
from experiments.outputs_audit import AuditGate
from experiments.outputs_base import CommandOutput, Output
from experiments.outputs_launch import GateOutput, MetricRow, RuleCost, SupportRow, TreatmentOutput
from experiments.outputs_prices import PricesOutput, VolumeRow


class LogSummary(Output, frozen=True, kw_only=True):
    """What was evaluated.

    Attributes:
        rows: all rows of the log; `dropped` names those that no estimate uses.
        contacts: distinct contacts.
        actions: actions that the log could take (hold counts where the log could hold).
        propensity: "logged", or "absent".
        clusters: "contact" where rows of one cluster depend on each other, else "row".
        unit / description: of the metric, as the log declares them.
        hold: the catalog's name of sending nothing.
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
    unit: str = ""
    description: str = ""
    hold: str = "hold"


class EvaluateOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful evaluate --json`.

    Attributes:
        metrics: the stack of metrics of every policy, the baseline's first.
        quantiles: policy -> quantiles of the reward, the baseline's first; left out where none were asked for.
        uplift: how well each policy's chance to send says whom a message helps; left out where it was not asked for.
    """

    log: LogSummary
    results: tuple[Estimate, ...]
    metrics: tuple[MetricRow, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    files: dict[str, str] = {}
    quantiles: dict[str, tuple[Quantile, ...]] | msgspec.UnsetType = msgspec.UNSET
    uplift: tuple[Uplift, ...] | msgspec.UnsetType = msgspec.UNSET


class PlanOutput(Output, frozen=True, kw_only=True):
    """`tactful plan --json`.

    Attributes:
        difference: that is to be seen, in the metric's unit.
        baseline_value: what the baseline is worth, or null where it was not given.
        source: "pilot" or "moments".
        design_effect: how many times larger the variance is because rows of one contact depend on each other.
        plan: one row for each exploration.
    """

    difference: float
    baseline_value: float | None
    alpha: float
    power: float
    interval: str
    source: str
    design_effect: float
    plan: tuple[Need, ...]
    notes: tuple[str, ...] = ()
    files: dict[str, str] = {}


class Launch(Output, frozen=True, kw_only=True):
    """What to launch.

    Attributes:
        policy: the policy to launch, as named in the results.
        verdict: better | worse | no difference | insufficient, of the learned policy against the baseline.
        reason: one sentence with the figures that decided.
    """

    policy: str
    verdict: str
    reason: str


class BacktestOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful backtest --json`.

    Attributes:
        comparisons: further differences of the learned policy and the segments, by the deciding estimator.
        volume: what each policy sends, expected over its exact distributions on the log's contexts.
        metrics: the stack of metrics of the policies with a name, the baseline's first.
        gate: whether the learned policy may take the place of the baseline; null without a stack of metrics.
        support: how much of the log speaks for the baseline and for the learned policy.
        treatment: who is treated differently by the learned policy; null where the baseline's choices are not known.
        rules: what each guardrail rule takes away, where the log keeps what the rules read.
        provenance: versions, hashes and seeds.
        audit: what the audit of the log said before anything was learnt; null where none ran.
    """

    log: LogSummary
    results: tuple[Estimate, ...]
    launch: Launch
    comparisons: tuple[Estimate, ...] = ()
    volume: tuple[VolumeRow, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    gate: GateOutput | None = None
    support: tuple[SupportRow, ...] = ()
    treatment: TreatmentOutput | None = None
    rules: tuple[RuleCost, ...] = ()
    provenance: dict[str, str] = {}
    audit: AuditGate | None = None
    skipped: tuple[Skipped, ...] = ()
    split: dict[str, Any] = {}
    files: dict[str, str] = {}


class KeyOutput(Output, frozen=True, kw_only=True):
    """Which contact key a command used, without the key itself.

    Attributes:
        source: "environment" or "file".
        file: path of the file; null for the environment.
        created: whether this run made the key.
        fingerprint: by which two keys are told apart.
        warnings: why the key hides less than it should.
    """

    source: str
    file: str | None
    created: bool
    fingerprint: str
    warnings: tuple[str, ...] = ()


class ImportOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful import --json`.

    Attributes:
        contact_key: the key under which the contacts' ids were replaced.
        notes: sentences that every report of the log repeats, the warnings among them.
        warnings: what is wrong with rows that were lost; the audit fails on them.
    """

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
    contact_key: KeyOutput | None = None


class TrainOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful train --json`.

    Attributes:
        rows: decisions learnt from, those of `--from` included.
        known_rows: usable rows of the log that the folder of `--from` had learnt from before; they were passed over.
        parity: null where VW serves the policy itself.
        responses: models of p_respond and p_unsub: role -> metric.
        audit: what the audit of the log said before anything was learnt; null where none ran.
    """

    policy: str
    folder: str
    metric: str
    rows: int
    actions: int
    parity: float | None
    version: str
    known_rows: int = 0
    responses: dict[str, str] = {}
    audit: AuditGate | None = None


class DecideOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful decide --json`.

    Attributes:
        sends: per action name, how often it was chosen; hold is counted in `held`.
        held: contacts that get no message now.
        held_all_removed: of those, contacts for which guardrails removed every send.
        removed: rule -> (contact, action) pairs that it removes.
        blocked_contacts: rule -> contacts for which it alone removes every send.
        brakes: "channel rate" -> tier, of the brakes that are on; warnings are among them.
        suppressed: sends that were drawn but found no room in the state store; they are recorded as suppressed.
        suppressed_by: cap -> sends that it refused.
        limited: set-level limit -> contacts from whom it took some send.
        prices: budgets that are met in expectation, with their prices; null where there are none.
        contact_key: the key of the contacts' pseudonyms; null in a demonstration, whose key is fixed.
        rules: rule -> its name and what it does.
        decided_before: of the contacts, those whose decision an earlier run has taken; it is read from the state store,
            and `removed` and `blocked_contacts` do not count them.
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
    brakes: dict[str, str] = {}
    suppressed: int = 0
    suppressed_by: dict[str, int] = {}
    limited: dict[str, int] = {}
    prices: PricesOutput | None = None
    contact_key: KeyOutput | None = None
    rules: dict[str, str] = {}
    decided_before: int = 0


class DispatchOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful dispatch --json`.

    Attributes:
        outcomes: the file of events `dispatched` and `suppressed`.
        decisions: rows of the decision log; of them `holds` have nothing to send, `done` have a state already.
        not_due: sends planned for later; they stay decided.
        deferred: second sends of a contact who got one in this run; they stay decided.
        dispatched / suppressed: events written.
        unknown_contacts: of the suppressed, decisions whose contact is not in the contact file.
        reasons: rule -> suppressed sends that it refuses; a send may have several.
        unsettled: sends that another run has handed over, or was about to when it died; nothing is written of them.
        contact_key: the key of the contacts' pseudonyms; null with a store where none was given.
        rules: code of a rule that refused a send -> its name and what it does.
        unsettled / unsettled_ids: sends that another run has taken and nobody has settled; nothing is written of them,
            and the command leaves with exit code 9.
        settled_since: outcomes written of sends that an earlier run took and somebody settled by hand.
        finished: the outcome file of this very run was there already; what it says is settled, nothing else was done.
    """

    outcomes: str
    decisions: int
    holds: int
    done: int
    not_due: int
    deferred: int
    dispatched: int
    suppressed: int
    unknown_contacts: int
    reasons: dict[str, int]
    pack: str
    now: str
    unsettled: int = 0
    contact_key: KeyOutput | None = None
    rules: dict[str, str] = {}
    unsettled_ids: tuple[str, ...] = ()
    settled_since: int = 0
    finished: bool = False


class MetricJoin(Output, frozen=True, kw_only=True):
    """Outcomes of one metric: credited and late ones; decisions with and without a reward yet."""

    credited: int
    late: int
    matured: int
    pending: int


class JoinOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful join --json`; see `engine.log.join.JoinReport` for every count.

    Attributes:
        given: outcomes that are no states of the dispatch, each once.
        credited: of them, that some metric counts.
        late: of them, outside the window of every metric that reads them.
        unread: event that no metric reads -> outcomes.
        taken_back: decisions reported as dispatched and as suppressed; they count as not sent.
    """

    log: str
    decisions: int
    unusable: int
    outcomes: int
    duplicates: int
    after_now: int
    before_decision: int
    without_decision: int
    unused: int
    illegal_states: int
    taken_back: int
    metrics: dict[str, MetricJoin]
    given: int = 0
    credited: int = 0
    late: int = 0
    unread: dict[str, int] = {}


class RemovalRow(Output, frozen=True, kw_only=True):
    """Why one action was removed."""

    rule: str
    reason: str
    observed: Any = None
    limit: Any = None
    next_allowed_at: str | None = None


class ErrorOutput(Output, frozen=True, kw_only=True):
    """Any command with `--json` that failed."""

    error: str
    hint: str


OUTPUTS: dict[str, type[Output]] = {
    "import": ImportOutput,
    "evaluate": EvaluateOutput,
    "plan": PlanOutput,
    "backtest": BacktestOutput,
    "train": TrainOutput,
    "decide": DecideOutput,
    "dispatch": DispatchOutput,
    "join": JoinOutput,
    "error": ErrorOutput,
}


def json_schema(output: type[Output]) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of an object that a command prints."""
    schema: dict[str, Any] = _ordered(msgspec.json.schema(output))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _ordered(node: Any) -> Any:
    """The same schema with alternatives in one order: versions of msgspec differ in theirs."""
    if isinstance(node, dict):
        ordered = {key: _ordered(value) for key, value in node.items()}
        if "anyOf" in ordered:
            ordered["anyOf"] = sorted(ordered["anyOf"], key=lambda option: json.dumps(option, sort_keys=True))
        return ordered
    return [_ordered(item) for item in node] if isinstance(node, list) else node


def json_bytes(output: Output) -> bytes:
    """The object that `--json` prints, indented, with full-precision figures."""
    try:
        return msgspec.json.format(msgspec.json.encode(output), indent=2)
    except UnicodeEncodeError:
        # Names of files may hold bytes that are no UTF-8; as escapes they stay what they are.
        return json.dumps(msgspec.to_builtins(output), indent=2).encode()
