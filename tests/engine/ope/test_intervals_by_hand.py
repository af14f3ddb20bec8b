"""Each interval on a few rows, with the arithmetic, and against other libraries."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binom

from engine.errors import ParameterError
from engine.ope.intervals.asymptotic import asymptotic_sequence, boundary
from engine.ope.intervals.bernstein import bernstein, reach
from engine.ope.intervals.bootstrapped import resample, studentised
from engine.ope.intervals.catoni import catoni
from engine.ope.intervals.clopper_pearson import clopper_pearson, mean_of_few
from engine.ope.intervals.confidence_sequence import STAKES, betting_sequence, lower_bound
from engine.ope.intervals.cressie_read import Corner, WeightedTerms, cressie_read_low
from engine.ope.intervals.ratio import CentredRatio
from engine.ope.intervals.simultaneous import holm, max_t_quantile
from engine.ope.intervals.streams import FewValues

GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("vw_estimators.json").read_text(encoding="utf-8"))


def name_of(entry) -> str:
    return f"{entry['name']}-{entry['alpha']}"


def rows_of(weight: np.ndarray, term: np.ndarray) -> WeightedTerms:
    return WeightedTerms(
        n=len(term),
        weights=weight.sum(axis=0),
        squares=weight.T @ weight,
        term=term.sum(),
        cross=weight.T @ term,
        term_squares=float(term @ term),
    )


def bernstein_of(x: np.ndarray, allowed: tuple[float, float], alpha: float) -> tuple[float | None, float | None]:
    """Of the mean of terms within a range."""
    return bernstein(CentredRatio.of_mean(len(x), x.mean(), len(x) * x.var()), allowed[1] - allowed[0], allowed, alpha)


def test_bernstein() -> None:
    """x = 0, 1, 1, 1 in [0, 1]: mean 3/4, V = 1/4; L = ln(4 / 0.5) = ln 8; sqrt(2 V L / 4) + 7 L / 9."""
    log = math.log(8)
    far = math.sqrt(log / 8) + 7 * log / 9
    assert reach(4, 0.25, 1.0, 0.5) == pytest.approx(far)
    assert bernstein_of(np.array([0.0, 1, 1, 1]), (0, 1), 0.5) == (0.0, 1.0)
    x = np.tile([0.0, 1, 1, 1], 100)
    variance = 0.1875 * 400 / 399
    wide = math.sqrt(2 * variance * log / 400) + 7 * log / (3 * 399)
    assert bernstein_of(x, (0, 1), 0.5) == pytest.approx((0.75 - wide, 0.75 + wide))


def test_bernstein_of_a_mean_and_of_a_ratio_with_constant_denominators_are_one() -> None:
    """Numerators x and denominators 2 have the value mean(x) / 2; rows x - 2 value have twice the width of x / 2."""
    x = np.tile([0.0, 1, 1, 1], 100)
    value = x.mean() / 2
    u = x - 2 * value
    ratio = CentredRatio(400, value, 800.0, float(u @ u), float(2 * u.sum()), 1600.0)
    far = reach(400, float(x.var(ddof=1)), 1.0, 0.1)
    low, high = max(0.0, x.mean() - far), min(1.0, x.mean() + far)
    assert bernstein(ratio, 1.0, (-1.0, 1.0), 0.1) == pytest.approx((low / 2, high / 2))
    mean = CentredRatio.of_mean(400, x.mean(), 0.1875 * 400)
    assert bernstein(mean, 1.0, (-5.0, 5.0), 0.1) == pytest.approx((low, high))


@pytest.mark.parametrize("entry", GOLDEN["clopper_pearson"], ids=name_of)
def test_clopper_pearson_is_that_of_vw_estimators_where_weights_are_1(entry) -> None:
    assert clopper_pearson(entry["successes"], entry["n"], entry["alpha"]) == pytest.approx(entry["answer"], abs=1e-9)


def test_clopper_pearson_inverts_the_binomial_tails() -> None:
    low, high = clopper_pearson(7, 50, 0.1)
    assert binom.sf(6, 50, low) == pytest.approx(0.05)
    assert binom.cdf(7, 50, high) == pytest.approx(0.05)


def test_mean_of_few_values_divides_the_error() -> None:
    """Terms 2 (10 of 100), -1 (30), 0 (60): each share at 0.05 of 0.1; 2 low - high, 2 high - low."""
    up, down = clopper_pearson(10, 100, 0.05), clopper_pearson(30, 100, 0.05)
    found = mean_of_few({2.0: 10, -1.0: 30, 0.0: 60}, 0.1)
    assert found == pytest.approx((2 * up[0] - down[1], 2 * up[1] - down[0]))
    low, high = clopper_pearson(10, 70, 0.1)
    assert mean_of_few({3.0: 10, 0.0: 60}, 0.1) == pytest.approx((3 * low, 3 * high))
    assert mean_of_few({0.0: 60}, 0.1) == (0.0, 0.0)


def test_few_values_count_to_12_digits_and_give_up() -> None:
    few = FewValues()
    few.add(np.array([0.0, 3.0, 1 / (1 / 3), -0.0, 0.3 / 0.1]))
    assert few.counts() == {0.0: 2, 3.0: 3}
    other = FewValues()
    other.add(np.array([3.0, -1.0]))
    few.merge(other)
    assert few.counts() == {0.0: 2, 3.0: 4, -1.0: 1}
    other.add(np.linspace(0, 1, 20))
    assert other.counts() is None
    few.merge(other)
    assert few.counts() is None
    few.add(np.zeros(3))
    assert few.counts() is None
    many = FewValues()
    many.add(np.random.default_rng(0).random(1000))
    assert many.counts() is None


@pytest.mark.parametrize("entry", GOLDEN["cressie_read"], ids=name_of)
def test_cressie_read_is_that_of_vw_estimators(entry) -> None:
    weight, reward = np.array(entry["weight"]), np.array(entry["reward"])
    low, high = entry["range"]
    largest = entry["largest"]
    rows = rows_of(weight[:, None], weight * reward)
    below = cressie_read_low(rows, [largest], [Corner((w,), w * low) for w in (0, largest)], low, entry["alpha"])
    top = [Corner((w,), -w * high) for w in (0, largest)]
    above = -cressie_read_low(rows.negated(), [largest], top, -high, entry["alpha"])
    assert (below, above) == pytest.approx(entry["answer"], abs=1e-9)


def test_cressie_read_with_two_weights_is_the_optimum_of_its_programme() -> None:
    """The smallest mean of (w1 - w2) r over reweightings, by a numerical solver, for the unseen row at one corner."""
    rng = np.random.default_rng(3)
    n, top = 30, (4.0, 3.0)
    weights = np.column_stack([rng.random(n) * top[0] / 2, rng.random(n) * top[1] / 1.5])
    term = (weights[:, 0] - weights[:, 1]) * rng.random(n)
    rows, corner = rows_of(weights, term), Corner((0.0, 3.0), -3.0)
    found = cressie_read_low(rows, top, [corner], -9.0, 0.1)
    points = np.vstack([corner.weights, weights])
    values = np.concatenate([[corner.term], term])
    size = n + 1
    start = tuple(t if s < n else 0.0 for t, s in zip(top, weights.sum(axis=0), strict=True))
    shifted = np.vstack([start, weights])
    away = 1 - shifted.mean(axis=0)
    excess = size * away @ np.linalg.solve(np.cov(shifted.T, bias=True), away)
    from scipy.stats import f

    budget = (excess + f.isf(0.1, 1, n)) / size
    solved = minimize(
        lambda q: q @ values,
        np.full(size, 1 / size),
        jac=lambda _: values,
        method="SLSQP",
        constraints=[
            {"type": "eq", "fun": lambda q: np.append(q @ points - 1, q.sum() - 1)},
            {"type": "ineq", "fun": lambda q: budget - ((size * q - 1) ** 2).mean()},
        ],
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert solved.success
    assert found == pytest.approx(solved.fun, abs=1e-5)


def test_equal_weights_of_two_policies_leave_one_constraint() -> None:
    """Where both policies weigh every row alike, the terms of the difference are 0 and so is the interval, nearly."""
    weight = np.random.default_rng(4).random(50) * 2
    rows = rows_of(np.column_stack([weight, weight]), np.zeros(50))
    low = cressie_read_low(rows, (2.0, 2.0), [Corner((0, 0), 0.0), Corner((2, 2), 0.0)], -1.0, 0.05)
    assert low == pytest.approx(0, abs=1e-8)


def test_without_weights_cressie_read_is_close_to_students_t() -> None:
    """No constraint but the sum: mean - t sd / sqrt(n), up to the unseen row, which shifts the mean by 1 / n of it."""
    x = np.tile([0.0, 1.0], 5000)
    rows = rows_of(np.empty((10000, 0)), x)
    low = cressie_read_low(rows, (), [Corner((), 0.0)], 0.0, 0.05)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / 100, abs=2e-4)


def test_betting() -> None:
    """500 zeros and 500 ones: stake 2^-2 is nearest to sqrt(2 L / 250), L = ln(14 / 0.05).

    Excluded are m with l n t - psi (250 + n t^2) >= L, t = 1/2 - m.
    """
    x = np.tile([0.0, 1.0], 500)
    low, high = betting_sequence(x, (0.0, 1.0), alpha=0.1)
    log, stake = math.log(STAKES / 0.05), 2.0**-2
    best = math.sqrt(2 * log / 250)
    assert abs(math.log2(best / stake)) <= 0.5
    psi = -math.log(1 - stake) - stake
    t = 0.5 - low[-1]
    assert stake * 1000 * t - psi * (250 + 1000 * t * t) == pytest.approx(log)
    assert high[-1] - 0.5 == pytest.approx(t)
    assert lower_bound(CentredRatio.of_mean(1000, 0.5, 250.0), 1.0, 0.0, 0.05) == pytest.approx(low[-1])
    assert (low[0], high[0]) == (0.0, 1.0)


def test_betting_over_several_blocks_is_one_sequence() -> None:
    """40,000 rows are worked through in batches; at some rows the ends are those of the sums so far."""
    x = 5.0 + np.random.default_rng(11).random(40_000)
    low, high = betting_sequence(x, (5.0, 6.0), alpha=0.1)
    for n in (16_383, 16_384, 16_385, 33_000, 40_000):
        head = x[:n]
        ratio = CentredRatio.of_mean(n, head.mean(), n * head.var())
        assert low[n - 1] == pytest.approx(lower_bound(ratio, 1.0, 5.0, 0.05), abs=1e-9)
        assert high[n - 1] == pytest.approx(-lower_bound(ratio.negated(), 1.0, -6.0, 0.05), abs=1e-9)


def test_betting_without_a_range_claims_nothing_on_that_side() -> None:
    x = np.tile([0.0, 4.0], 500)
    low, high = betting_sequence(x, (0.0, math.inf), values=(0.0, 3.0))
    assert low[-1] > 1.0
    assert set(high) == {3.0}
    assert lower_bound(CentredRatio.of_mean(10, 1.0, 1.0), math.inf, -7.0, 0.05) == -7.0
    assert lower_bound(CentredRatio.of_mean(10, 1.0, 1.0), 0.0, -7.0, 0.05) == -7.0


def test_asymptotic_boundary() -> None:
    """alpha = 0.05: -2 ln alpha = 5.9915; rho^2 = (5.9915 + ln 6.9915) / 100 = 0.079361; at 100: t rho^2 + 1 = 8.9361;
    sqrt(2 * 8.9361 / 0.079361 * ln(sqrt(8.9361) / 0.05)) / 100 = sqrt(225.20 * 4.0908) / 100."""
    assert float(boundary(np.array([100.0]), 0.05, 100.0)[0]) == pytest.approx(0.30352, abs=2e-5)
    x = np.tile([0.0, 1.0], 50)
    low, high = asymptotic_sequence(x, 0.05, 100.0)
    assert high[-1] - 0.5 == pytest.approx(0.5 * 0.30352, abs=1e-5)
    assert low[-1] + high[-1] == pytest.approx(1.0)
    assert not np.isfinite(low[0])


def test_catoni() -> None:
    """Symmetric rows: the interval is symmetric, and at its ends the influence is n l^2 sd^2 / 2 + ln(2 / alpha)."""
    counts, terms = np.array([50.0, 50.0]), np.array([-1.0, 1.0])
    low, high = catoni(counts, terms, 0.1, sd=1.0)
    assert low == pytest.approx(-high)
    log = math.log(20)
    stake = math.sqrt(2 * log / (100 * (1 + 2 * log / (100 - 2 * log))))
    up, down = stake * (1 - low), stake * (1 + low)
    influence = 50 * (math.log(1 + up + up * up / 2) - math.log(1 + down + down * down / 2))
    assert influence == pytest.approx(50 * stake * stake + log)
    assert catoni(np.array([10.0]), np.array([3.0])) == (None, None)
    assert catoni(np.array([1000.0]), np.array([3.0])) == (3.0, 3.0)


def test_studentised_pivots_by_hand() -> None:
    """Pivots of a mean are the textbook's t: (mean* - mean) / (sd* / sqrt(u)); checked on the same resamples."""
    from engine.ope.sums.bootstrap import resample_counts

    x = np.array([0.0, 1.0, 4.0, 2.0, 7.0])
    units = np.column_stack([np.ones(5), x])
    found = resample(units, [(1, 1)], 200, seed=9).pivots(((1, 0, 1.0),))
    (first, *_) = resample_counts(5, 200, 9)
    for draw in range(5):
        again = np.repeat(x, first[draw].astype(int))
        expected = (again.mean() - x.mean()) / (again.std(ddof=1) / math.sqrt(5))
        assert found[draw] == pytest.approx(expected)
    low, high = studentised(found, 2.8, 1.0, 0.1)
    finite = found[np.isfinite(found)]  # a resample of one row alone has no pivot
    assert (2.8 - high, 2.8 - low) == pytest.approx(tuple(np.quantile(finite, [0.05, 0.95])))
    assert studentised(np.array([np.nan] * 5 + [0.0] * 95), 0.0, 1.0, 0.1) == (None, None)


def test_pivots_of_a_difference_of_a_policy_with_itself_are_not_defined() -> None:
    units = np.column_stack([np.ones(5), np.arange(5.0)])
    assert not np.isfinite(resample(units, [(1, 1)], 100, seed=1).pivots(((1, 0, 1.0), (1, 0, -1.0)))).any()
    assert np.isnan(resample(units[:1], [(1, 1)], 100, seed=1).pivots(((1, 0, 1.0),))).all()


def test_max_t_of_one_policy_is_normal_and_copies_cost_nothing() -> None:
    rng = np.random.default_rng(5)
    one = rng.normal(size=(800, 1))
    one -= one.mean()
    alone = max_t_quantile(one, 4000, 1, 0.05)
    assert alone == pytest.approx(1.96, abs=0.08)
    assert max_t_quantile(np.hstack([one] * 20), 4000, 1, 0.05) == pytest.approx(alone)
    many = rng.normal(size=(800, 20))
    many -= many.mean(axis=0)
    assert max_t_quantile(many, 4000, 1, 0.05) == pytest.approx(3.02, abs=0.1)
    assert max_t_quantile(np.zeros((10, 2)), 100, 1, 0.05) == 0.0


def test_holm() -> None:
    """Ordered 0.01, 0.02, 0.04: 3 x 0.01, 2 x 0.02, 1 x 0.04, never falling."""
    assert holm((0.04, 0.01, 0.02)) == pytest.approx((0.04, 0.03, 0.04))
    assert holm((0.9, 0.8)) == (1.0, 1.0)
    assert holm(()) == ()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        pytest.param(lambda: clopper_pearson(3, 2), "successes", id="more-successes-than-trials"),
        pytest.param(lambda: clopper_pearson(1, 2, 1.5), "alpha", id="alpha-of-a-share"),
        pytest.param(lambda: betting_sequence(np.array([1.0, 2.0]), (0, 1)), "within", id="bet-outside-the-range"),
        pytest.param(lambda: betting_sequence(np.array([1.0, 2.0]), (0, 2), alpha=0), "alpha", id="bet-without-error"),
        pytest.param(lambda: asymptotic_sequence(np.ones(3), alpha=2), "alpha", id="alpha-above-1"),
        pytest.param(lambda: asymptotic_sequence(np.ones(3), tuned_for=0), "tuned_for", id="tuned-for-nothing"),
        pytest.param(lambda: catoni(np.ones(3), np.ones(3), sd=0.0), "sd", id="no-deviation"),
        pytest.param(lambda: holm((0.1, 1.2)), "p_values", id="p-above-1"),
    ],
)
def test_what_is_out_of_range_is_refused(call, named) -> None:
    with pytest.raises(ParameterError, match=named):
        call()


def test_bernstein_of_one_row_or_without_a_range_claims_nothing() -> None:
    assert bernstein(CentredRatio.of_mean(1, 0.5, 0.0), 1.0, (0, 1), 0.05) == (None, None)
    assert bernstein(CentredRatio.of_mean(10, 0.5, 1.0), math.inf, (0, 1), 0.05) == (None, None)
