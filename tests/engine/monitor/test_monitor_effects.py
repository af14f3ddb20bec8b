"""Effects by day: by hand, with what was known before, and with intervals that hold on all days."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from engine.features import FeatureSchema
from engine.monitor.effects import EffectSums, FirstValues, covariates_of
from engine.monitor.rule import Escalation, MonitorRule
from experiments.study.monitor_coverage import launch, measure
from tests.engine.audit.audited_worlds import healthy
from tests.strategies import categorical_spec, numeric_spec


def two_groups(n: int, reward: np.ndarray, before: np.ndarray | None = None) -> EffectSums:
    """n decisions of n contacts on one day, by turns in treatment and control."""
    sums = EffectSums(256, 0 if before is None else before.shape[1])
    group = np.array(["treatment", "control"] * (n // 2), dtype=object)
    contact = np.random.default_rng(1).integers(0, 2**63, n).astype(np.uint64)
    sums.add(np.zeros(n, dtype=np.int64), group, contact, reward, np.zeros((n, 0)) if before is None else before)
    return sums


def test_the_difference_of_two_means_by_hand() -> None:
    """Treatment has 3 on average, control 1; rows whose reward is not known do not count."""
    reward = np.tile([2.0, 0.0, 4.0, 2.0, np.nan, np.nan], 200)
    (day,) = two_groups(1200, reward).sequence("control", 0.05, 50_000.0)
    assert day.value == day.plain == pytest.approx(2.0)
    assert (day.day, day.treated, day.others) == ("1970-01-01", 400, 400)
    # Two groups of 400 with a standard deviation of 1 each.
    assert day.stderr == pytest.approx(np.sqrt(2 / 400), rel=0.15)
    assert day.high - day.value == pytest.approx(day.value - day.low)


def test_what_was_known_before_takes_variance_off_and_no_effect() -> None:
    """Reward = 3 x + noise + 0.5 for treatment: with x the error is that of the noise."""
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=4000), rng.normal(size=4000)
    reward = 3.0 * x + noise + 0.5 * (np.arange(4000) % 2 == 0)
    (day,) = two_groups(4000, reward, x[:, None]).sequence("control", 0.05, 50_000.0)
    assert day.stderr == pytest.approx(2.0 / np.sqrt(4000), rel=0.15)
    assert day.plain_stderr == pytest.approx(np.sqrt(10.0) * day.stderr, rel=0.2)
    assert abs(day.value - 0.5) < 3 * day.stderr


def test_small_groups_have_no_effect() -> None:
    assert two_groups(120, np.ones(120)).sequence("control", 0.05, 50_000.0) == ()
    assert two_groups(400, np.ones(400)).sequence("uniform", 0.05, 50_000.0) == ()


def test_merged_parts_are_the_whole() -> None:
    whole = launch(np.random.default_rng(3), 200, 6)
    parts = [EffectSums(256, 1), EffectSums(256, 1)]
    for number, (day, sums) in enumerate(whole._days.items()):
        parts[number % 2]._plus(day, sums)
    parts[0].merge(parts[1])
    assert parts[0].sequence("control", 0.05, 5e4) == whole.sequence("control", 0.05, 5e4)


def test_the_intervals_hold_on_all_days() -> None:
    """25 launches of 25 days: at 95 % fewer than 20 held has a chance of 1 in 3,000; one day's intervals do worse."""
    found = measure(25, contacts=300, days=25)
    assert found.always >= 0.92
    assert found.fixed < found.always
    assert found.variance_left < 0.8


@pytest.mark.study
@pytest.mark.parametrize("against", ["control", "uniform"])
def test_the_intervals_hold_on_all_days_of_many_launches(against: str) -> None:
    assert measure(400, against=against).always >= 0.95


def test_first_values_are_those_of_the_first_decision() -> None:
    log = healthy(600, 4)
    batch = log.batch(0, slice(0, 600))
    first = FirstValues(("spend",))
    half = [first.of(batch.take(slice(0, 300))), first.of(batch.take(slice(300, 600)))]
    values = np.concatenate(half)[:, 0]
    for contact in np.unique(log.contact)[:50]:
        rows = np.flatnonzero(log.contact == contact)
        assert set(values[rows]) == {log.context["spend"][rows[0]]}


def test_covariates_are_numeric_features() -> None:
    schema = FeatureSchema(features=(numeric_spec("spend"), categorical_spec("zip")))
    assert covariates_of(schema, ("auto",)) == ("spend",)
    with pytest.raises(DataError, match="zip"):
        covariates_of(schema, ("zip",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"watch": "rate", "effect": "alert", "above": 0.1},
        {"watch": "rate", "effect": "alert", "event": "bounced"},
        {"watch": "rate", "effect": "alert", "event": "bounced", "above": 0.1, "below": 0.2},
        {"watch": "rate", "effect": "pause_arm", "event": "bounced", "above": 0.1, "scope": "channel"},
        {"watch": "stale", "effect": "pause_channel", "above": 0.1},
        {"watch": "reach", "effect": "alert"},
        {"watch": "loss", "effect": "kill", "above": -1.0},
        {"watch": "audit", "effect": "alert"},
    ],
    ids=["no event", "no limit", "two limits", "arm by channel", "stale pauses", "no drop", "negative", "no check"],
)
def test_contradictory_rules_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match="escalation 'x'"):
        Escalation(name="x", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("alpha", 0.0), ("buckets", 8), ("window_days", 0), ("tuned_for", 0.0), ("false_alarms", 1.0)]
)
def test_wrong_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=name):
        MonitorRule(**{name: value})
