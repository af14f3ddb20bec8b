"""policies/parts/permission.py: what a lost permission closes, as a log shows it, and what that costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.eligibility import pack
from engine.records.rounds import RoundBatch
from policies.parts.config import PartsConfig
from policies.parts.log import PartsLog
from policies.parts.permission import OpenUntil, prices
from tests.policies.parts.parts_worlds import RANGE, US_PER_DAY, catalog, learnt, log

LOSS = "unsubscribed"


def lived(closes: str, delay_days: float = 0.0, contacts: int = 400, seed: int = 1) -> RoundBatch:
    """Twenty decisions each, after a loss without the channels that it closes; rows are in the order of time.

    Args:
        closes: "channel", "all", or "gone": there are no more decisions.
        delay_days: after which a loss closes anything.
    """
    batch = log(20 * contacts, seed, contacts)
    channel, _, _ = catalog().split(np.maximum(batch.action, 1))
    lost = (batch.action > 0) & (np.random.default_rng(seed).random(batch.n) < 0.02)
    eligible = np.ones((batch.n, 2, 6), dtype=np.bool_)
    kept = np.ones(batch.n, dtype=np.bool_)
    for row in np.flatnonzero(lost):
        late = batch.decided_at > batch.decided_at[row] + delay_days * US_PER_DAY
        later = late & (batch.cluster == batch.cluster[row])
        eligible[later, channel[row]] = False
        if closes != "channel":
            eligible[later] = False
        if closes == "gone":
            kept &= ~later
    may = np.column_stack([np.ones(batch.n, dtype=np.bool_), eligible.reshape(batch.n, 12)])
    # A message on a closed channel was not sent.
    closed = ~may[np.arange(batch.n), batch.action]
    action = np.where(closed, 0, batch.action).astype(batch.action.dtype)
    rewards = {**batch.rewards, LOSS: (lost & ~closed).astype(np.float64)}
    return replace(batch, action=action, eligible=pack(may), rewards=rewards).take(np.flatnonzero(kept))


def closed_by(*batches: RoundBatch) -> float | None:
    read = PartsLog(batches, catalog(), "margin", RANGE, PartsConfig())
    until = OpenUntil.of(read)
    return None if until is None else until.share_closed(read, LOSS)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("closes", "delay_days", "low", "high"),
    [("channel", 0.0, 0.0, 0.15), ("all", 0.0, 0.95, 1.0), ("gone", 0.0, 0.95, 1.0), ("all", 2.0, 0.6, 1.0)],
)
def test_a_log_shows_what_a_loss_closes(closes: str, delay_days: float, low: float, high: float, seed: int) -> None:
    found = closed_by(lived(closes, delay_days, seed=seed))
    assert found is not None
    assert low <= found <= high


def test_batches_change_nothing() -> None:
    whole = lived("all")
    assert closed_by(whole) == closed_by(*(whole.take(slice(at, at + 700)) for at in range(0, whole.n, 700)))


def test_contacts_with_one_decision_show_nothing() -> None:
    assert closed_by(log(3000)) is None
    few = log(3000, contacts=100, unsubscribed=np.eye(1, 3000, 5)[0])
    assert closed_by(few) is None


def test_prices_by_hand() -> None:
    """Two decisions, gains 3 and 1 on two channels, then 2 with the second one closed; a message every other day."""
    gain = np.array([[3.0, 1.0], [2.0, np.nan]])
    tally = replace(
        PartsLog([log()], catalog(), "margin", RANGE, PartsConfig()).tally, sends=100, contacts=10, days=20.0
    )
    # Half a message a day for half of 8 days: 2 messages.
    np.testing.assert_allclose(prices(gain, 0.0, tally, 8.0), [2.0 * (2.0 + 2.0) / 2.0, 0.0])
    np.testing.assert_allclose(prices(gain, 1.0, tally, 8.0), [2.0 * (3.0 + 2.0) / 2.0, 2.0 * 3.0])
    np.testing.assert_allclose(prices(gain, 0.5, tally, 8.0), [2.0 * (2.5 + 2.0) / 2.0, 2.0 * 1.5])


def test_the_learner_prices_what_the_log_shows_or_what_is_stated() -> None:
    whole = lived("all", contacts=150)
    shown, stated, own = (learnt(whole, closes=closes).state for closes in ("auto", "all", "channel"))
    price, most, least = (state.tables.losses[0].price for state in (shown, stated, own))
    assert np.all(price > 0.9 * most)
    assert np.all(most > 1.5 * least)
    assert any("100 % of the other channels' time" in said for said in shown.said)
    alone = learnt(log(1500)).state
    assert any("does not show what else unsubscribed closes" in said for said in alone.said)
