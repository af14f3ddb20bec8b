"""The quota store, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.errors import DataError, ParameterError, StorageError
from engine.limits.kinds import DepthLimit, RampLimit, VolumeLimit
from engine.limits.quota import ALL_DAYS, Meter, Need, SqlQuota
from tests.engine.limits.limit_worlds import NOW

S = 1_000_000
TODAY = 20_000
TEN = VolumeLimit("ten", 10)
HERE = Meter("ten", TODAY)


@pytest.fixture
def quota(store_url: str) -> Iterator[SqlQuota]:
    with SqlQuota(store_url) as opened:
        yield opened


def take(quota: SqlQuota, grant: str, amount: int, *, now: int = NOW, lease_s: float = 60, share: float = 1.0) -> int:
    return quota.acquire(grant, [Need(TEN, TODAY, amount)], now_at=now, lease_s=lease_s, share=share)[HERE]


def test_unused_quota_returns(quota: SqlQuota) -> None:
    assert take(quota, "a", 8) == 8
    assert take(quota, "b", 8) == 2
    assert take(quota, "c", 8) == 0
    quota.settle("a", {HERE: 3}, {})
    assert take(quota, "d", 8) == 5
    assert quota.used("ten") == {TODAY: 3}


def test_same_grant_gives_the_same(quota: SqlQuota) -> None:
    assert take(quota, "a", 8) == take(quota, "a", 8) == 8
    quota.settle("a", {HERE: 3}, {})
    assert take(quota, "a", 8) == 8
    quota.settle("a", {HERE: 3}, {})
    assert quota.used("ten") == {TODAY: 3}
    with pytest.raises(DataError, match="other amounts"):
        quota.settle("a", {HERE: 4}, {})


def test_dead_holder_gives_back_what_it_had_not_settled(quota: SqlQuota) -> None:
    take(quota, "a", 10)
    quota.settle("a", {HERE: 4}, {}, close=False)
    assert take(quota, "b", 10, now=NOW + 59 * S) == 0
    assert take(quota, "c", 10, now=NOW + 60 * S) == 6
    with pytest.raises(StorageError, match="ran out"):
        quota.settle("a", {HERE: 6}, {})
    with pytest.raises(DataError, match="expired"):
        take(quota, "a", 10, now=NOW + 60 * S)
    assert quota.used("ten") == {TODAY: 4}


def test_late_holder_may_settle_while_nobody_took_it_back(quota: SqlQuota) -> None:
    take(quota, "a", 10)
    quota.settle("a", {HERE: 10}, {})
    assert take(quota, "b", 1, now=NOW + 3600 * S) == 0


def test_days_are_apart(quota: SqlQuota) -> None:
    needs = [Need(TEN, TODAY, 7), Need(TEN, TODAY + 1, 12)]
    assert list(quota.acquire("a", needs, now_at=NOW, lease_s=60).values()) == [7, 10]


def test_share_leaves_something(quota: SqlQuota) -> None:
    assert take(quota, "a", 10, share=0.5) == 5
    assert take(quota, "b", 10, share=0.5) == 3
    assert [take(quota, name, 10, share=0.5) for name in "cde"] == [1, 1, 0]


def test_ramp_looks_at_what_was_sent_before(quota: SqlQuota) -> None:
    """100 yesterday and 20 % more: 120 today. On the day after, today's 60 allow 72; after a day of rest the floor."""
    ramp = RampLimit("ramp", 0.2, floor=100)
    low = RampLimit("ramp", 0.2, floor=10)
    for day, limit, wanted, granted in ((1, ramp, 500, 100), (2, low, 60, 60), (3, low, 500, 72), (5, low, 500, 10)):
        got = quota.acquire(f"g{day}", [Need(limit, day, wanted)], now_at=NOW, lease_s=60)
        assert got == {Meter("ramp", day): granted}
        quota.settle(f"g{day}", got, {})
    assert quota.acquire("g2b", [Need(low, 2, 500)], now_at=NOW, lease_s=60) == {Meter("ramp", 2): 60}


def test_what_is_earned_serves_later_blocks(quota: SqlQuota) -> None:
    depth = DepthLimit("depth", 0.1)
    meter = Meter("depth", ALL_DAYS)
    assert quota.acquire("a", [Need(depth, TODAY, 500)], now_at=NOW, lease_s=60) == {meter: 0}
    quota.settle("a", {}, {meter: 300})
    assert quota.acquire("b", [Need(depth, TODAY, 500)], now_at=NOW, lease_s=60) == {meter: 300}


def test_no_limit_is_counted(quota: SqlQuota) -> None:
    free = VolumeLimit("free", None)
    got = quota.acquire("a", [Need(free, TODAY, 10**9)], now_at=NOW, lease_s=60)
    assert got == {Meter("free", TODAY): 10**9}
    quota.settle("a", {Meter("free", TODAY): 12}, {})
    assert quota.used("free") == {TODAY: 12}


def test_nothing_limited_needs_nothing(quota: SqlQuota) -> None:
    assert quota.acquire("a", [], now_at=NOW, lease_s=60) == {}
    quota.settle("a", {}, {})


def test_bad_input_is_refused(quota: SqlQuota) -> None:
    take(quota, "a", 5)
    for used, error in (
        ({HERE: 6}, ParameterError),
        ({HERE: -1}, ParameterError),
        ({Meter("other", TODAY): 1}, ParameterError),
    ):
        with pytest.raises(error):
            quota.settle("a", used, {})
    quota.settle("a", {HERE: 3}, {}, close=False)
    with pytest.raises(ParameterError):
        quota.settle("a", {HERE: 2}, {})
    with pytest.raises(DataError, match="no quota grant"):
        quota.settle("nobody", {HERE: 1}, {})
    with pytest.raises(DataError, match="other meters"):
        quota.acquire("a", [Need(TEN, TODAY + 1, 1)], now_at=NOW, lease_s=60)
    for needs, more in (
        ([Need(TEN, TODAY, 1), Need(TEN, TODAY, 2)], {}),
        ([Need(TEN, TODAY, -1)], {}),
        ([], {"share": 0.0}),
        ([], {"lease_s": 0.0}),
        ([], {"now_at": 1.5}),
    ):
        with pytest.raises(ParameterError):
            quota.acquire("x", needs, **({"now_at": NOW, "lease_s": 60.0} | more))  # type: ignore[arg-type]
