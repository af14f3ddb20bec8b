"""policies/parts/frequency, history.py: what a log shows of earlier messages, and which features say the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.encoder import fit_encoder
from engine.features import PRESENT, Column
from experiments.study.fatigue_worlds import COUNT, SINCE, FatigueWorld
from policies.parts.frequency.history import History, Signal, history_of, signals, without

NAN = np.nan


def test_by_hand():
    """Two contacts; the second one's messages are not the first one's."""
    contact = np.array([0, 0, 0, 0, 1, 1])
    at = np.array([0.0, 1.0, 2.5, 9.0, 0.0, 5.0])
    sent = np.array([False, True, True, False, True, False])
    history = History((), np.arange(6), contact, at, sent)
    np.testing.assert_array_equal(history.since, [NAN, NAN, 1.5, 6.5, NAN, 5.0])
    np.testing.assert_array_equal(history.counted(7.0), [0, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(history.counted(30.0), [0, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(history.whole(5.0), [False, False, False, True, False, True])
    assert history.gap_days == 3.25
    assert [rows.tolist() for rows in history.steps()] == [[0, 4], [1, 5], [2], [3]]


@pytest.fixture(scope="module")
def log():
    return FatigueWorld(features=(SINCE, COUNT)).log(120, 40, seed=4)


def found(batches) -> tuple[Signal, ...]:
    encoder = fit_encoder(batches[0].context.schema, [batch.context for batch in batches])
    return signals(history_of(batches), encoder)


def with_feature(batches, name: str, change):
    """The log with other values of a feature."""
    out = []
    for batch in batches:
        old = batch.context.columns[name]
        columns = dict(batch.context.columns) | {name: Column(change(old.values), old.state, ())}
        out.append(replace(batch, context=replace(batch.context, columns=columns)))
    return out


def test_features_that_agree_are_found(log):
    assert found(log) == (Signal(SINCE), Signal(COUNT, 7.0))


def test_rounded_and_stopped_days_agree(log):
    assert Signal(SINCE) in found(with_feature(log, SINCE, lambda days: np.minimum(np.floor(days + 0.7), 5.0)))


@pytest.mark.parametrize(
    "change",
    [lambda days: days + 3.0, lambda days: np.full_like(days, 2.0), lambda days: days[::-1].copy(), lambda days: -days],
)
def test_features_that_do_not_agree_are_not(log, change):
    assert found(with_feature(log, SINCE, change)) == (Signal(COUNT, 7.0),)


def test_a_log_without_messages_finds_nothing(log):
    held = [replace(batch, action=np.zeros_like(batch.action)) for batch in log]
    assert found(held) == ()
    unusable = [replace(batch, usable=np.zeros(batch.n, dtype=np.bool_)) for batch in log]
    assert found(unusable) == ()


def test_order_of_rows_and_batches_plays_no_part(log):
    rng = np.random.default_rng(0)
    mixed = [batch.take(rng.permutation(batch.n)) for batch in reversed(log)]
    first, second = history_of(log), history_of(mixed)
    for name in ("contact", "at_days", "sent", "since"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(first.feature(SINCE), second.feature(SINCE))


def test_without_leaves_the_other_features(log):
    context = log[5].context
    encoder = fit_encoder(context.schema, [context])
    x = encoder.encode(context)
    out = without(x, encoder, (SINCE,))
    own = np.array([name.split("=")[0] == SINCE for name in encoder.column_names])
    assert own.sum() == 3
    np.testing.assert_array_equal(out[:, ~own], x[:, ~own])
    assert not out[:, own].any()
    assert x[:, own].any()
    assert (context.columns[SINCE].state == PRESENT).any()
