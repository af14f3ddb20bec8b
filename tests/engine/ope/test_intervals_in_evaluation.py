"""Every interval through the evaluation: partitions, order, widths, what is refused, and what is held together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from engine.errors import DataError, ParameterError
from engine.ope.evaluate import finish
from engine.ope.intervals.bernstein import reach
from engine.ope.intervals.catoni import catoni
from engine.ope.intervals.clopper_pearson import clopper_pearson
from engine.ope.intervals.confidence_sequence import betting_sequence
from engine.ope.intervals.streams import LogHistogram
from engine.ope.settings import BY_ROW, INTERVALS
from engine.ope.state import EvaluationState
from engine.ope.support import SupportRule
from engine.ope.target import LoggedTarget, PolicyTarget
from tests.engine.ope.asking import evaluate, setup_of

ROWS = 1500
LENIENT = SupportRule(
    min_ess=0,
    min_clusters=0,
    min_outcomes=0,
    max_weight_share=1,
    max_square_share=1,
    max_error_share=1,
    max_cluster_error_share=1,
    mean_weight_slack=9,
)


def shares_log(ope, n=ROWS, seed=0, **options):
    """Actions 0, 1, 2 with 1/3 each; reward 0 or 1, more often for higher actions."""
    rng = np.random.default_rng(seed)
    action = rng.integers(3, size=n)
    reward = (rng.random(n) < 0.1 + 0.1 * action).astype(float)
    return ope.batches(action, np.full(n, 1 / 3), {"r": reward}, k=3, features={"x": rng.random(n)}, **options)


def arm(ope, a, k=3):
    return PolicyTarget(ope.TablePolicy(f"arm {a}", np.eye(k)[a]))


def ask(ope, batches, interval, *, baseline=None, targets=None, **options):
    given = {"estimators": ("ips", "snips"), "largest_weight": 3.0, "rule": LENIENT, "replicates": 200} | options
    return evaluate(
        batches,
        targets or [arm(ope, 2)],
        metric="r",
        reward_range=options.pop("reward_range", (0.0, 1.0)),
        baseline=baseline,
        interval=interval,
        **{key: value for key, value in given.items() if key != "reward_range"},
    )


def ends(estimate):
    return estimate.low, estimate.high, estimate.difference.low, estimate.difference.high


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("base", ["logged", "arm 0"])
def test_any_partition_and_order_gives_the_same_bytes(ope, interval, base) -> None:
    batches = shares_log(ope, rows_per_chunk=200)
    setup = setup_of(
        targets=(arm(ope, 2), arm(ope, 1)),
        metric="r",
        reward_range=(0.0, 1.0),
        estimators=("ips", "snips", "clipped"),
        baseline=LoggedTarget() if base == "logged" else arm(ope, 0),
        interval=interval,
        largest_weight=3.0,
        replicates=100,
        rule=LENIENT,
    )
    whole = EvaluationState(setup)
    for batch in batches:
        whole.add(batch)
    parts = [EvaluationState(setup) for _ in range(3)]
    for place, batch in enumerate(reversed(batches)):
        parts[place % 3].add(batch)
    parts[1].merge(parts[2])
    parts[1].merge(parts[0])
    assert finish(whole) == finish(parts[1])


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_interval_holds_its_own_figure_and_shrinks_with_rows(ope, interval) -> None:
    """The same rates on 16 times as many rows: width falls to about a quarter, for every estimator that has one."""
    few = ask(ope, shares_log(ope), interval).results
    many = ask(ope, shares_log(ope, 16 * ROWS, seed=1), interval).results
    told = 0
    for small, large in zip(few, many, strict=True):
        if small.low is None:
            assert any(note.startswith("no interval") for note in small.notes)
            continue
        told += 1
        for estimate in (small, large):
            low, high, gap_low, gap_high = ends(estimate)
            assert low <= estimate.value <= high
            assert gap_low <= estimate.difference.value <= gap_high
            assert estimate.interval == interval
        for a, b in ((0, 1), (2, 3)):
            ratio = (ends(large)[b] - ends(large)[a]) / (ends(small)[b] - ends(small)[a])
            assert 0.08 < ratio < 0.45, (small.estimator, ratio)
    assert told >= 1


@pytest.mark.parametrize("interval", INTERVALS)
def test_less_error_makes_it_wider(ope, interval) -> None:
    batches = shares_log(ope)
    loose, strict = (ask(ope, batches, interval, alpha=alpha).results for alpha in (0.2, 0.01))
    for a, b in zip(loose, strict, strict=True):
        if a.low is not None:
            assert b.low < a.low < a.high < b.high


@pytest.mark.parametrize("interval", INTERVALS)
def test_it_contains_the_delta_methods_centre_and_mostly_its_span(ope, interval) -> None:
    """Finite-sample and time-uniform intervals contain the whole delta interval, the others its middle half."""
    batches = shares_log(ope, 6000)
    delta = ask(ope, batches, "delta", baseline=arm(ope, 0)).results
    for plain, other in zip(delta, ask(ope, batches, interval, baseline=arm(ope, 0)).results, strict=True):
        if other.low is None:
            continue
        whole = interval in ("empirical_bernstein", "confidence_sequence", "asymptotic_sequence", "catoni")
        kept = 1.0 if whole else 0.5
        for a, b in ((0, 1), (2, 3)):
            low, high = ends(plain)[a], ends(plain)[b]
            middle, half = (low + high) / 2, kept * (high - low) / 2
            assert ends(other)[a] <= middle - half <= middle + half <= ends(other)[b]


def test_a_policy_against_itself_has_a_difference_of_0(ope) -> None:
    for interval in INTERVALS:
        found = ask(ope, shares_log(ope), interval, baseline=arm(ope, 2)).results[0]
        low, high = found.difference.low, found.difference.high
        assert found.difference.value == 0
        assert found.verdict in ("no difference", "insufficient"), interval
        assert low is None or low <= 0 <= high, interval


def test_the_stream_equals_the_formulas_on_whole_arrays(ope) -> None:
    batches = shares_log(ope)
    reward = np.concatenate([batch.rewards["r"] for batch in batches])
    hit = np.concatenate([batch.action for batch in batches]) == 2
    terms = 3.0 * hit * reward
    bern = ask(ope, batches, "empirical_bernstein").results[0]
    far = reach(len(terms), float(terms.var(ddof=1)), 3.0, 0.05)
    ends = np.clip([terms.mean() - far, terms.mean() + far], 0, 1)
    assert (bern.low, bern.high) == pytest.approx(tuple(ends), abs=1e-12)
    low, high = betting_sequence(terms, (0.0, 3.0), values=(0.0, 1.0))
    bet = ask(ope, batches, "confidence_sequence").results[0]
    assert (bet.low, bet.high) == pytest.approx((low[-1], high[-1]), abs=1e-12)
    share, snips = ask(ope, batches, "clopper_pearson").results
    counted = int((terms > 0).sum())
    assert (share.low, share.high) == pytest.approx(tuple(3 * np.array(clopper_pearson(counted, ROWS))))
    assert (snips.low, snips.high) == pytest.approx(clopper_pearson(counted, int(hit.sum())))
    heavy = ask(ope, batches, "catoni").results[0]
    assert (heavy.low, heavy.high) == pytest.approx(catoni(np.ones(ROWS), terms), abs=1e-9)


def test_shares_of_two_arms_know_every_value_that_is_possible(ope) -> None:
    """A reward that never came has an upper end above 0: 3 x (1 - (alpha / 2)^(1/n)) by IPS."""
    n = 300
    batches = ope.batches(np.arange(n) % 3, np.full(n, 1 / 3), {"r": np.zeros(n)}, k=3)
    ips, snips = ask(ope, batches, "clopper_pearson", baseline=arm(ope, 0)).results
    assert ips.high == pytest.approx(3 * (1 - 0.025 ** (1 / n)))
    assert snips.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert ips.difference.high > 0 > ips.difference.low
    assert snips.difference.high > 0 > snips.difference.low


def test_without_a_largest_weight_the_sequence_holds_on_both_sides(ope) -> None:
    """w (r - low) bounds from below, w (high - r) from above; wider than with the weight known, for a share."""
    batches = shares_log(ope, 6000)
    for baseline in (None, arm(ope, 0)):
        known, free = (
            ask(ope, batches, "confidence_sequence", baseline=baseline, largest_weight=largest).results[0]
            for largest in (3.0, None)
        )
        assert free.low is not None
        assert free.low <= known.value <= free.high
        assert free.difference.low <= known.difference.value <= free.difference.high
        assert free.high - free.low > known.high - known.low
        assert free.low > 0.1
        assert free.difference.high < 1
    snips = ask(ope, batches, "confidence_sequence", largest_weight=None).results[1]
    assert snips.low is None
    assert any("range of a row's term" in note for note in snips.notes)


@pytest.mark.parametrize("interval", BY_ROW)
def test_intervals_of_rows_are_refused_for_clusters(ope, interval) -> None:
    with pytest.raises(ParameterError, match="clustered"):
        ask(ope, shares_log(ope, cluster=np.arange(ROWS) // 3), interval, clustered=True)


@pytest.mark.parametrize("interval", ["studentised", "asymptotic_sequence"])
def test_clusters_widen_the_others(ope, interval) -> None:
    """Rows that come three times over are as good as one: the width grows by sqrt(3)."""
    rng = np.random.default_rng(3)
    action = np.repeat(rng.integers(3, size=500), 3)
    reward = np.repeat((rng.random(500) < 0.4).astype(float), 3)
    batches = ope.batches(action, np.full(1500, 1 / 3), {"r": reward}, k=3, cluster=np.arange(1500) // 3)
    row, cluster = (ask(ope, batches, interval, clustered=clustered).results[0] for clustered in (False, True))
    widths = [estimate.high - estimate.low for estimate in (row, cluster)]
    assert widths[1] / widths[0] > 1.45


@pytest.mark.parametrize("interval", ["empirical_bernstein", "cressie_read"])
def test_a_largest_weight_is_asked_for(ope, interval) -> None:
    with pytest.raises(ParameterError, match="largest_weight"):
        ask(ope, shares_log(ope), interval, largest_weight=None)


@pytest.mark.parametrize(
    ("option", "value"),
    [("largest_weight", 0.5), ("largest_weight", math.inf), ("largest_sd", 0.0), ("interval", "exact")],
)
def test_wrong_options_are_refused(ope, option, value) -> None:
    options = {"interval": "delta"} | {option: value}
    with pytest.raises(ParameterError, match=option):
        ask(ope, shares_log(ope), **options)


def test_a_weight_above_the_declared_one_is_an_error(ope) -> None:
    with pytest.raises(DataError, match=r"weight of 3 .* above the declared largest weight 2"):
        ask(ope, shares_log(ope), "empirical_bernstein", largest_weight=2.0)


def test_a_model_outside_of_the_rewards_range_is_an_error(ope) -> None:
    class Wild(ope.Ridge):
        def predict(self, context):
            return super().predict(context) * 0 + 5.0

    with pytest.raises(DataError, match="within the declared range of the reward"):
        ask(
            ope,
            shares_log(ope),
            "confidence_sequence",
            estimators=("dr",),
            reward_model_factory=lambda: Wild("r", 3),
        )


@pytest.mark.parametrize("interval", ["empirical_bernstein", "confidence_sequence", "cressie_read", "catoni"])
def test_dr_and_clipped_have_intervals_too(ope, interval) -> None:
    found = ask(
        ope,
        shares_log(ope, 6000),
        interval,
        estimators=("dr", "clipped", "sndr"),
        clip=2.0,
        reward_model_factory=lambda: ope.Ridge("r", 3),
    ).results
    dr, clipped, sndr = found
    for estimate in (dr, clipped):
        assert estimate.low < estimate.value < estimate.high
        assert estimate.difference.low < estimate.difference.value < estimate.difference.high
    assert sndr.low is None
    assert sndr.verdict == "insufficient"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reward_range": (0.0, 2.0)}, "0 to 1"),
        ({"estimators": ("clipped",)}, "share of rows"),
        ({"targets": "mixed"}, "0 or one constant"),
        ({"rewards": "half"}, "rewards that are 0 or 1"),
    ],
    ids=["range", "estimator", "weights", "rewards"],
)
def test_clopper_pearson_says_why_it_does_not_fit(ope, change, said) -> None:
    options = dict(change)
    if options.pop("targets", None):
        options["targets"] = [PolicyTarget(ope.TablePolicy("mixed", [0.2, 0.3, 0.5]))]
    batches = shares_log(ope)
    if options.pop("rewards", None):
        batches = [replace(batch, rewards={"r": batch.rewards["r"] / 2}) for batch in batches]
    found = ask(ope, batches, "clopper_pearson", **options).results[0]
    assert found.low is None
    assert found.verdict == "insufficient"
    assert any(said in note for note in found.notes)


def test_catoni_has_nothing_to_say_of_a_ratio_and_of_few_rows(ope) -> None:
    ips, snips = ask(ope, shares_log(ope), "catoni").results
    assert ips.low is not None
    assert snips.low is None
    assert any("ask for ips or dr" in note for note in snips.notes)
    few = ask(ope, shares_log(ope, 12), "catoni").results[0]
    assert few.low is None
    assert any("too few rows" in note for note in few.notes)


def test_a_declared_sd_decides_catonis_width(ope) -> None:
    batches = shares_log(ope, 4000)
    narrow, wide = (ask(ope, batches, "catoni", largest_sd=sd).results[0] for sd in (1.0, 3.0))
    assert 2.5 < (wide.high - wide.low) / (narrow.high - narrow.low) < 3.5


@pytest.mark.parametrize("interval", ["delta", "bootstrap", "studentised", "clopper_pearson", "asymptotic_sequence"])
def test_differences_that_hold_together_are_wider_and_say_so(ope, interval) -> None:
    targets = [arm(ope, 1), arm(ope, 2)]
    batches = shares_log(ope, 4000)
    alone, held = (
        ask(ope, batches, interval, targets=targets, baseline=arm(ope, 0), simultaneous=together).results
        for together in (False, True)
    )
    for a, b in zip(alone, held, strict=True):
        assert (a.low, a.high) == (b.low, b.high)
        # Resamples of their own may come out a little narrower than percentiles of others.
        assert b.difference.high - b.difference.low > 1.02 * (a.difference.high - a.difference.low)
        assert any("2 differences hold together" in note for note in b.notes)
        assert not any("hold together" in note for note in a.notes)


def test_one_difference_needs_no_correction(ope) -> None:
    batches = shares_log(ope)
    alone, held = (ask(ope, batches, "delta", simultaneous=together) for together in (False, True))
    assert alone == held


@pytest.mark.parametrize("interval", ["delta", "bootstrap", "studentised", "clopper_pearson"])
def test_the_policy_that_is_asked_about_stands_alone(ope, interval) -> None:
    batches, targets = shares_log(ope, 4000), [arm(ope, 1), arm(ope, 2)]
    asked = {"targets": targets, "baseline": arm(ope, 0), "simultaneous": True}
    alone = ask(ope, batches, interval, **asked | {"simultaneous": False, "targets": targets[:1]}).results
    held = ask(ope, batches, interval, **asked, primary="arm 1", secondary_share=0.2).results
    assert [row.difference for row in held if row.policy == "arm 1"] == [row.difference for row in alone]
    assert not any("hold" in note for row in held if row.policy == "arm 1" for note in row.notes)
    assert all("holds at 99 %" in " ".join(row.notes) for row in held if row.policy == "arm 2")


@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_a_smaller_share_of_the_error_reaches_further(ope, share) -> None:
    """By the normal quantile for one difference: z(0.05 * share / 2) standard errors."""
    batches, targets = shares_log(ope, 4000), [arm(ope, 1), arm(ope, 2)]
    rows = ask(ope, batches, "delta", targets=targets, baseline=arm(ope, 0), primary="arm 1", secondary_share=share)
    gap = next(row.difference for row in rows.results if row.policy == "arm 2")
    assert (gap.high - gap.value) / gap.stderr == pytest.approx(float(ndtri(1 - 0.025 * share)), rel=2e-3)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_of_the_error_is_a_share(ope, share) -> None:
    with pytest.raises(ParameterError, match="secondary_share"):
        ask(ope, shares_log(ope), "delta", secondary_share=share)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 5))
def test_the_histogram_keeps_counts_and_sums_in_any_partition(values, parts) -> None:
    whole, merged = LogHistogram(100.0), LogHistogram(100.0)
    array = np.array(values)
    whole.add(array)
    for piece in np.array_split(array[::-1], parts):
        if len(piece):
            part = LogHistogram(100.0)
            part.add(piece)
            merged.merge(part)
    counts, means = whole.bins()
    assert counts.sum() == len(array)
    assert float(counts @ means) == pytest.approx(array.sum(), abs=1e-6)
    assert [x.tolist() for x in merged.bins()] == [counts.tolist(), means.tolist()]
    assert (counts > 0).all()


@given(st.integers(2, 400), st.floats(0.01, 0.99), st.floats(0.01, 0.2), st.integers(0, 1000))
def test_sequences_nest_by_error_and_hold_their_mean(n, rate, alpha, seed) -> None:
    x = (np.random.default_rng(seed).random(n) < rate).astype(float)
    low, high = betting_sequence(x, (0.0, 1.0), alpha)
    looser = betting_sequence(x, (0.0, 1.0), min(2 * alpha, 0.99))
    mean = np.cumsum(x) / np.arange(1, n + 1)
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert (low <= looser[0]).all()
    assert (high >= looser[1]).all()
    mirrored = betting_sequence(1 - x, (0.0, 1.0), alpha)
    assert 1 - mirrored[1] == pytest.approx(low, abs=1e-9)
