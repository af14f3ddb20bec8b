"""What must hold of the estimators beyond IPS, SNIPS, DM and DR on any log, and at the limits of their parameters."""

from __future__ import annotations

import math
import pickle

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError, ParameterError
from engine.ope.estimators.doubly_robust import Dm, Dr, Sndr
from engine.ope.estimators.marginalised import ActionGroups, Embedding
from engine.ope.estimators.named import ESTIMATORS, FAMILIES, estimators_named
from engine.ope.estimators.several_loggers import count_loggers
from engine.ope.estimators.terms import Rows
from engine.ope.estimators.weighting import Clipped, Ips, Snips
from engine.ope.evaluate import finish
from engine.ope.models.crossfit import cross_fit, fit_for_target
from engine.ope.state import EvaluationState
from engine.ope.target import LoggedTarget, PolicyTarget
from engine.records.rounds import SAMPLE_WEIGHT
from tests.engine.ope import asking
from tests.engine.ope.asking import estimate_of, evaluate, remarks

N, CHUNKS = 700, 7
FLOATS = st.floats(-100, 100, allow_subnormal=False)
WEIGHTS = st.one_of(st.just(0.0), st.floats(1e-3, 1e6))
ROWS = st.lists(st.tuples(WEIGHTS, FLOATS, FLOATS, FLOATS), min_size=2, max_size=30)
WEIGHTED = (*(name for name in ESTIMATORS if name not in FAMILIES), *(f"{name}:slope" for name in FAMILIES))


def columns_of(drawn) -> tuple[np.ndarray, ...]:
    """Weight, reward, the model's value and logged value."""
    return tuple(np.ascontiguousarray(column) for column in np.array(drawn).T)


@settings(max_examples=60)
@given(ROWS)
@pytest.mark.parametrize(
    ("name", "limit", "same"),
    [
        ("clipped", math.inf, Ips()),
        ("switch_dr", math.inf, Dr()),
        ("switch_dr", 0.0, Dm()),
        ("dros", math.inf, Dr()),
        ("dros", 0.0, Dm()),
        ("drps", math.inf, Dr()),
        ("drps", 0.0, Dm()),
        ("sg_ips", 0.0, Ips()),
        ("sg_dr", 0.0, Dr()),
    ],
)
def test_families_end_in_ips_dr_and_dm(name, limit, same, drawn) -> None:
    columns = columns_of(drawn)
    found, expected = (estimate_of(e, *columns) for e in (FAMILIES[name].make(limit, name), same))
    assert found.value == expected.value
    assert found.stderr == expected.stderr


@settings(max_examples=60)
@given(ROWS, st.floats(1e-3, 1e9))
def test_shrunk_weights_lie_between_0_and_the_weight(drawn, parameter) -> None:
    weight = columns_of(drawn)[0]
    ones = Rows(np.ones_like(weight), weight, np.zeros_like(weight), np.zeros_like(weight))
    for name in ("clipped", "switch_dr", "dros", "drps"):
        kept = FAMILIES[name].make(parameter, name).terms(ones)
        assert (kept >= 0).all()
        assert (kept <= ones.weight * (1 + 1e-12)).all()
    harmonic = FAMILIES["sg_ips"].make(min(parameter, 1.0), "sg_ips").terms(ones)
    assert (harmonic <= np.maximum(ones.weight, 1.0) * (1 + 1e-12)).all()
    assert (harmonic <= (1 + 1e-12) / min(parameter, 1.0)).all()


@settings(max_examples=60)
@given(ROWS)
def test_sndr_without_a_model_is_snips_and_with_even_weights_dr(drawn) -> None:
    weight, reward, value, logged = columns_of(drawn)
    if weight.sum() > 0:
        zero = np.zeros_like(reward)
        found, expected = estimate_of(Sndr(), weight, reward, zero, zero), estimate_of(Snips(), weight, reward)
        assert found.value == pytest.approx(expected.value, rel=1e-12, abs=1e-12)
        assert found.stderr == pytest.approx(expected.stderr, rel=1e-9, abs=1e-9)
    even = (np.ones_like(reward), reward, value, logged)
    assert estimate_of(Sndr(), *even).value == pytest.approx(estimate_of(Dr(), *even).value, rel=1e-9, abs=1e-9)


def random_log(ope, seed=5, rows_per_chunk=100):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=N)
    action = (rng.random(N)[:, None] > np.array([0.4, 0.7, 0.9, 1.0])).sum(axis=1)
    return ope.batches(
        action,
        np.array([0.4, 0.3, 0.2, 0.1])[action],
        {"r": 1 + action + 0.5 * x * action + rng.normal(size=N)},
        k=4,
        cluster=rng.integers(120, size=N),
        features={"x": x},
        extra={"who": rng.choice(["x", "y"], size=N).tolist()},
        rows_per_chunk=rows_per_chunk,
    )


class Weighted:
    """The test's ridge regression, honouring the weights of rows."""

    weighs_rounds = True

    def __init__(self, ope):
        self._ope = ope

    def fit(self, rounds):
        gram, moment = np.zeros((4, 2, 2)), np.zeros((4, 2))
        for batch in rounds:
            design = self._ope.Ridge._design(batch.context)
            weight = batch.extra[SAMPLE_WEIGHT].astype(float)
            for a in range(4):
                mine = batch.action == a
                gram[a] += (design[mine] * weight[mine, None]).T @ design[mine]
                moment[a] += (design[mine] * weight[mine, None]).T @ batch.rewards["r"][mine]
        self._coefficients = np.linalg.solve(gram + 1e-3 * np.eye(2), moment[..., None])[..., 0]

    def predict(self, context):
        return self._ope.Ridge._design(context) @ self._coefficients.T


def logged_policy(ope):
    return PolicyTarget(ope.TablePolicy("log", [0.4, 0.3, 0.2, 0.1]))


def setup_of(ope, log, *, interval="delta", clustered=False, names=WEIGHTED, groups=(0, 0, 1, 1), targets=None):
    policies = [("x", logged_policy(ope)), ("y", logged_policy(ope))]
    targets = targets or (PolicyTarget(ope.TablePolicy("t", [0.1, 0.2, 0.3, 0.4])),)
    baseline = PolicyTarget(ope.TablePolicy("b", [0.4, 0.1, 0.4, 0.1]))
    own = {
        target.name: fit_for_target(log, target, lambda: Weighted(ope), folds=2, seed=0)
        for target in (baseline, *targets)
    }
    return asking.setup_of(
        targets=targets,
        metric="r",
        reward_range=(-50, 50),
        estimators=names,
        baseline=baseline,
        interval=interval,
        clustered=clustered,
        clip=3.0,
        replicates=100,
        models=cross_fit(log, lambda: ope.Ridge("r", 4), folds=2, seed=0),
        own_models=own,
        embedding=Embedding(ActionGroups(("g",), np.array(groups)), logged_policy(ope)),
        loggers=count_loggers(log, "who", policies),
    )


def whole(setup, batches) -> EvaluationState:
    state = EvaluationState(setup)
    for batch in batches:
        state.add(batch)
    return state


def answer(state) -> str:
    return msgspec.json.encode(finish(state)).decode()


@pytest.fixture(scope="module", params=[("delta", False), ("delta", True), ("bootstrap", True), ("bootstrap", False)])
def prepared(request, ope):
    log = random_log(ope)
    setup = setup_of(ope, log, interval=request.param[0], clustered=request.param[1])
    return setup, log, answer(whole(setup, log))


@settings(max_examples=6)
@given(
    order=st.permutations(range(CHUNKS)),
    owner=st.lists(st.integers(0, 2), min_size=CHUNKS, max_size=CHUNKS),
    merge_order=st.permutations(range(3)),
)
def test_every_partition_gives_the_same_bytes(prepared, order, owner, merge_order) -> None:
    setup, log, expected = prepared
    states = [EvaluationState(setup) for _ in range(3)]
    for chunk in order:
        states[owner[chunk]].add(log[chunk])
    first, *others = (states[i] for i in merge_order)
    for other in others:
        first.merge(pickle.loads(pickle.dumps(other)))
    assert answer(first) == expected


def test_the_size_of_the_blocks_changes_nothing_but_rounding(ope) -> None:
    log = random_log(ope)
    setup = setup_of(ope, log)
    before = finish(whole(setup, log))
    after = finish(whole(setup, random_log(ope, rows_per_chunk=33)))
    assert not before.skipped
    assert len(before.results) == len(WEIGHTED)
    for a, b in zip(before.results, after.results, strict=True):
        assert (a.estimator, a.verdict, a.notes) == (b.estimator, b.verdict, b.notes)
        assert b.value == pytest.approx(a.value, rel=1e-11)
        if a.stderr is not None:
            assert b.stderr == pytest.approx(a.stderr, rel=1e-9)
            assert b.difference.stderr == pytest.approx(a.difference.stderr, rel=1e-9)


def values(ope, **options) -> dict[str, float]:
    log = random_log(ope)
    return {e.estimator: e.value for e in finish(whole(setup_of(ope, log, **options), log)).results}


def test_attributes_that_tell_all_actions_apart_give_ips_snips_and_dr(ope) -> None:
    found = values(ope, names=("ips", "snips", "dr", "mips", "smips", "offcem"), groups=(0, 1, 2, 3))
    for marginal, plain in (("mips", "ips"), ("smips", "snips"), ("offcem", "dr")):
        assert found[marginal] == pytest.approx(found[plain], rel=1e-12)


def test_attributes_that_tell_nothing_apart_give_the_mean_reward(ope) -> None:
    mean = np.concatenate([batch.rewards["r"] for batch in random_log(ope)]).mean()
    assert values(ope, names=("mips",), groups=(0, 0, 0, 0))["mips"] == pytest.approx(mean, rel=1e-12)


def test_loggers_that_are_alike_give_ips_and_dr(ope) -> None:
    found = values(ope, names=("ips", "dr", "balanced", "balanced_dr"))
    assert found["balanced"] == pytest.approx(found["ips"], rel=1e-12)
    assert found["balanced_dr"] == pytest.approx(found["dr"], rel=1e-12)


@pytest.mark.parametrize("clustered", [True, False])
def test_tuned_estimates_carry_the_error_of_their_unbiased_member(ope, clustered) -> None:
    log = random_log(ope)
    names = ("ips", "dr", *(f"{name}:slope" for name in FAMILIES))
    evaluation = finish(whole(setup_of(ope, log, names=names, clustered=clustered), log))
    found = {e.estimator: e for e in evaluation.results}
    said = {e.estimator: remarks(evaluation, place) for place, e in enumerate(evaluation.results)}
    for name in FAMILIES:
        tuned = found[f"{name}:slope"]
        plain = found["ips" if name in {"clipped", "sg_ips"} else "dr"]
        assert tuned.stderr == pytest.approx(plain.stderr, rel=1e-12)
        assert tuned.difference.stderr == pytest.approx(plain.difference.stderr, rel=1e-12)
        assert tuned.low == pytest.approx(min(plain.low, tuned.value), rel=1e-12)
        assert tuned.high == pytest.approx(max(plain.high, tuned.value), rel=1e-12)
        assert "chosen by SLOPE among" in said[f"{name}:slope"][0]
        assert "without bias" in said[f"{name}:slope"][0]


def test_the_streamed_choice_is_that_of_whole_arrays(ope) -> None:
    """Each candidate asked for by its value: SLOPE's choice has the value of the candidate that the note names."""
    log = random_log(ope)
    for name, family in FAMILIES.items():
        names = (f"{name}:slope", *(f"{name}:{value!r}" for value in family.grid))
        evaluation = finish(whole(setup_of(ope, log, names=names), log))
        tuned, *members = evaluation.results
        chosen = remarks(evaluation)[0].split(" = ")[1].split(",")[0]
        (place,) = [i for i, value in enumerate(family.grid) if f"{value:g}" == chosen]
        assert tuned.value == members[place].value


def test_what_is_not_given_is_skipped_with_the_reason(ope) -> None:
    log = random_log(ope)
    found = evaluate(
        log,
        [PolicyTarget(ope.TablePolicy("t", [1, 1, 1, 1])), LoggedTarget()],
        metric="r",
        reward_range=(-50, 50),
        estimators=("ips", *WEIGHTED[2:]),
    )
    reasons = {(one.policy, one.estimator): one.reason for one in found.skipped}
    assert "attributes that carry the effect" in reasons["t", "mips"]
    assert "attributes that carry the effect" in reasons["t", "smips"]
    assert "a reward model" in reasons["t", "offcem"]
    assert "fitted with weights" in reasons["t", "mrdr"]
    assert "policies of all loggers" in reasons["t", "balanced"]
    assert "which of several loggers" in reasons["t", "weighted_ips"]
    assert "whole distribution" in reasons["logged", "mips"]
    assert "whole distribution" in reasons["logged", "mrdr"]
    assert {e.estimator for e in found.results if e.policy == "t"} == {"ips", "clipped:slope", "sg_ips:slope"}


@pytest.mark.parametrize(
    "names", [("drx",), ("ips:3",), ("dros:many",), ("dros:-1",), ("weighted_ips:2",), ("dros", "dros")], ids=str
)
def test_names_outside_what_is_known(names) -> None:
    with pytest.raises(ParameterError):
        estimators_named(names)


def test_names_may_carry_their_parameter() -> None:
    clipped, tuned, fixed = estimators_named(("clipped", "clipped:slope", "switch_dr:2.5"), 7.0)
    assert clipped == Clipped(7.0)
    assert tuned.name == "clipped:slope"
    assert (fixed.name, fixed.parameter) == ("switch_dr:2.5", 2.5)


def test_at_0_a_family_is_dm_and_has_no_interval(ope) -> None:
    log = random_log(ope)
    found = finish(whole(setup_of(ope, log, names=("dm", "switch_dr:0", "dros:0", "drps:0")), log)).results
    assert {e.value for e in found} == {found[0].value}
    assert {(e.low, e.verdict) for e in found} == {(None, "insufficient")}


def test_mrdr_needs_models_that_honour_weights_and_rows_that_matter(ope) -> None:
    log = random_log(ope)
    target = PolicyTarget(ope.TablePolicy("t", [1, 1, 1, 1]))
    with pytest.raises(ParameterError, match="weighs_rounds"):
        fit_for_target(log, target, lambda: ope.Ridge("r", 4), folds=2, seed=0)
    sure = ope.batches([0] * 20, [1.0] * 20, {"r": np.ones(20)}, k=4, features={"x": np.ones(20)})
    with pytest.raises(DataError, match="mrdr cannot be fitted for 't'"):
        fit_for_target(sure, target, lambda: Weighted(ope), folds=2, seed=0)


def test_mrdr_through_the_front_door(ope) -> None:
    found = evaluate(
        random_log(ope),
        [PolicyTarget(ope.TablePolicy("t", [0.1, 0.2, 0.3, 0.4]))],
        metric="r",
        reward_range=(-50, 50),
        estimators=("ips", "mrdr"),
        weighted_model_factory=lambda: Weighted(ope),
        folds=2,
    )
    ips, mrdr = found.results
    assert abs(mrdr.value - ips.value) < 3 * ips.stderr
    assert mrdr.stderr < 0.7 * ips.stderr
    assert "judged by ips" in remarks(found, 1)[0]


def test_slope_chooses_across_estimators(ope) -> None:
    """Value of the chosen one, error of the first; families stand in it with their whole grids."""
    log = random_log(ope)
    names = ("slope:ips+snips+dros+mips:0", "ips", "snips", "mips")
    with pytest.raises(ParameterError, match="estimators"):
        estimators_named(names)
    names = ("slope:ips+snips+dros+mips", "ips", "snips", "mips", *(f"dros:{v!r}" for v in FAMILIES["dros"].grid))
    evaluation = finish(whole(setup_of(ope, log, names=names), log))
    across, *alone = evaluation.results
    (note,) = remarks(evaluation)
    assert "among ips, snips, dros:inf, dros:1e+06" in note
    assert note.endswith("mips; error and interval are those of estimator = ips, taken as without bias")
    chosen = note.split(" = ")[1].split(",")[0]
    labels = ("ips", "snips", "mips", *(f"dros:{value:g}" for value in FAMILIES["dros"].grid))
    assert across.value == alone[labels.index(chosen)].value
    assert across.stderr == alone[0].stderr
    assert across.ess == alone[0].ess
    assert across.low == min(alone[0].low, across.value)


@pytest.mark.parametrize(
    "name",
    [
        "slope:",
        "slope:dm+ips",
        "slope:switch_dr:0+ips",
        "slope:ips+ips",
        "slope:ips+weighted_ips",
        "slope:slope:ips",
        "slope",
    ],
)
def test_slope_across_needs_known_estimators_and_an_interval_first(name) -> None:
    with pytest.raises(ParameterError):
        estimators_named((name,))


def test_slope_across_is_skipped_where_one_of_them_is_not_defined(ope) -> None:
    found = evaluate(
        random_log(ope),
        [PolicyTarget(ope.TablePolicy("t", [1, 1, 1, 1]))],
        metric="r",
        reward_range=(-50, 50),
        estimators=("ips", "slope:ips+mips"),
    )
    (skipped,) = found.skipped
    assert skipped.estimator == "slope:ips+mips"
    assert "attributes" in skipped.reason
