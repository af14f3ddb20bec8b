"""policies/parts/frequency, fatigue.py: pressures by hand, the curve against isotonic regression, what noise leaves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from policies.parts.frequency.fatigue import PRESSURES, Pressure, choose_pressure, fit_curve, shrunk
from policies.parts.frequency.history import History


def history(at: list[float], sent: list[bool]) -> History:
    """One contact."""
    n = len(at)
    return History((), np.arange(n), np.zeros(n, dtype=np.int64), np.array(at), np.array(sent))


@pytest.mark.parametrize(
    ("adds", "expected"), [(True, [0.0, 0.5, 0.75, 0.375, 0.1875]), (False, [0, 0.5, 0.5, 0.25, 0.125])]
)
def test_pressure_by_hand(adds, expected):
    """A message a day halves: 1 -> 0.5; with a second one 0.5 + 1 -> 0.75; then nothing is sent."""
    of = Pressure(1.0, adds).of(history([0, 1, 2, 3, 4], [True, True, False, False, False]))
    np.testing.assert_allclose(of, expected)


@pytest.mark.parametrize("pressure", PRESSURES)
@pytest.mark.parametrize("days", [1.0, 3.0, 7.5])
def test_steady_is_where_a_fixed_spacing_ends(pressure, days):
    now = np.zeros(1)
    for _ in range(1000):
        now = pressure.later(pressure.sent(now), np.array([days]))
    np.testing.assert_allclose(pressure.steady(np.array([days])), now)


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Falling: at each place the smallest over all beginnings of the largest over all ends of the weighted mean."""
    m = len(values)

    def mean(a: int, b: int) -> float:
        return float((values[a : b + 1] * weights[a : b + 1]).sum() / weights[a : b + 1].sum())

    return np.array([min(max(mean(a, b) for b in range(i, m)) for a in range(i + 1)) for i in range(m)])


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_curve_is_the_shrunk_isotonic_fit_of_its_bins(seed):
    """Five pressures, so that bins are the pressures themselves; each bin's log odds are found by bisection."""
    rng = np.random.default_rng(seed)
    at = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
    place = rng.integers(5, size=4000)
    offset = rng.normal(-2.0, 0.5, 4000)
    event = (rng.random(4000) < expit(offset - rng.uniform(0, 2) * at[place])).astype(float)
    curve = fit_curve(at[place], offset, event, rising=False)

    def root(rows: np.ndarray, centre: float, prior: float) -> tuple[float, float]:
        low, high = -20.0, 20.0
        for _ in range(100):
            middle = (low + high) / 2
            slope = (event[rows] - expit(offset[rows] + middle)).sum() - prior * (middle - centre)
            low, high = (middle, high) if slope > 0 else (low, middle)
        chance = expit(offset[rows] + low)
        return low, float((chance * (1 - chance)).sum()) + prior

    level, _ = root(np.ones(4000, dtype=bool), 0.0, 0.5)
    own, known = (np.array(part) for part in zip(*(root(place == i, level, 0.5) for i in range(5)), strict=True))
    np.testing.assert_allclose(curve.at, at)
    np.testing.assert_allclose(curve.odds, shrunk(isotonic(own, known), known), atol=2e-2)
    assert (np.diff(curve.odds) <= 0).all()


def test_shrinking_by_hand():
    """Two levels, each known with information 4: mean 0, spread 8, noise 1/2, so 15/16 of the bend is kept."""
    np.testing.assert_allclose(shrunk(np.array([1.0, -1.0]), np.array([4.0, 4.0])), [15 / 16, -15 / 16])
    np.testing.assert_allclose(shrunk(np.array([0.1, -0.1]), np.array([4.0, 4.0])), [0.0, 0.0])


def test_noise_alone_bends_little():
    """Without any effect the curve spans less than 0.2 on average over thirty logs, and of some it is flat."""
    spans = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        offset = rng.normal(-2.5, 0.5, 10_000)
        event = (rng.random(10_000) < expit(offset)).astype(float)
        odds = fit_curve(rng.exponential(1.0, 10_000), offset, event, rising=False).odds
        spans.append(odds[0] - odds[-1])
    assert np.mean(spans) < 0.2
    assert spans.count(0.0) >= 3


def test_no_event_and_no_row_leave_a_flat_finite_curve():
    flat = fit_curve(np.linspace(0, 1, 50), np.full(50, -3.0), np.zeros(50), rising=True)
    assert np.isfinite(flat.odds).all()
    empty = fit_curve(np.empty(0), np.empty(0), np.empty(0), rising=True)
    np.testing.assert_array_equal(empty(np.array([0.0, 5.0])), empty(np.array([5.0, 0.0])))


def log(seed: int, weight: float, truth: Pressure) -> tuple[History, np.ndarray, np.ndarray]:
    """400 contacts, 30 days, messages at random; what is clicked falls with the true pressure."""
    rng = np.random.default_rng(seed)
    contact, at = np.repeat(np.arange(400), 30), np.tile(np.arange(30.0), 400)
    made = History((), np.arange(12_000), contact, at, rng.random(12_000) < 0.5)
    offset = rng.normal(-1.5, 0.5, 12_000)
    event = (rng.random(12_000) < expit(offset - weight * truth.of(made))).astype(float)
    return made, offset, event


@pytest.mark.parametrize("truth", [PRESSURES[0], PRESSURES[2], PRESSURES[4]])
def test_held_out_contacts_find_the_pressure(truth):
    """Also its kind is found; a half life is found to within its neighbours."""
    made, offset, event = log(5, 2.0 if not truth.adds else 0.8, truth)
    rows = np.flatnonzero(made.sent & np.isfinite(made.since))
    tried = [(one, one.of(made)[rows]) for one in PRESSURES]
    chosen = choose_pressure(tried, offset[rows], event[rows], made.contact[rows], made.contact[rows] % 2)
    assert chosen.seen
    assert abs(PRESSURES.index(chosen.pressure) - PRESSURES.index(truth)) <= 1


def test_without_fatigue_none_is_seen():
    """Of twenty logs without any effect at most one shows one."""
    seen = 0
    for seed in range(20):
        made, offset, event = log(seed, 0.0, PRESSURES[0])
        rows = np.flatnonzero(made.sent & np.isfinite(made.since))
        tried = [(one, one.of(made)[rows]) for one in PRESSURES]
        chosen = choose_pressure(tried, offset[rows], event[rows], made.contact[rows], made.contact[rows] % 2)
        seen += chosen.seen
    assert seen <= 1
