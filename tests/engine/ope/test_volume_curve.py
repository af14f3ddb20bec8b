"""engine/ope/volume_curve.py: cuts with ties, values of thresholded policies, bands that hold for a whole curve."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ParameterError
from engine.ope.volume_curve import SHARES, CurveRows, Cutoffs, VolumeSums

LEARNT, RANDOM = "learnt", "random"


def test_cuts_keep_exactly_their_shares_also_of_ties() -> None:
    sample = np.array([3.0, 1.0, 1.0, 1.0, 0.0, -np.inf, -np.inf, -np.inf, -np.inf, -np.inf])
    cuts = Cutoffs.of(sample, (0.1, 0.2, 0.4, 0.7, 1.0))
    np.testing.assert_allclose(cuts.keep(sample).mean(axis=0), (0.1, 0.2, 0.4, 0.7, 1.0))
    # Two of ten at 0.2: the 3, and one of the three ones.
    np.testing.assert_allclose(cuts.keep(np.array([3.0, 1.0, 0.0]))[:, 1], (1.0, 1.0 / 3.0, 0.0))
    # Below the whole sample nobody was seen, but where all are kept so is it.
    assert Cutoffs.of(np.array([1.0, 2.0]), (0.5, 1.0)).keep(np.array([-9.0])).tolist() == [[0.0, 1.0]]


def test_cut_refusals() -> None:
    for sample in (np.zeros(0), np.array([1.0, np.nan])):
        with pytest.raises(ParameterError, match="at least one number"):
            Cutoffs.of(sample)
    for shares in ((0.0,), (1.1,)):
        with pytest.raises(ParameterError, match="shares"):
            Cutoffs.of(np.ones(3), shares)


def world(seed: int, contacts: int = 1500) -> CurveRows:
    """Two decisions a contact that share their noise; a send is worth x in [-1, 1], and x is the learnt rank."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(rng.integers(1, 2**63, contacts).astype(np.uint64), 2)
    n = len(cluster)
    x, sendable = rng.uniform(-1, 1, n), rng.random(n) < 0.9
    action = np.where(sendable, rng.choice(3, n, p=(0.3, 0.5, 0.2)), 0)
    propensity = np.where(sendable, np.array([0.3, 0.5, 0.2])[action], 1.0)
    reward = 2.0 + np.where(action == 1, x, 0.0) + np.repeat(rng.normal(size=contacts), 2) + rng.normal(size=n)
    cuts = Cutoffs.of(np.linspace(1, -1, 4001))
    return CurveRows(
        cluster,
        sendable,
        np.where(action == 1, 1.0 / propensity, 0.0),
        np.where(action == 0, 1.0 / propensity, 0.0),
        {LEARNT: cuts.keep(x), RANDOM: np.tile(SHARES, (n, 1))},
        {"value": reward},
    )


def truth() -> tuple[np.ndarray, np.ndarray]:
    """Keeping the first v of x uniform on [-1, 1] brings v (1 - v) a sendable decision; keeping any brings 0."""
    v = np.array(SHARES)
    return 2.0 + 0.9 * v * (1.0 - v), np.full(len(v), 2.0)


def figures(rows: CurveRows, alpha: float = 0.1) -> dict[str, np.ndarray]:
    sums = VolumeSums((LEARNT, RANDOM), ("value",))
    sums.add(rows)
    return {
        curve.ranking: np.array(
            [(band.value, band.low, band.high, band.stderr) for p in curve.points if (band := p.bands["value"])]
        )
        for curve in sums.curves(alpha, 400)
    }


def test_values_are_those_of_direct_weighting_at_three_shares() -> None:
    rows = world(3)
    found = figures(rows)[LEARNT]
    for place in (1, 9, 17):
        keep = np.where(rows.sendable, rows.keep[LEARNT][:, place], 0.0)
        weight = keep * rows.send + (1 - keep) * rows.hold
        assert found[place, 0] == pytest.approx((weight * rows.rewards["value"]).sum() / weight.sum(), rel=1e-12)


def test_rows_may_come_in_any_batches() -> None:
    rows = world(4)
    sums = VolumeSums((LEARNT, RANDOM), ("value",))
    for start in range(0, len(rows.cluster), 333):
        part = slice(start, start + 333)
        sums.add(
            CurveRows(
                *(one[part] for one in (rows.cluster, rows.sendable, rows.send, rows.hold)),
                {name: keep[part] for name, keep in rows.keep.items()},
                {"value": rows.rewards["value"][part]},
            )
        )
    found = sums.curves(0.1, 400)[0].points
    assert [p.bands["value"].value for p in found] == pytest.approx(figures(rows)[LEARNT][:, 0], rel=1e-12)
    assert [p.kept for p in found] == pytest.approx(SHARES, abs=0.05)
    assert [p.sends_per_1000 for p in found] == pytest.approx(900 * np.array(SHARES), abs=45)


def test_unknown_rewards_are_left_out_and_a_thin_log_has_no_figures() -> None:
    rows = world(5)
    reward = rows.rewards["value"].copy()
    reward[::7] = np.nan
    kept = np.flatnonzero(~np.isnan(reward))
    part = CurveRows(
        *(one[kept] for one in (rows.cluster, rows.sendable, rows.send, rows.hold)),
        {name: keep[kept] for name, keep in rows.keep.items()},
        {"value": reward[kept]},
    )
    whole = CurveRows(rows.cluster, rows.sendable, rows.send, rows.hold, rows.keep, {"value": reward})
    np.testing.assert_allclose(figures(whole)[LEARNT][:, 0], figures(part)[LEARNT][:, 0], rtol=1e-12)
    assert len(figures(world(6, contacts=15))[LEARNT]) == 0


def test_a_rate_without_events_has_no_figure() -> None:
    """Nobody unsubscribed in 3,000 rows: that is not a rate of 0 without any doubt."""
    rows = world(7)
    rare = np.zeros(len(rows.cluster))
    sums = VolumeSums((LEARNT,), ("value", "left"))
    sums.add(CurveRows(rows.cluster, rows.sendable, rows.send, rows.hold, rows.keep, {**rows.rewards, "left": rare}))
    points = sums.curves(0.1, 400)[0].points
    assert all(point.bands["left"] is None and point.bands["value"] is not None for point in points)
    often = np.where(np.arange(len(rare)) % 3 == 0, 1.0, 0.0)
    sums = VolumeSums((LEARNT,), ("value", "left"))
    sums.add(CurveRows(rows.cluster, rows.sendable, rows.send, rows.hold, rows.keep, {**rows.rewards, "left": often}))
    for point in sums.curves(0.1, 400)[0].points:
        assert point.bands["left"].low < 1 / 3 < point.bands["left"].high


def test_a_log_that_never_held_has_figures_only_where_nearly_all_is_kept() -> None:
    """Of 2,700 rows with weights none says what silence brings, however many there are."""
    rows = world(8)
    sent = rows.sendable & (rows.hold == 0.0)
    rows = CurveRows(
        *(one[sent | ~rows.sendable] for one in (rows.cluster, rows.sendable, 0.7 * rows.send, rows.hold)),
        {name: keep[sent | ~rows.sendable] for name, keep in rows.keep.items()},
        {"value": rows.rewards["value"][sent | ~rows.sendable]},
    )
    sums = VolumeSums((LEARNT, RANDOM), ("value",))
    sums.add(rows)
    for curve in sums.curves(0.1, 400):
        shown = [point.share for point in curve.points if point.bands["value"]]
        assert 1.0 in shown
        assert min(shown) >= 0.9
        assert all(point.effective > 300 for point in curve.points[:10])


def test_propensities_that_are_not_those_of_the_log_give_no_figure() -> None:
    rows = world(9)
    wrong = CurveRows(rows.cluster, rows.sendable, 2.0 * rows.send, rows.hold, rows.keep, rows.rewards)
    assert len(figures(rows)[LEARNT]) == len(SHARES)
    assert len(figures(wrong)[LEARNT]) < 5


def test_one_contact_that_decides_the_error_gives_no_figure() -> None:
    """Ninety orders of one contact are not ninety contacts."""
    rows = world(10)
    rows.cluster[:90] = rows.cluster[0]
    rows.rewards["value"][:90] += 200.0
    assert len(figures(rows)[LEARNT]) == 0


@pytest.mark.slow
def test_bands_hold_for_the_whole_curve_and_random_is_a_line() -> None:
    """300 logs at 90 %: both curves lie within their bands at all 20 shares in 86 to 95 % of them."""
    inside = {LEARNT: 0, RANDOM: 0}
    exact = dict(zip((LEARNT, RANDOM), truth(), strict=True))
    means = []
    for seed in range(300):
        found = figures(world(100 + seed))
        for name, figure in found.items():
            inside[name] += bool(((figure[:, 1] <= exact[name]) & (exact[name] <= figure[:, 2])).all())
        means.append(found[RANDOM][:, 0])
    assert all(0.86 <= count / 300 <= 0.95 for count in inside.values()), inside
    mean, error = np.mean(means, axis=0), np.std(means, axis=0) / np.sqrt(300)
    line = mean[0] + (mean[-1] - mean[0]) * (np.array(SHARES) - SHARES[0]) / (1 - SHARES[0])
    assert (np.abs(mean - line) < 4 * error).all()
