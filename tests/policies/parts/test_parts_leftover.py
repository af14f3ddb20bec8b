"""policies/parts/leftover.py: what all sends, channels and arms leave over, on cells whose means are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.types import FloatArray
from policies.parts.leftover import leftover_by_arm
from policies.parts.regression import Rows, Stream
from tests.policies.parts.parts_worlds import context

NOISE = 5.0


def shop(channels: int, arms: int) -> Catalog:
    names = tuple(f"channel_{number}" for number in range(channels))
    return Catalog(
        name="many", channels=names, hours=(9,), arms=tuple(Arm(id=f"arm_{k}", approved=True) for k in range(arms))
    )


def rows(
    catalog: Catalog, brings: FloatArray, each: int, held: int, seed: int = 1, error: float | None = None
) -> Stream:
    """`each` sends of every cell and `held` holds; the mean of every cell is exactly what it brings plus a drawn error.

    Args:
        error: of every cell's mean over hold in the place of drawn ones.
    """
    rng = np.random.default_rng(seed)
    cells = np.concatenate([[0.0], brings.ravel()])
    counts = np.array([held, *[each] * brings.size])
    drawn = rng.normal(size=len(cells)) * NOISE / np.sqrt(counts)
    means = cells + (drawn if error is None else np.where(np.arange(len(cells)) > 0, error, 0.0))
    # The same two values in all cells give every row the standard deviation of the noise.
    target = np.concatenate(
        [mean + NOISE * np.where(np.arange(n) < n // 2, 1.0, -1.0) for mean, n in zip(means, counts, strict=True)]
    )
    action = np.repeat(np.arange(len(cells)), counts).astype(np.int32)
    batch = Rows(context(len(action), 1), action, target, np.arange(len(action), dtype=np.uint64))
    return lambda: [batch]


def test_what_many_rows_show_is_taken_as_it_is() -> None:
    brings = np.array([[0.5, 2.0, -1.0], [1.5, 3.0, 0.0]])
    found = leftover_by_arm(rows(shop(2, 3), brings, 60_000, 60_000), shop(2, 3), over_hold=True)
    np.testing.assert_allclose(found, brings, atol=0.12)


@pytest.mark.parametrize("practice", [None, 0.02])
def test_chance_moves_no_send_below_what_it_brings(practice: float | None) -> None:
    """Two and a half standard errors against all sends alike: one log in eighty. They fall by a fraction of it."""
    catalog, seen = shop(3, 3), -0.22
    found = leftover_by_arm(
        rows(catalog, np.zeros((3, 3)), 4000, 4000, error=seen + (practice or 0.0)),
        catalog,
        over_hold=True,
        practice=practice,
    )
    assert 2.4 < abs(seen) / (NOISE * np.sqrt(1 / 4000 + 1 / 36_000)) < 2.8
    assert np.all(found > (practice or 0.0) + 0.2 * seen), found
    # Five standard errors are no chance.
    assert np.all(
        leftover_by_arm(rows(catalog, np.zeros((3, 3)), 4000, 4000, error=2 * seen), catalog, over_hold=True)
        < 1.5 * seen
    )


def test_a_difference_of_arms_is_seen_across_channels() -> None:
    """No cell alone shows 0.12 in an error of 0.08, and chance explains the cells of most logs; their arms do not."""
    catalog, brings = shop(3, 3), np.tile([0.0, 0.12, 0.24], (3, 1))
    best = [
        leftover_by_arm(rows(catalog, brings, 4000, 4000, seed), catalog, over_hold=True, practice=0.02).argmax(axis=1)
        for seed in range(20)
    ]
    assert (np.array(best) == 2).mean() > 0.85, best


def test_a_rare_cell_has_what_its_channel_and_its_arm_have() -> None:
    catalog = shop(3, 6)
    brings = np.arange(3)[:, None] + np.array([0.0, -1.0, 2.0, 1.0, -2.0, 2.0])
    (whole,) = rows(catalog, brings, 5000, 5000)()
    # Ten rows of the last cell are left.
    kept = np.flatnonzero((whole.action < 18) | (np.cumsum(whole.action == 18) <= 10))
    found = leftover_by_arm(lambda: [whole.take(kept)], catalog, over_hold=True)
    assert found[2, 5] == pytest.approx(4.0, abs=0.4)


def test_without_hold_the_level_says_nothing() -> None:
    """Only what cells have over each other counts, wherever they lie."""
    catalog, brings = shop(2, 3), np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    low, high = (
        leftover_by_arm(rows(catalog, brings + by, 20_000, 100), catalog, over_hold=False) for by in (0.0, 40.0)
    )
    np.testing.assert_allclose(low, high, atol=1e-3)
    np.testing.assert_allclose(low, brings - 1.0, atol=0.15)


@pytest.mark.parametrize(("each", "held"), [(10, 500), (500, 10)])
def test_too_few_rows_say_nothing(each: int, held: int) -> None:
    found = leftover_by_arm(rows(shop(2, 3), np.full((2, 3), 9.0), each, held), shop(2, 3), over_hold=True)
    assert not found.any()


def test_one_channel_with_sixty_arms_is_soon_told() -> None:
    catalog = shop(1, 60)
    brings = np.linspace(-1.0, 1.0, 60)[None, :]
    found = leftover_by_arm(rows(catalog, brings, 400, 2000), catalog, over_hold=True)
    assert np.corrcoef(found.ravel(), brings.ravel())[0, 1] > 0.85
    assert found.std() < 1.05 * brings.std()
