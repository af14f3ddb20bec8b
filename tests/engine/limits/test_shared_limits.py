"""Several processes under the same limits: never exceeded, nothing lost, nothing stuck."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from engine.errors import ParameterError
from engine.limits.batch import LimitedBatch
from engine.limits.kinds import DepthLimit, VolumeLimit
from engine.limits.quota import ALL_DAYS, Meter, Need, SqlQuota
from engine.types import NOT_AN_INSTANT
from tests.engine.limits.limit_worker import LIMITS
from tests.engine.limits.limit_worlds import DAY, NOW, admit_and_settle, drawing, ids, small_catalog
from tests.worker_pool import Pool

WORKER = Path(__file__).with_name("limit_worker.py")
MAX_SMS, MAX_CENTS = 300, 40_000
TODAY = NOW // DAY


def totals(outputs: list[str]) -> tuple[int, int]:
    lines = [line.split() for output in outputs for line in output.splitlines()]
    return sum(int(sms) for _, sms, _ in lines), sum(int(cents) for _, _, cents in lines)


@pytest.mark.slow
def test_eight_processes_use_what_there_is_and_never_more(root: Path, store_url: str) -> None:
    """8 x 8 batches of 60 contacts want about 1700 SMS and 2100 dollars of discounts; there are 300 and 400.

    What the last batch held and did not need comes back when nobody asks any more: at most 60 SMS, or 60 x 1.25 USD.
    """
    with SqlQuota(store_url) as store:
        pool = Pool(root, WORKER, 8, store_url, "", 8, 60, NOW)
        pool.go()
        sms, cents = totals([pool.rest()])
        assert MAX_SMS - 60 <= sms <= MAX_SMS
        assert MAX_CENTS - 60 * 125 <= cents <= MAX_CENTS
        assert store.used("sms_a_day") == {TODAY: sms}
        assert store.used("discounts") == {ALL_DAYS: cents * 10_000}


@pytest.mark.slow
def test_killed_processes_give_back_what_they_had_not_settled(root: Path, store_url: str) -> None:
    chance = random.Random(20261122)
    outputs = []
    with SqlQuota(store_url) as store:
        for trial in range(3):
            pool = Pool(root, WORKER, 4, store_url, f"t{trial}", 40, 20, NOW)
            pool.go()
            heard = pool.line()
            time.sleep(chance.uniform(0.0, 0.1))
            pool.kill()
            outputs.append(f"{heard}\n{pool.rest()}")
        sms, cents = totals(outputs)
        used_sms, used_micro = store.used("sms_a_day").get(TODAY, 0), store.used("discounts").get(ALL_DAYS, 0)
        assert used_sms > 0
        # Killed between the settlement and its report: at most one batch of 20 contacts per process.
        assert sms <= used_sms <= min(MAX_SMS, sms + 12 * 20)
        assert cents * 10_000 <= used_micro <= min(MAX_CENTS * 10_000, cents * 10_000 + 12 * 20 * 1_250_000)
        needs = [Need(LIMITS[0], TODAY, 10**6), Need(LIMITS[1], TODAY, 10**12)]
        after = store.acquire("after", needs, now_at=NOW + 61 * 1_000_000, lease_s=60)
        assert after == {
            Meter("sms_a_day", TODAY): MAX_SMS - used_sms,
            Meter("discounts", ALL_DAYS): MAX_CENTS * 10_000 - used_micro,
        }


def test_same_block_is_admitted_as_it_was(tmp_path: Path) -> None:
    catalog, names = small_catalog(), ids("d", 30)
    planned = np.full((30, 2), NOW)
    eligible = np.ones((30, catalog.k), dtype=np.bool_)
    draw = drawing(np.zeros((30, catalog.k)), names, 1)
    with SqlQuota(f"sqlite:///{tmp_path / 'q.sqlite'}") as store:
        limits = (VolumeLimit("all", 7),)

        def admitted(name: str) -> list[int]:
            batch = LimitedBatch(name, limits, catalog, planned)
            return admit_and_settle(batch, store, eligible, names, draw, seed=1, now_at=NOW).action.tolist()

        first = admitted("a")
        assert sum(action > 0 for action in first) == 7
        assert admitted("a") == first
        assert admitted("b") == [0] * 30
        assert store.used("all") == {TODAY: 7}


def test_each_slot_counts_on_its_own_day(tmp_path: Path) -> None:
    """The second slot lies on the next day of New York, whose day begins four hours after UTC's; unknown is today."""
    catalog, names = small_catalog((0.0,)), ids("d", 10)
    midnight = 20_001 * DAY + 4 * 3600 * 1_000_000
    planned = np.tile([midnight - 1, midnight], (10, 1))
    planned[0] = NOT_AN_INSTANT
    scores = np.zeros((10, catalog.k))
    batch = LimitedBatch("a", (VolumeLimit("all", 3),), catalog, planned, zone="America/New_York")
    with SqlQuota(f"sqlite:///{tmp_path / 'q.sqlite'}") as store:
        eligible = np.ones((10, catalog.k), dtype=np.bool_)
        eligible[:, 0] = True
        admit_and_settle(batch, store, eligible, names, drawing(scores, names, 1), seed=1, now_at=midnight - 9)
        assert store.used("all") == {20_000: 3, 20_001: 3}


def test_average_depth_never_rises_above_its_limit(tmp_path: Path) -> None:
    """Depths 0 and 0.2 with an average of 0.1: after every batch, in any order, the sum stays under n x 0.1."""
    catalog = small_catalog()
    depths = np.array([arm.discount_depth for arm in catalog.arms])
    sent: list[float] = []
    with SqlQuota(f"sqlite:///{tmp_path / 'q.sqlite'}") as store:
        for number in range(10):
            names = ids(f"b{number}", 20)
            batch = LimitedBatch(f"b{number}", (DepthLimit("depth", 0.1),), catalog, np.full((20, 2), NOW))
            scores = np.where(catalog.split(np.arange(catalog.k))[2] == 1, 3.0, 0.0) * np.ones((20, 1))
            found = admit_and_settle(
                batch,
                store,
                np.ones((20, catalog.k), dtype=np.bool_),
                names,
                drawing(scores, names, 2),
                seed=2,
                now_at=NOW,
            )
            order = np.argsort(found.turn)
            arms = catalog.split(found.action[order])[2]
            sent.extend(depths[arms[arms >= 0]])
            running = np.cumsum(sent) / np.arange(1, len(sent) + 1)
            assert (running <= 0.1 + 1e-12).all()
    assert np.mean(sent) > 0.05


def test_failed_draw_gives_the_quota_back(tmp_path: Path) -> None:
    catalog, names = small_catalog(), ids("d", 5)
    batch = LimitedBatch("a", (VolumeLimit("all", 3),), catalog, np.full((5, 2), NOW))
    eligible = np.ones((5, catalog.k), dtype=np.bool_)

    def broken(rows: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise KeyError("policy")

    with SqlQuota(f"sqlite:///{tmp_path / 'q.sqlite'}") as store:
        with pytest.raises(KeyError):
            admit_and_settle(batch, store, eligible, names, broken, seed=1, now_at=NOW)
        need = Need(VolumeLimit("all", 3), TODAY, 9)
        assert store.acquire("b", [need], now_at=NOW, lease_s=60) == {Meter("all", TODAY): 3}


def test_limits_need_distinct_names() -> None:
    with pytest.raises(ParameterError, match="distinct"):
        LimitedBatch(
            "a", (VolumeLimit("x", 1), DepthLimit("x", 0.1)), small_catalog(), np.zeros((1, 2), dtype=np.int64)
        )
