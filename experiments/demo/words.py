"""An act in sentences, whatever happened in it: the promise, what was possible, the decision, and what it was worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.ope.estimate import Difference, Estimate
from experiments.demo.acts import LIVE_DAYS
from experiments.demo.live import SILENCE, LivePolicy
from experiments.demo.possible import Possible
from experiments.judge.contenders import LEARNED, SEGMENTS
from experiments.judge.launch.recommend import BETTER, NO_DIFFERENCE, WORSE, Launch
from experiments.report.words import amount, between, capital

_NAMES: Final = {LEARNED: "the learned policy", SEGMENTS: "the segments", SILENCE: "silence", "always:hold": "silence"}
_LIVED: Final = {
    BETTER: "earned more than the segments",
    WORSE: "earned less than the segments",
    NO_DIFFERENCE: "made no difference to the segments that shows",
}


@dataclass(frozen=True)
class Told:
    """What an act is told from.

    Attributes:
        launch: the decision.
        promised: the learned policy, by the estimator that decides.
        total: the same difference in all money.
        true: what was possible.
        live: what then happened.
        contacts: of the list that the month's money is said for.
    """

    launch: Launch
    promised: Estimate
    total: Difference | None
    true: Possible
    live: dict[str, LivePolicy]
    contacts: int


def sentences(told: Told) -> tuple[str, ...]:
    """The act in words. Every figure that an answer rests on stands in it, and nothing that did not happen."""
    return (*_promise(told), _decision(told), *_lived(told))


def _usd(value: float | None) -> str:
    return amount(value, "usd", signed=True)


def _between(low: float | None, high: float | None) -> str:
    return between(low, high, "usd", signed=True)


def _promise(told: Told) -> list[str]:
    gap, true, total = told.promised.difference, told.true, told.total
    said = ["The log gives no estimate with an interval for the learned policy."]
    if gap is not None and gap.low is not None and gap.high is not None:
        level = f"{100 * (1 - told.promised.alpha):g} %"
        promise = (
            f"The log promises {_usd(gap.value)} per decision for the learned policy over today's segments, by "
            f"lifecycle stage, {level} interval {_between(gap.low, gap.high)}: what clicks are worth, less costs, lost "
            "permissions and a charge for discounts."
        )
        said = [promise]
    said.append(f"The truth of the same decisions is {_usd(true.learned)}{_place(gap, true)}; {_most(true)}.")
    if gap is not None and gap.low is not None and gap.low > true.most:
        said.append("The whole interval lies above what is possible: this log misleads.")
    if total is not None and total.low is not None:
        said.append(
            f"In all money, with the orders that come by themselves, the same log says {_usd(total.value)} "
            f"({_between(total.low, total.high)})."
        )
    return said


def _place(gap: Difference | None, true: Possible) -> str:
    if gap is None or gap.low is None or gap.high is None:
        return ""
    return f", {'inside' if gap.low <= true.learned <= gap.high else 'outside'} that interval"


def _most(true: Possible) -> str:
    return f"the most that is possible, for whoever knows everybody's motives and moods, is {_usd(true.most)}"


def _decision(told: Told) -> str:
    launched = told.launch.policy
    if launched == LEARNED:
        return "Decision: launch the learned policy. Its interval lies above 0, and no guardrail metric is against it."
    reason = {
        BETTER: "the learned policy is shown to be better, but a guardrail metric stands against it",
        WORSE: "the learned policy is shown to be worse",
        NO_DIFFERENCE: "the learned policy is not shown to be better",
    }.get(told.launch.verdict, "the log cannot judge the learned policy")
    if launched == SEGMENTS:
        return f"Decision: the segments stay, because {reason}."
    return f"Decision: {_NAMES.get(launched, launched)}. {capital(reason)}, and the segments are shown to be worse."


def _lived(told: Told) -> list[str]:
    row, quiet = told.live[LEARNED], told.live[SILENCE]
    lived = (
        f"{LIVE_DAYS} days live, the same people and luck for all: the learned policy {_LIVED[row.verdict]}, "
        f"{_usd(row.difference)} per decision (95 % interval {_between(row.difference_low, row.difference_high)})."
    )
    said = [lived]
    if row.month is not None:
        said.append(_month(told, row.month))
    said.append(f"Silence {_LIVED[quiet.verdict]}, {_usd(quiet.difference)} per decision.")
    said.append(
        "The promise is about single decisions in the states of the log; a month live holds all money, with fatigue "
        f"and lost permissions. As many days live as the log knows brought {_usd(row.live_first)} per decision."
    )
    return said


def _month(told: Told, month: float) -> str:
    """What the decision was worth, by the truth of the world."""
    size = f"on a list of {told.contacts:,} contacts in {LIVE_DAYS} days"
    money = f"${abs(month) * told.contacts:,.0f}"
    if told.live[LEARNED].verdict == NO_DIFFERENCE:
        size += ", no more than luck may make"
    if told.launch.policy == LEARNED:
        if month >= 0:
            return f"The launch brought {money} more than the segments {size}."
        return f"The launch cost {money} against the segments {size}: the log was wrong."
    if month < 0:
        return f"The gate saved {money}: so much launching anyway would have cost against the segments {size}."
    return f"The gate's caution cost {money}: so much launching anyway would have brought over the segments {size}."
