"""What `tactful experiment` prints with `--json`."""

from __future__ import annotations

from typing import Any

from experiments.outputs import Output


class SeasonRow(Output, frozen=True, kw_only=True):
    """One policy in one scenario and variant, over all seeds; null where a figure is not defined.

    Attributes:
        contacts: per seed, the first ones of the world.
        profit: USD per contact over the season, with its interval; expected rewards given latents and actions.
        against: what differences are taken to: `POLICY, VARIANT`; "" for the baseline itself.
        difference: of profit, paired by contact, interval over seeds; `difference_stderr_contacts` is its standard
            error over contacts alone, given what was learnt.
        verdict: better, worse, no difference, or insufficient (one seed and too few contacts); "" for the baseline.
        sends / unsubscribes / complaints: per contact over the season; the differences are paired too.
        more_sends / more_unsubscribes: whether the difference's interval is above 0: not matched in volume.
        discount_share: share of revenue from orders at a discount.
        regret_per_day: USD per contact and day below the reference.
        gap_closed: share of the gap between baseline and reference, 1 is all of it; null where the gap's own interval
            holds 0, or there is no reference.
        observable_closed: share of the way from the baseline to `best_observable`, as `gap_closed`; null without that
            policy.
    """

    scenario: str
    variant: str
    policy: str
    seeds: int
    contacts: int
    profit: float
    profit_low: float | None
    profit_high: float | None
    against: str
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    difference_stderr_contacts: float | None
    verdict: str
    sends: float
    sends_difference: float | None
    sends_low: float | None
    sends_high: float | None
    more_sends: bool
    unsubscribes: float
    unsubscribes_difference: float | None
    unsubscribes_low: float | None
    unsubscribes_high: float | None
    more_unsubscribes: bool
    complaints: float
    discount_share: float | None
    regret_per_day: float | None
    regret_low: float | None
    regret_high: float | None
    gap_closed: float | None
    gap_closed_low: float | None
    gap_closed_high: float | None
    observable_closed: float | None
    observable_closed_low: float | None
    observable_closed_high: float | None


class ScenarioGap(Output, frozen=True, kw_only=True):
    """The room above the baseline in one scenario and variant.

    Attributes:
        gap: reference minus baseline, USD per contact over the season, with its interval over seeds; null without a
            reference among the policies.
        observable: `best_observable` minus baseline, with its interval: an estimate of what observations allow; null
            without that policy.
        discounts: the part of it that comes of not discounting alone, `segments_undiscounted` minus baseline, with its
            interval; null without that policy.
        bound: what nobody can pass, minus the baseline; null where none is proved. It is loose.
        silence_off: value of never sending minus its closed form, with its standard error; null where there is none.
        days: of the curves, which are USD per contact so far: regret by day, policy by policy.
    """

    scenario: str
    variant: str
    gap: float | None
    gap_low: float | None
    gap_high: float | None
    observable: float | None
    observable_low: float | None
    observable_high: float | None
    discounts: float | None
    discounts_low: float | None
    discounts_high: float | None
    bound: float | None
    silence_off: float | None
    silence_stderr: float | None
    regret_so_far: dict[str, tuple[float, ...]]
    sends_per_day: dict[str, tuple[float, ...]]


class ExperimentOutput(Output, frozen=True, kw_only=True):
    """`tactful experiment --json`. Everything in it is SIMULATED.

    Attributes:
        rows: one per scenario, variant and policy.
        gaps: one per scenario and variant.
        said: the result in sentences.
        cells: seasons that were played, `played` of them by this run; the others were there.
        settings: the resolved configuration.
        files: report, table, picture.
    """

    experiment: str
    question: str
    baseline: str
    reference: str
    alpha: float
    days: int
    seeds: tuple[int, ...]
    rows: tuple[SeasonRow, ...]
    gaps: tuple[ScenarioGap, ...]
    said: tuple[str, ...]
    notes: tuple[str, ...]
    cells: int
    played: int
    settings: dict[str, Any]
    files: dict[str, str] = {}
