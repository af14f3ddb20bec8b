"""What the commands of `tactful guardrails` print with `--json`: one object each, as typed structs."""

from __future__ import annotations

from typing import Any

from engine.guardrails.lint.flaws import Flaw
from experiments.outputs import OUTPUTS, RemovalRow
from experiments.outputs_base import Output


class LintOutput(Output, frozen=True, kw_only=True):
    """`tactful guardrails lint --json`.

    Attributes:
        pack: as it was named.
        rules: entries of the pack.
        errors / warnings: how many.
        ok: whether the exit code is 0.
    """

    pack: str
    rules: int
    errors: int
    warnings: int
    ok: bool
    flaws: tuple[Flaw, ...]


class RuleShare(Output, frozen=True, kw_only=True):
    """(contact, action) pairs that change, credited to one rule.

    Attributes:
        id / rule: of the pack that removes the pair.
        pairs: that the rule removes; another rule may remove them as well.
        alone: of these, pairs that no other rule of that pack removes.
    """

    id: str
    rule: str
    pairs: int
    alone: int


class Change(Output, frozen=True, kw_only=True):
    """Actions gained, or actions lost.

    Attributes:
        contacts: that gain, or lose, at least one action.
        pairs: (contact, action).
        by_channel / by_arm / by_hour: pairs; all of the catalog's names, also those with 0.
        by_rule: for losses the rules of the second pack that remove, for gains those of the first that removed.
    """

    contacts: int
    pairs: int
    by_channel: dict[str, int]
    by_arm: dict[str, int]
    by_hour: dict[str, int]
    by_rule: tuple[RuleShare, ...]


class DiffOutput(Output, frozen=True, kw_only=True):
    """`tactful guardrails diff --json`.

    Attributes:
        first / second: versions of the packs.
        held: contacts that the second pack leaves with hold alone, and the first does not.
        freed: the other way round.
    """

    first: str
    second: str
    catalog: str
    now: str
    contacts: int
    gained: Change
    lost: Change
    held: int
    freed: int
    out: str | None = None


class Price(Output, frozen=True, kw_only=True):
    """What a rule would have cost, estimated from the log; hypothetical in any case.

    Attributes:
        hypothetical: always true: nobody applied the rule on this log.
        instead: what would have been done where the rule removes the logged choice: "hold" or "next".
        estimator: snips or ips.
        value: value of the logged policy minus value with the rule, per decision, in the metric's unit; null where
            the log does not support a figure.
        low / high: its interval at 1 - alpha.
        total: `value` times the decisions it was judged on.
        n / ess: decisions, and what they are worth for this question.
        verdict: of the policy with the rule against the logged one: better | worse | no difference | insufficient.
        notes: reservations.
    """

    hypothetical: bool = True
    instead: str
    metric: str
    estimator: str
    value: float | None
    low: float | None
    high: float | None
    alpha: float
    total: float | None
    n: int
    ess: float | None
    verdict: str
    notes: tuple[str, ...] = ()


class ReplayRule(Output, frozen=True, kw_only=True):
    """What one rule would have done.

    Attributes:
        blocked: logged sends that it would have removed.
        alone: of these, sends that no other rule of the pack removes.
        lacking: decisions whose record lacks an input of the rule; there it removes everything in its scope.
        prices: estimates; empty where there are none, and then `not_priced` says why.
    """

    id: str
    rule: str
    kind: str
    blocked: int
    alone: int
    lacking: int
    prices: tuple[Price, ...] = ()
    not_priced: str = ""


class ReplayOutput(Output, frozen=True, kw_only=True):
    """`tactful guardrails replay --json`.

    Attributes:
        pack: version of the pack that is tried; `logged_pack` of the one that decided.
        decisions / sends: of the log.
        blocked: logged sends that the pack as a whole would have removed.
        hypothetical: always true.
    """

    log: str
    pack: str
    logged_pack: str
    decisions: int
    sends: int
    blocked: int
    rules: tuple[ReplayRule, ...]
    hypothetical: bool = True
    notes: tuple[str, ...] = ()


class ExplainedAction(Output, frozen=True, kw_only=True):
    """One action for one contact; no reasons: allowed."""

    action: str
    allowed: bool
    removed_by: tuple[RemovalRow, ...] = ()


class ExplainContactOutput(Output, frozen=True, kw_only=True):
    """`tactful guardrails explain --json`.

    Attributes:
        allowed / removed: send actions; together all of the catalog's. Hold is always allowed.
    """

    contact: str
    now: str
    pack: str
    catalog: str
    allowed: int
    removed: int
    actions: tuple[ExplainedAction, ...]


GUARDRAIL_OUTPUTS: dict[str, type[Output]] = {
    "guardrails-lint": LintOutput,
    "guardrails-diff": DiffOutput,
    "guardrails-replay": ReplayOutput,
    "guardrails-explain": ExplainContactOutput,
    "error": OUTPUTS["error"],
}


def plain(value: Any) -> Any:
    """A finding's value as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    return value.item() if hasattr(value, "item") else value
