"""The estimators beyond IPS, SNIPS, DM and DR on three rows, with the arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.errors import DataError, ParameterError
from engine.ope.estimators.doubly_robust import Dros, Drps, SgDr, Sndr, SwitchDr
from engine.ope.estimators.marginalised import ActionGroups, Embedding, Mips, OffCem, Smips, action_groups
from engine.ope.estimators.several_loggers import Balanced, BalancedDr, Loggers, count_loggers
from engine.ope.estimators.slope import accepted, least_error
from engine.ope.estimators.weighting import SgIps
from engine.ope.models.crossfit import WeightedRounds, mrdr_weight
from engine.ope.target import LoggedTarget, PolicyTarget
from engine.records.rounds import SAMPLE_WEIGHT
from tests.engine.ope.asking import estimate_of, evaluate, remarks

WEIGHT = np.array([2.0, 0.0, 4.0])
REWARD = np.array([1.0, 1.0, 0.5])
VALUE = np.array([0.6, 0.3, 0.9])
LOGGED = np.array([0.5, 0.2, 0.75])  # residuals 0.5, 0.8, -0.25
MODEL = (WEIGHT, REWARD, VALUE, LOGGED)


def test_sndr() -> None:
    """0.6 + (2 * 0.5 + 4 * -0.25) / 6 = 0.6; the second ratio is 0, mean w = 2.

    Influence: (0.6, 0.3, 0.9) - 0.6 + (1, 0, -1) / 2 = 0.5, -0.3, -0.2; squares 0.38; stderr sqrt(0.38 * 3 / 2) / 3.
    """
    found = estimate_of(Sndr(), *MODEL)
    assert found.value == pytest.approx(0.6)
    assert found.stderr == pytest.approx(math.sqrt(0.57) / 3)


def test_switch_dr() -> None:
    """tau = 3 leaves the row of weight 4 to the model: 1.6, 0.3, 0.9; mean 2.8 / 3."""
    found = estimate_of(SwitchDr(3.0), *MODEL)
    assert found.value == pytest.approx(2.8 / 3)
    assert found.stderr == pytest.approx(np.std([1.6, 0.3, 0.9], ddof=1) / math.sqrt(3))


def test_dros() -> None:
    """lambda = 4: weights 8 / 8 = 1, 0, 16 / 20 = 0.8; terms 0.6 + 0.5, 0.3, 0.9 - 0.2; mean 2.1 / 3."""
    assert estimate_of(Dros(4.0), *MODEL).value == pytest.approx(0.7)


def test_drps() -> None:
    """Clipped at 3: terms 1.6, 0.3, 0.9 - 0.75; mean 2.05 / 3."""
    assert estimate_of(Drps(3.0), *MODEL).value == pytest.approx(2.05 / 3)


def test_sg_ips() -> None:
    """lambda = 1/2: weights 2 / 1.5 = 4/3, 0, 4 / 2.5 = 1.6; terms 4/3, 0, 0.8; mean 32/45."""
    assert estimate_of(SgIps(0.5), WEIGHT, REWARD).value == pytest.approx((4 / 3 + 0.8) / 3)


def test_sg_dr() -> None:
    """The same weights on the residuals: 0.6 + 2/3, 0.3, 0.9 - 0.4; mean (1.8 + 2/3 - 0.4) / 3."""
    assert estimate_of(SgDr(0.5), *MODEL).value == pytest.approx((1.4 + 2 / 3) / 3)


def test_mips_smips_and_offcem_use_the_weights_of_the_attributes() -> None:
    """Weights 1.5, 0.5, 1: w r = 1.5, 0.5, 0.5, mean 2.5 / 3, as over sum w = 3; w (r - q) = 0.75, 0.4, -0.25."""
    weight = np.array([1.5, 0.5, 1.0])
    plain, model = (np.ones(3), REWARD), (np.ones(3), REWARD, VALUE, LOGGED)
    assert estimate_of(Mips(), *plain, embedding_weight=weight).value == pytest.approx(2.5 / 3)
    assert estimate_of(Smips(), *plain, embedding_weight=weight).value == pytest.approx(2.5 / 3)
    assert estimate_of(OffCem(), *model, embedding_weight=weight).value == pytest.approx((1.8 + 0.9) / 3)


def test_balanced_uses_the_weights_of_all_loggers() -> None:
    weight = np.array([1.5, 0.5, 1.0])
    plain, model = (np.ones(3), REWARD), (np.ones(3), REWARD, VALUE, LOGGED)
    assert estimate_of(Balanced(), *plain, balanced_weight=weight).value == pytest.approx(2.5 / 3)
    assert estimate_of(BalancedDr(), *model, balanced_weight=weight).value == pytest.approx(2.7 / 3)


def test_weights_of_attributes_are_sums_over_their_actions(ope) -> None:
    """Actions 0 and 1 share their attribute. Uniform log over 4: p(e) = 1/2, 1/4, 1/4; target 0.2, 0.3, 0.5, 0.

    Row by row (actions 0, 2, 3): 0.5 / 0.5 = 1, 0.5 / 0.25 = 2, 0. The third row may not take action 2: the log's
    p(e) there is 2/3, 0, 1/3, and the target, over the eligible ones alone, has no mass outside.
    """
    eligible = np.ones((3, 4), dtype=bool)
    eligible[2, 2] = False
    (batch,) = ope.batches([0, 2, 3], [1 / 4, 1 / 4, 1 / 3], {"r": [1, 1, 1]}, k=4, eligible=eligible)
    uniform = PolicyTarget(ope.TablePolicy("u", [1, 1, 1, 1]))
    embedding = Embedding(ActionGroups(("size",), np.array([0, 0, 1, 2])), uniform)
    mass = embedding.logged_mass(batch)
    assert mass == pytest.approx(np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [2 / 3, 0, 1 / 3]]))
    full = np.tile([0.2, 0.3, 0.5, 0.0], (3, 1))
    weight, unsupported = embedding.weights(full, mass, batch)
    assert weight == pytest.approx([1.0, 2.0, 0.0])
    assert unsupported == pytest.approx([0.0, 0.0, 0.5])


def catalog() -> Catalog:
    arms = (
        Arm(id="a", category="shoes", discount_depth=0.1, attributes={"tone": "warm"}),
        Arm(id="b", category="shoes", discount_depth=0.2),
        Arm(id="c", category="", attributes={"tone": "warm"}),
    )
    return Catalog(name="c", channels=("email", "sms"), hours=("now",), arms=arms)


@pytest.mark.parametrize(
    ("attributes", "codes"),
    [
        (("channel",), [0, 1, 1, 1, 2, 2, 2]),
        (("category",), [0, 1, 1, 2, 1, 1, 2]),
        (("channel", "discount_depth"), [0, 1, 2, 3, 4, 5, 6]),
        (("tone",), [0, 1, 2, 1, 1, 2, 1]),
        (("hour",), [0, 1, 1, 1, 1, 1, 1]),
        (("arm",), [0, 1, 2, 3, 1, 2, 3]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_actions_are_grouped_by_attributes_and_hold_stands_alone(attributes, codes) -> None:
    found = action_groups(catalog(), attributes)
    assert found.codes.tolist() == codes
    assert found.groups == max(codes) + 1
    full = np.arange(14.0).reshape(2, 7)
    expected = np.stack([full[:, found.codes == group].sum(axis=1) for group in range(found.groups)], axis=1)
    assert found.mass(full) == pytest.approx(expected)


@pytest.mark.parametrize("attributes", [(), ("channel", "channel"), ("colour",)], ids=["none", "twice", "unknown"])
def test_attributes_must_exist(attributes) -> None:
    with pytest.raises(ParameterError, match="among"):
        action_groups(catalog(), attributes)


def test_mrdr_weighs_rows_by_the_variance_that_they_make(ope) -> None:
    """w = 0.5 / 0.25 = 2 and 0.5 / 0.5 = 1: w^2 (1 - p) = 3 and 0.5; the row that the target never has is left out."""
    batches = ope.batches([0, 1, 2], [0.25, 0.5, 0.5], {"r": [1, 1, 1]}, k=3)
    target = PolicyTarget(ope.TablePolicy("t", [0.5, 0.5, 0.0]))
    assert mrdr_weight(batches[0], target) == pytest.approx([3.0, 0.5, 0.0])
    assert mrdr_weight(batches[0], LoggedTarget()) == pytest.approx([0.75, 0.5, 0.5])
    (kept,) = WeightedRounds(batches, target)
    assert kept.extra[SAMPLE_WEIGHT].tolist() == [3.0, 0.5]
    assert kept.action.tolist() == [0, 1]


def test_loggers_are_counted_and_averaged(ope) -> None:
    """Two rows of x (action 0 with 0.8), one of y (0.4): mean propensity of action 0 is 2/3 * 0.8 + 1/3 * 0.4 = 2/3."""
    batches = ope.batches([0, 1, 0], [0.8, 0.2, 0.4], {"r": [1, 1, 1]}, k=2, extra={"who": ["x", "x", "y"]})
    policies = [
        ("y", PolicyTarget(ope.TablePolicy("y", [0.4, 0.6]))),
        ("x", PolicyTarget(ope.TablePolicy("x", [0.8, 0.2]))),
    ]
    loggers = count_loggers(batches, "who", policies)
    assert loggers.names == ("x", "y")
    assert loggers.shares == pytest.approx((2 / 3, 1 / 3))
    positions = loggers.positions(batches[0])
    assert positions.tolist() == [0, 0, 1]
    assert loggers.mean_propensity(batches[0], positions) == pytest.approx([2 / 3, 1 / 3, 2 / 3])


def test_loggers_are_pooled_by_their_precision(ope) -> None:
    """w = 1 throughout. x: 1, 3 (mean 2, sum of squares 2, precision 4 / 2 = 2); y: 0, 8 (mean 4, 4 / 32 = 1/8).

    Weights 16/17 and 1/17: (16 * 2 + 4) / 17 = 36/17.
    """
    batches = ope.batches([0, 1, 0, 1], [0.5] * 4, {"r": [1, 3, 0, 8]}, k=2, extra={"who": ["x", "x", "y", "y"]})
    target = PolicyTarget(ope.TablePolicy("u", [1, 1]))
    options = {"metric": "r", "reward_range": (0, 9), "estimators": ("weighted_ips",)}
    evaluation = evaluate(batches, [target], loggers=count_loggers(batches, "who"), **options)
    (found,) = evaluation.results
    assert found.value == pytest.approx(36 / 17)
    assert remarks(evaluation) == ("loggers are weighted by the precision of their own estimates: x 94.1%, y 5.9%",)
    # The variance of a sum of independent parts: (16/17)^2 * 2/4 + (1/17)^2 * 32/4, times 4/3 for the one mean of n.
    assert found.stderr == pytest.approx(math.sqrt((256 * 0.5 + 8) / 289 * 4 / 3))


def test_a_logger_without_variance_is_pooled_by_rows(ope) -> None:
    batches = ope.batches([0, 1, 0], [0.5] * 3, {"r": [1, 1, 4]}, k=2, extra={"who": ["x", "x", "y"]})
    target = PolicyTarget(ope.TablePolicy("u", [1, 1]))
    options = {"metric": "r", "reward_range": (0, 9), "estimators": ("weighted_ips",)}
    evaluation = evaluate(batches, [target], loggers=count_loggers(batches, "who"), **options)
    assert evaluation.results[0].value == pytest.approx(2.0)
    assert "weighted by their rows" in remarks(evaluation)[0]


@pytest.mark.parametrize(
    ("values", "reaches", "chosen"),
    [
        ([1.0], [0.5], 0),
        ([1.0, 1.2, 1.1], [1.0, 0.5, 0.1], 2),
        ([1.0, 1.2, 4.0], [1.0, 0.5, 0.1], 1),  # |4 - 1| > 0.1 + 1.449 * 1
        ([1.0, 4.0, 1.0], [1.0, 0.5, 0.1], 0),  # nothing after the first that disagrees counts
        ([1.2, 1.0, 1.1], [0.5, 1.0, 0.1], 2),  # taken by falling half-width, not as given
        ([1.0, 1.0], [0.0, 0.0], 1),
        ([1.0, 1.1], [0.0, 0.0], 0),
        ([0.0, 2.449], [1.0, 1.0], 1),  # 1 + (sqrt(6) - 1) = sqrt(6) = 2.4495
        ([0.0, 2.450], [1.0, 1.0], 0),
    ],
)
def test_slope(values, reaches, chosen) -> None:
    assert accepted(values, reaches)[-1] == chosen


@pytest.mark.parametrize(
    ("values", "errors", "gap_reaches", "chosen"),
    [
        ([1.0, 1.2], [0.5, 0.1], [0.0, 0.3], 1),  # the difference is within its reach: variance alone decides
        ([1.0, 1.6], [0.5, 0.1], [0.0, 0.3], 1),  # 0.01 + 0.09 < 0.25
        ([1.0, 1.6], [0.5, 0.1], [0.0, 0.05], 0),  # 0.01 + 0.3025 > 0.25
        ([1.0, 1.0], [0.5, 0.5], [0.0, 0.0], 0),  # a tie goes to the less biased
    ],
)
def test_of_those_that_slope_accepts_the_smallest_error_is_taken(values, errors, gap_reaches, chosen) -> None:
    assert least_error([0, 1], values, errors, gap_reaches) == chosen
    assert least_error([0], values, errors, gap_reaches) == 0


@pytest.mark.parametrize(
    ("make", "bad"),
    [
        (SwitchDr, -1.0),
        (Dros, -0.1),
        (Drps, float("nan")),
        (SgDr, 1.1),
        (SgDr, -0.1),
    ],
)
def test_parameters_outside_their_range(make, bad) -> None:
    with pytest.raises(ParameterError):
        make(bad)
    with pytest.raises(ParameterError, match=r"in \[0, 1\]"):
        SgIps(2.0)


@pytest.mark.parametrize(
    "changes",
    [{"names": ()}, {"names": ("x", "x")}, {"shares": (0.5, 0.4)}, {"shares": (1.0,)}, {"policies": (LoggedTarget(),)}],
    ids=["no name", "same name", "sum", "length", "policies"],
)
def test_loggers_are_checked(changes) -> None:
    with pytest.raises(ParameterError):
        Loggers(**({"column": "who", "names": ("x", "y"), "shares": (0.5, 0.5)} | changes))


def test_loggers_must_be_those_of_the_log(ope) -> None:
    batches = ope.batches([0, 1, 0], [0.8, 0.2, 0.4], {"r": [1, 1, 1]}, k=2, extra={"who": ["x", "x", "y"]})
    x, y = (PolicyTarget(ope.TablePolicy(name, [p, 1 - p])) for name, p in (("x", 0.8), ("y", 0.5)))
    with pytest.raises(DataError, match=r"no policy was given for the loggers \['y'\]"):
        count_loggers(batches, "who", [("x", x)])
    with pytest.raises(DataError, match="no column 'batch'"):
        count_loggers(batches, "batch")
    with pytest.raises(DataError, match="no rows"):
        count_loggers([], "who")
    with pytest.raises(ParameterError, match="re-iterable"):
        count_loggers(iter(batches), "who")
    loggers = count_loggers(batches, "who", [("x", x), ("y", y)])
    with pytest.raises(DataError, match=r"'y' did not decide this log.*'d2'"):
        loggers.mean_propensity(batches[0], loggers.positions(batches[0]))
    with pytest.raises(DataError, match="no known logger"):
        Loggers("who", ("x",), (1.0,)).positions(batches[0])
    with pytest.raises(DataError, match="does not say"):
        Loggers("who", ("x", "y"), (0.5, 0.5), (x, LoggedTarget())).mean_propensity(batches[0], np.array([0, 0, 1]))


def test_the_logging_policy_must_be_that_of_the_log(ope) -> None:
    (batch,) = ope.batches([0, 1], [0.8, 0.2], {"r": [1, 1]}, k=2)
    groups = ActionGroups(("g",), np.array([0, 1]))
    with pytest.raises(ParameterError, match="whole distribution"):
        Embedding(groups, LoggedTarget())
    with pytest.raises(DataError, match="'u' did not decide this log"):
        Embedding(groups, PolicyTarget(ope.TablePolicy("u", [1, 1]))).logged_mass(batch)
    with pytest.raises(DataError, match="3 actions, the log has 2"):
        Embedding(ActionGroups(("g",), np.array([0, 1, 2])), PolicyTarget(ope.TablePolicy("u", [1, 1]))).logged_mass(
            batch
        )
