"""Bad input and thin support: a clear error, or the verdict `insufficient` with its reasons."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kurtosis

from engine.catalog import one_axis_catalog
from engine.errors import DataError, LearnError, MissingPropensityError, ParameterError
from engine.ope.models.crossfit import cross_fit, model_fold_of
from engine.ope.sums.moments import Spread
from engine.ope.support import SupportRule
from engine.ope.target import ColumnActionTarget, ColumnTarget, LoggedTarget, PolicyTarget
from tests.engine.ope.asking import evaluate, remarks

N = 200


def log(ope, **changes):
    rng = np.random.default_rng(0)
    given = {
        "action": rng.integers(3, size=N),
        "propensity": np.full(N, 1 / 3),
        "rewards": {"r": rng.random(N)},
        "k": 3,
        "features": {"x": rng.normal(size=N)},
    }
    return ope.batches(**(given | changes))


def run(batches, *targets, **options):
    given = {"metric": "r", "reward_range": (0, 1)}
    return evaluate(batches, targets or (LoggedTarget(),), **(given | options))


def with_row(values, row, value):
    changed = np.array(values, dtype=np.float64)
    changed[row] = value
    return changed


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.0001, np.inf])
def test_propensities_outside_the_range_are_refused_with_their_row(ope, bad) -> None:
    batches = log(ope, propensity=with_row(np.full(N, 1 / 3), 17, bad))
    with pytest.raises(DataError, match=r"propensity must be in \(0, 1\].*'d17'"):
        run(batches)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.5, -0.5])
def test_rewards_outside_the_range_are_refused_with_their_row(ope, bad) -> None:
    batches = log(ope, rewards={"r": with_row(np.zeros(N), 3, bad)})
    with pytest.raises(DataError, match=r"'r' must be in \[0, 1\].*'d3'"):
        run(batches)


def test_an_infinite_reward_is_refused_in_an_unbounded_range(ope) -> None:
    with pytest.raises(DataError, match="'d3'"):
        run(log(ope, rewards={"r": with_row(np.zeros(N), 3, np.inf)}), reward_range=(0, np.inf))


def test_a_propensity_so_small_that_the_weight_overflows(ope) -> None:
    target = PolicyTarget(ope.TablePolicy("u", [1, 1, 1]))
    with pytest.raises(DataError, match="overflows"):
        run(log(ope, propensity=with_row(np.full(N, 1 / 3), 3, 1e-320)), target)


def test_missing_propensities_are_refused_with_a_hint(ope) -> None:
    with pytest.raises(MissingPropensityError, match="have no propensity") as caught:
        run(log(ope, propensity=np.full(N, np.nan)))
    assert "not exact" in caught.value.hint


def test_missing_propensities_leave_only_dm_and_mark_it(ope) -> None:
    batches = log(ope, propensity=np.full(N, np.nan))
    target = PolicyTarget(ope.TablePolicy("one", [0, 1, 0]))
    found = run(
        batches,
        target,
        estimators=("dm",),
        allow_inexact=True,
        reward_model_factory=lambda: ope.Ridge("r", 3),
    )
    (estimate,) = found.results
    assert estimate.exact is False
    assert estimate.verdict == "insufficient"
    assert estimate.stderr is estimate.low is estimate.high is None
    assert estimate.ess is None
    assert 0 < estimate.value < 1
    assert any("not exact" in note for note in estimate.notes)
    with pytest.raises(ParameterError, match="allow_inexact"):
        run(batches, target, estimators=("dm", "ips"), allow_inexact=True)


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"estimators": ("ips", "magic")}, "estimators"),
        ({"estimators": ("ips", "ips")}, "estimators"),
        ({"estimators": ()}, "estimators"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"interval": "wald"}, "interval"),
        ({"reward_range": (1, 1)}, "reward_range"),
        ({"clip": 0.0}, "clip"),
        ({"clip": float("nan")}, "clip"),
        ({"replicates": 10}, "replicates"),
    ],
)
def test_arguments_outside_their_range(ope, options, parameter) -> None:
    with pytest.raises(ParameterError, match=f"`{parameter}`"):
        run(log(ope), **options)


def test_targets_must_have_distinct_names(ope) -> None:
    with pytest.raises(ParameterError, match="distinct names"):
        run(log(ope), LoggedTarget(), LoggedTarget())
    with pytest.raises(ParameterError, match="targets"):
        evaluate(log(ope), [], metric="r", reward_range=(0, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"max_weight_share": 1.5},
        {"max_square_share": -0.1},
        {"max_unsupported": 2.0},
        {"min_ess": -1.0},
        {"min_outcomes": -1.0},
        {"max_error_share": 2.0},
    ],
)
def test_support_rules_outside_their_range(changes) -> None:
    with pytest.raises(ParameterError):
        SupportRule(**changes)


def test_an_unknown_metric_names_the_known_ones(ope) -> None:
    with pytest.raises(DataError, match=r"no metric 'spend'.*it has: r"):
        run(log(ope), metric="spend")


def test_an_empty_log_is_refused(ope) -> None:
    with pytest.raises(DataError, match="no rows to evaluate"):
        run([])


def test_a_policy_that_is_no_distribution_is_refused(ope) -> None:
    class Leaky(ope.TablePolicy):
        def distribution(self, context, eligible):
            return np.tile(self._row, (len(eligible), 1))

    with pytest.raises(ParameterError, match="sum to 1"):
        run(log(ope), PolicyTarget(Leaky("leaky", [0.5, 0.2, 0.2])))
    eligible = np.ones((N, 3), dtype=bool)
    eligible[5, 2] = False
    with pytest.raises(ParameterError, match="0 on removed actions"):
        run(log(ope, eligible=eligible), PolicyTarget(Leaky("leaky", [0.5, 0.2, 0.3])))
    with pytest.raises(ParameterError, match="non-negative"):
        run(log(ope), PolicyTarget(Leaky("leaky", [1.5, -0.5, 0.0])))


@pytest.mark.parametrize(
    ("values", "message"),
    [([0.5] * (N - 1) + [1.1], r"in \[0, 1\], got 1.1"), ([np.nan] * N, "got nan"), (["send"] * N, "@action")],
)
def test_probability_columns_are_checked(ope, values, message) -> None:
    with pytest.raises(DataError, match=message):
        run(log(ope, extra={"p": values}), ColumnTarget("column:p", "p"))


def test_a_probability_column_is_used_as_it_stands(ope) -> None:
    """Half the propensity everywhere: every weight is 0.5, IPS is half the mean, and the mean weight tells."""
    batches = log(ope, extra={"p": [1 / 6] * N})
    found = run(batches, ColumnTarget("column:p", "p"), estimators=("ips", "snips", "dr"))
    mean = batches[0].rewards["r"].mean()
    assert [e.value for e in found.results] == pytest.approx([mean / 2, mean])
    assert found.results[0].unsupported_mass is None
    assert found.results[0].verdict == "insufficient"
    assert any("mean weight 0.5" in reason for reason in found.reasons[0])
    (skipped,) = found.skipped
    assert (skipped.policy, skipped.estimator) == ("column:p", "dr")
    assert "whole distribution" in skipped.reason


def test_an_action_column_is_resolved_and_its_unsupported_mass_counted(ope) -> None:
    catalog = one_axis_catalog("c", ["7", "b"], hold_name="none")
    eligible = np.ones((N, 3), dtype=bool)
    eligible[:50, 2] = False
    batches = log(ope, eligible=eligible, action=[1] * N, extra={"a": [7.0] * 100 + ["b"] * 50 + ["none"] * 50})
    target = ColumnActionTarget("column:a@action", "a", catalog)
    found = target.probabilities(batches[0])
    assert found.logged.tolist() == [1.0] * 100 + [0.0] * 100
    assert found.full.sum(axis=0).tolist() == [50, 100, 50]
    assert found.unsupported.sum() == 0
    swapped = log(ope, eligible=eligible, extra={"a": ["b"] * N})
    found = run(swapped, target, estimators=("ips",))
    (estimate,) = found.results
    assert estimate.unsupported_mass == 0.25
    assert estimate.verdict == "insufficient"
    assert any("25.0%" in reason for reason in found.reasons[0])
    with pytest.raises(DataError, match="unknown action 'zap'"):
        run(log(ope, extra={"a": ["zap"] * N}), target)
    with pytest.raises(DataError, match="no column 'a'"):
        run(log(ope), target)


@pytest.mark.parametrize(
    ("clip", "note"),
    [(2.0, "clipped at 2: 33.3% of their sum is cut, a bias"), (3.0, "clipped at 3: no weight is larger")],
)
def test_the_clipping_is_reported(ope, clip, note) -> None:
    """Weights are 3 or 0; clipped at 2 a third of their sum is gone."""
    target = PolicyTarget(ope.TablePolicy("one", [0, 1, 0]))
    batches = log(ope, propensity=[1 / 3] * N)
    assert note in remarks(run(batches, target, estimators=("clipped",), clip=clip))[0]


def test_skipped_estimators_say_why(ope) -> None:
    target = PolicyTarget(ope.TablePolicy("one", [0, 1, 0]))
    found = run(log(ope), target, LoggedTarget(), estimators=("ips", "dm", "dr"))
    assert {(one.policy, one.estimator) for one in found.skipped} == {
        ("one", "dm"),
        ("one", "dr"),
        ("logged", "dm"),
        ("logged", "dr"),
    }
    assert "no" in found.skipped[0].reason
    assert [estimate.estimator for estimate in found.results] == ["ips", "ips"]


def test_propensities_of_another_policy_are_noticed(ope) -> None:
    """Actions drawn 2:1:1 but logged as evenly drawn: the mean weight of action 0 is 1.5."""
    rng = np.random.default_rng(4)
    n = 2000
    batches = ope.batches(rng.choice(3, n, p=[0.5, 0.25, 0.25]), np.full(n, 1 / 3), {"r": rng.random(n)}, k=3)
    found = run(batches, PolicyTarget(ope.TablePolicy("zero", [1, 0, 0])), estimators=("ips",))
    (estimate,) = found.results
    assert estimate.verdict == "insufficient"
    assert any("mean weight" in reason for reason in found.reasons[0])


def test_too_few_rows_or_clusters_are_insufficient(ope) -> None:
    short = ope.batches([0, 1] * 10, [0.5] * 20, {"r": [1.0, 0.0] * 10}, k=2)
    assert any("effective sample size 20.0" in reason for reason in run(short).reasons[0])
    few = log(ope, cluster=np.arange(N) % 4)
    assert any("4 independent units" in reason for reason in run(few, clustered=True).reasons[0])


def test_rare_outcomes_are_insufficient_however_even_the_weights(ope) -> None:
    """300 even rows with 4 events, 2 of them on the target's half: one carries half of the variance.

    p = 1/75: kurtosis (1 - 3 p (1 - p)) / (p (1 - p)) = 73.0, so the 150 effective rows hold 150 / 73 = 2.1 events.
    """
    n = 300
    reward = np.zeros(n)
    reward[[3, 80, 150, 222]] = 1.0
    batches = ope.batches(np.arange(n) % 2, np.full(n, 0.5), {"r": reward}, k=2)
    found = run(batches, PolicyTarget(ope.TablePolicy("one", [0, 1])), estimators=("ips",))
    (estimate,) = found.results
    assert estimate.verdict == "insufficient"
    assert any("about 2.1 of the rare outcomes" in reason for reason in found.reasons[0])
    assert any("of the sampling variance" in reason for reason in found.reasons[0])


def test_many_rare_outcomes_are_enough(ope) -> None:
    """The same rate over ten times the rows: 20 expected events on the target's half."""
    n = 3000
    reward = np.zeros(n)
    reward[np.arange(7, n, 75)] = 1.0
    batches = ope.batches((np.arange(n) // 75) % 2, np.full(n, 0.5), {"r": reward}, k=2)
    found = run(batches, PolicyTarget(ope.TablePolicy("one", [0, 1])), estimators=("ips",))
    (estimate,) = found.results
    assert not found.reasons[0]
    assert estimate.verdict == "no difference"


def test_kurtosis_is_that_of_scipy_and_blind_to_the_partition() -> None:
    """A reward that is 1 with probability p has kurtosis about 1 / p; nothing that varies gives NaN."""
    rng = np.random.default_rng(8)
    values = (rng.random(9000) < 0.02) * 0.7
    whole, first, second = Spread(), Spread(), Spread()
    for chunk, start in enumerate(range(0, 9000, 3000)):
        part = values[start : start + 3000]
        whole.add(chunk, part)
        (first if chunk == 1 else second).add(chunk, part)
    second.merge(first)
    assert whole.kurtosis() == second.kurtosis() == pytest.approx(kurtosis(values, fisher=False))
    constant = Spread()
    constant.add(0, np.full(50, 0.3))
    assert np.isnan(constant.kurtosis())
    assert np.isnan(Spread().kurtosis())


def test_a_thin_baseline_spoils_the_verdict(ope) -> None:
    rng = np.random.default_rng(6)
    action = (rng.random(N) < 0.01).astype(int)
    action[0] = 1
    batches = ope.batches(action, np.where(action == 1, 0.01, 0.99), {"r": rng.random(N)}, k=2)
    rare = PolicyTarget(ope.TablePolicy("rare", [0, 1]))
    found = run(batches, LoggedTarget(), baseline=rare, estimators=("ips",))
    (estimate,) = found.results
    assert estimate.verdict == "insufficient"
    assert all(reason.startswith("baseline rare") for reason in found.reasons[0])


def test_folds_keep_clusters_whole_and_models_blind_to_them(ope) -> None:
    cluster = np.arange(N) // 4
    batches = log(ope, cluster=cluster)
    seen: list[set[int]] = []

    class Spy(ope.Ridge):
        def fit(self, rounds):
            kept = list(rounds)
            seen.append({int(key) for batch in kept for key in batch.cluster})
            super().fit(kept)

    fitted = cross_fit(batches, lambda: Spy("r", 3), folds=4, seed=3)
    keys = batches[0].cluster
    folds = model_fold_of(keys, 4, 3)
    for fold, training in enumerate(seen):
        held_out = {int(key) for key in keys[folds == fold]}
        assert held_out
        assert not held_out & training
    predicted = fitted.predict(batches[0])
    for row in range(0, N, 37):
        one = batches[0].take(slice(row, row + 1))
        assert fitted.models[folds[row]].predict(one.context)[0] == pytest.approx(predicted[row])


def test_cross_fitting_refuses_what_cannot_work(ope) -> None:
    with pytest.raises(ParameterError, match="folds"):
        cross_fit(log(ope), lambda: ope.Ridge("r", 3), folds=1, seed=0)
    with pytest.raises(DataError, match="no rows to train on"):
        cross_fit(log(ope, cluster=np.zeros(N)), lambda: ope.Ridge("r", 3), folds=3, seed=0)
    target = PolicyTarget(ope.TablePolicy("one", [0, 1, 0]))
    with pytest.raises(LearnError, match="shape"):
        run(log(ope), target, estimators=("dr",), reward_model_factory=lambda: ope.Ridge("r", 4))

    class Wild(ope.Ridge):
        def predict(self, context):
            return np.full((context.n, 3), np.inf)

    with pytest.raises(DataError, match="not finite"):
        run(log(ope), target, estimators=("dr",), reward_model_factory=lambda: Wild("r", 3))


def test_fitting_needs_a_log_that_can_be_read_again(ope) -> None:
    target = PolicyTarget(ope.TablePolicy("one", [0, 1, 0]))
    once = iter(log(ope))
    with pytest.raises(ParameterError, match="re-iterable"):
        run(once, target, estimators=("dr",), reward_model_factory=lambda: ope.Ridge("r", 3))
    assert len(run(once, target).results) == 2


def test_progress_is_reported(ope) -> None:
    told: list[tuple[str, int]] = []
    target = PolicyTarget(ope.TablePolicy("one", [0, 1, 0]))
    run(
        log(ope, rows_per_chunk=100),
        target,
        estimators=("dr",),
        folds=2,
        reward_model_factory=lambda: ope.Ridge("r", 3),
        progress=lambda stage, done: told.append((stage, done)),
    )
    assert told == [("fit", 1), ("fit", 2), ("evaluate", 100), ("evaluate", 200)]
