"""What to launch: the rule that turns a backtest's differences into one recommendation."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ope.estimate import Difference, Estimate
from engine.ope.metrics.gate import Gate
from experiments.outputs import Output

BETTER, WORSE, NO_DIFFERENCE, INSUFFICIENT = "better", "worse", "no difference", "insufficient"


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


@dataclass(frozen=True)
class Contest:
    """The rows that decide, all by the deciding estimator, fixed before the results are seen.

    Attributes:
        learned: the learned policy against the baseline (what the log did by default).
        today: the baseline against doing nothing (hold, or the logged policy where the log never held); None where
            the baseline is that itself.
        gate: what the promotion gate says to the learned policy; None where no metrics were asked for.
        any_send: a message drawn alike from all that may be sent, against doing nothing; None where nothing was never
            done.
    """

    learned: Estimate
    today: Estimate | None
    gate: Gate | None = None
    any_send: Estimate | None = None


def recommend(contest: Contest) -> Launch:
    """Recommend the learned policy only where it is shown to be better, else today's practice.

    The order is fixed: (1) the learned policy, if better than the baseline and no guardrail metric stands against it;
    (2) doing nothing, if the log can judge the learned policy and shows the baseline to be worse than doing nothing,
    unless it shows any message at all, drawn by chance, to be better than none: there the practice is at fault, not the
    sending; (3) the baseline. What a log cannot tell apart is no reason to change: doing nothing is an extreme like any
    other, and it costs every sale that messages bring. So too little support, or intervals too wide to show a
    difference, always leave things as they are.
    """
    learned, today = contest.learned, contest.today
    refused = refusals(contest.gate)
    if learned.verdict == BETTER and not refused:
        return Launch(policy=learned.policy, verdict=BETTER, reason=_sentence(learned, "is better than"))
    why = {
        BETTER: f"{_sentence(learned, 'is better than')}, but the gate refuses it: {refused}",
        WORSE: _sentence(learned, "is worse than"),
        NO_DIFFERENCE: _sentence(learned, "is not shown to differ from"),
    }.get(learned.verdict, f"the log supports {learned.policy} too little to judge it")
    baseline = learned.difference.baseline if learned.difference else "the baseline"
    if today is None or today.difference is None:
        return Launch(policy=baseline, verdict=learned.verdict, reason=f"{why}; stay with {baseline}")
    nothing = today.difference.baseline
    helps = contest.any_send is not None and contest.any_send.verdict == BETTER
    if today.verdict == WORSE and learned.verdict in (BETTER, WORSE, NO_DIFFERENCE) and not helps:
        reason = f"{why}; {_sentence(today, 'is worse than')}"
        return Launch(policy=nothing, verdict=learned.verdict, reason=reason)
    known = {
        BETTER: f"; {_sentence(today, 'is better than')}",
        WORSE: f", although {_sentence(today, 'is worse than')}",
    }.get(today.verdict, f", which is not shown to be worse than {nothing}")
    reason = f"{why}; stay with {baseline}{known}"
    if today.verdict == WORSE and helps and contest.any_send is not None:
        reason += (
            f", but {_sentence(contest.any_send, 'is better than')}: messages help, the choice among them does not"
        )
    return Launch(policy=baseline, verdict=learned.verdict, reason=reason)


def refusals(gate: Gate | None) -> str:
    """What the guardrail metrics hold against a launch; "" where they hold nothing."""
    if gate is None:
        return ""
    return "; ".join(check.reason for check in gate.checks if check.blocks and check.role == "guardrail")


def _sentence(row: Estimate, relation: str) -> str:
    difference = row.difference
    if difference is None:
        return f"{row.policy} has no baseline"
    return f"{row.policy} {relation} {difference.baseline}: {_figures(difference, row.alpha)}"


def _figures(difference: Difference, alpha: float) -> str:
    if difference.value is None or difference.low is None or difference.high is None:
        return "no interval"
    confidence = 100 * (1 - alpha)
    return f"{difference.value:+.4g} ({confidence:g} % interval {difference.low:+.4g} to {difference.high:+.4g})"
