"""Small seeded versions of the coverage studies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.study.interval_coverage import (
    SETTINGS,
    Row,
    SequenceRow,
    Setting,
    WinnerRow,
    coverage,
    document,
    noise_arms,
    sequence_coverage,
)
from experiments.study.worlds import ARMS, World

CLUSTERED = replace(SETTINGS[2], intervals=("delta", "studentised"))
SHARES = World("share, even log", "share", 1000, lean=0.0, policies=ARMS)
FINITE = ("confidence_sequence", "empirical_bernstein", "catoni")


@pytest.mark.slow
def test_intervals_cover_in_a_small_study() -> None:
    """30 clustered logs: a true 95 % interval covers at least 24 of them with a probability above 99.9 %."""
    rows = coverage(CLUSTERED, 30)
    assert {row.estimator for row in rows} == {"ips", "snips", "dr"}
    assert {row.interval for row in rows} == set(CLUSTERED.intervals)
    for row in rows:
        assert row.value >= 24 / 30, row
        assert row.difference >= 24 / 30, row
    by_name = {row.estimator: row for row in rows if row.interval == "delta"}
    assert by_name["dr"].value_width < by_name["ips"].value_width


@pytest.mark.slow
def test_intervals_of_shares_cover_and_order_by_width() -> None:
    """60 logs: a true 95 % interval covers at least 50 with a probability above 99.9 %; finite-sample ones nearly all.

    Widths come in the order of what is promised: the delta method, then all times asymptotically, then all times.
    """
    intervals = ("delta", "studentised", "cressie_read", "clopper_pearson", "asymptotic_sequence", *FINITE)
    rows = coverage(Setting(SHARES, intervals, ("ips", "snips")), 60)
    assert {row.interval for row in rows if row.estimator == "ips"} == set(intervals)
    for row in rows:
        enough = 58 if row.interval in FINITE else 50
        assert row.value >= enough / 60, row
        assert row.difference >= enough / 60, row
    width = {row.interval: row.difference_width for row in rows if row.estimator == "ips"}
    assert width["delta"] < width["asymptotic_sequence"] < width["confidence_sequence"]
    assert width["cressie_read"] < 1.05 * width["delta"]


@pytest.mark.slow
def test_catoni_holds_for_heavy_tails_where_delta_does_not() -> None:
    """60 logs of 120 buyers with a log-normal tail: delta misses about a fifth, Catoni with a declared sd none."""
    world = World("spend", "spend", 3000, lean=0.0, tail=1.6, policies=ARMS)
    rows = coverage(Setting(world, ("delta", "catoni", "catoni, sd declared"), ("ips",)), 60)
    value = {row.interval: row.value for row in rows}
    assert value["delta"] <= 55 / 60
    assert value["delta"] <= value["catoni"] <= value["catoni, sd declared"]
    assert value["catoni, sd declared"] >= 58 / 60


def test_sequences_hold_at_all_times() -> None:
    """60 sequences, looked at 3,000 times each: the time-uniform ones hold, the delta method fails in a third."""
    found = {(row.terms, row.sequence): row for row in sequence_coverage(60, rows=3000)}
    for terms in ("IPS", "DR"):
        assert found[terms, "confidence_sequence"].always[0] >= 57 / 60
        assert found[terms, "asymptotic_sequence"].always[1] >= 53 / 60
        naive = found[terms, "delta, looked at after each row"]
        assert naive.always[1] <= 48 / 60 < naive.at_the_end


@pytest.mark.slow
def test_a_winner_among_noise_is_found_without_the_correction_only() -> None:
    """36 arms alike, 20 logs: some arm wins in about a third; held together in at most 2.5 % (5 % on both sides)."""
    alone = noise_arms(20, "delta", simultaneous=False)
    held = noise_arms(20, "delta", simultaneous=True)
    assert alone.found_better >= 3 / 20
    assert held.found_better <= 3 / 20
    assert 1.2 < held.reach / alone.reach < 1.8


def test_the_worlds_are_worth_what_they_say() -> None:
    """A log under the target itself: its mean is the value, within 5 standard errors of 200,000 rows."""
    import numpy as np

    from experiments.study.worlds import schema_of_x

    for world in (World("m"), World("s", "share"), World("b", "spend", tail=0.8)):
        large = replace(world, rows=200_000, lean=0.0)
        reward = large.log(np.random.default_rng(1), schema_of_x()).rewards["r"]
        even = large.value(np.full(3, 1 / 3))
        assert abs(reward.mean() - even) < 5 * reward.std() / np.sqrt(len(reward)), world.name


def test_the_document_has_a_row_for_everything() -> None:
    rows = [Row("share, even log", "catoni", "ips", 0.951, 0.5, 0.96, 0.25, 0.5)]
    sequences = [SequenceRow("IPS", "confidence_sequence", (0.98, 0.99, 0.995), 1.0, (0.3, 0.2, 0.1))]
    text = document(rows, sequences, [WinnerRow("delta", True, 0.02, 0.1)])
    assert "| catoni | ips | 95.1 % | 0.5 | 96.0 % | 0.25 | 50 % |" in text
    assert "| IPS | confidence_sequence | 98.0 % | 99.0 % | 99.5 % | 100.0 % | 0.3 | 0.2 | 0.1 |" in text
    assert "| delta | yes | 2.0 % | 0.100 |" in text
    assert "## Share, even log" in text
