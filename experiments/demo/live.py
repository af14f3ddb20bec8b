"""Thirty days live: the learned policy, the segments and silence for the same fresh contacts, under the same luck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.guardrails.conditions import Conditions
from experiments.demo.acts import LIVE_DAYS
from experiments.judge.backtest import BacktestOutput
from experiments.judge.contenders import LEARNED, SEGMENTS
from experiments.judge.launch.prepared import Prepared
from experiments.judge.launch.recommend import BETTER, NO_DIFFERENCE, WORSE
from experiments.outputs import Output
from simulator.rollout import HoldActor, PolicyActor
from simulator.scenario import Scenario
from simulator.truth import Comparison, Subject, Value, compare

SILENCE: Final = "no_contact"


class LivePolicy(Output, frozen=True, kw_only=True):
    """One policy of the demonstration: what the log said of it, and what then happened.

    Attributes:
        offline / offline_low / offline_high: what the log said of the policy less the static segments, USD per decision
            by the deciding estimator, with its interval; null for the segments themselves, and where it is not defined.
        offline_verdict: against the static segments, on the log.
        live: USD per decision over the live days.
        live_first: `live` less that of the static segments, over as many days as the backtest saw; null for the
            segments themselves.
        live_stderr: Monte Carlo standard error of `live`, by contact.
        difference / difference_low / difference_high: `live` less that of the static segments under the same luck, with
            its 95 % interval; null for the segments themselves.
        month: the same in USD per contact over all live days.
        verdict: better, worse or no difference, by that interval; "" for the segments themselves.
        sends: messages per contact over the live days.
        list_lost: share of the contacts who could be written to at the start and no longer at the end; below 0 where
            the list grew.
    """

    offline: float | None
    offline_low: float | None
    offline_high: float | None
    offline_verdict: str
    live: float
    live_stderr: float
    live_first: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    month: float | None
    verdict: str
    sends: float
    list_lost: float


def live_run(scenario: Scenario, prepared: Prepared, contacts: int, seed: int) -> Comparison:
    """The learned policy, the static segments and silence on the same fresh contacts, under common random numbers.

    Each step counts its expected reward given the latents and what was done, so that luck hides less of a difference.
    """
    subjects: dict[str, Subject] = {
        LEARNED: PolicyActor(prepared.policy),
        SEGMENTS: PolicyActor(prepared.segments),
        SILENCE: HoldActor(),
    }
    return compare(
        scenario,
        subjects,
        contacts=contacts,
        steps=LIVE_DAYS,
        seeds=(seed + 1,),
        sender=Conditions(killed=False),
        conditional=True,
    )


@dataclass(frozen=True)
class Pace:
    """How many decisions make a contact's month.

    Attributes:
        a_day: decisions per contact and day, as the log has them.
        days: of the log that the backtest saw.
    """

    a_day: float
    days: int

    @property
    def whole(self) -> float:
        return self.a_day * LIVE_DAYS

    @property
    def first(self) -> float:
        return self.a_day * self.days


def live_rows(compared: Comparison, judged: BacktestOutput, estimator: str, decisions: Pace) -> dict[str, LivePolicy]:
    """What happened, in USD per decision at the log's pace, beside what the log had said of the same policies."""
    offline = {row.policy: row for row in judged.results if row.estimator == estimator}
    named = {LEARNED: LEARNED, SEGMENTS: SEGMENTS, SILENCE: "always:hold"}
    rows = {}

    def _first(value: Value) -> float:
        return float(value.reward_by_step[: decisions.days].sum()) / decisions.first

    for name, value in compared.values.items():
        known = offline.get(named[name])
        said = None if known is None or name == SEGMENTS else known.difference
        low = high = mean = None
        if name != SEGMENTS:
            gap = compared.difference(name, SEGMENTS)
            mean = gap.mean / decisions.whole
            low, high = (bound / decisions.whole for bound in gap.interval())
        start, end = value.list_by_step[0], value.list_by_step[-1]
        rows[name] = LivePolicy(
            offline=said.value if said else None,
            offline_low=said.low if said else None,
            offline_high=said.high if said else None,
            offline_verdict=known.verdict if known else "",
            live=value.mean / decisions.whole,
            live_stderr=value.stderr / decisions.whole,
            live_first=None if name == SEGMENTS else _first(value) - _first(compared.values[SEGMENTS]),
            difference=mean,
            difference_low=low,
            difference_high=high,
            month=None if mean is None else compared.difference(name, SEGMENTS).mean,
            verdict=_verdict(low, high),
            sends=value.sends,
            list_lost=float(1.0 - end / start) if start else 0.0,
        )
    return rows


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    if low > 0:
        return BETTER
    return WORSE if high < 0 else NO_DIFFERENCE
