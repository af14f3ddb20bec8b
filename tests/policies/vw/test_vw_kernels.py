"""policies/vw/scoring/kernels.py at 577 actions: equal to the plain path, and the cache on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.eligibility import Eligibility
from engine.sampling import draw
from policies.exploring.config import ExplorationConfig, Kind
from policies.vw.scoring import kernels
from policies.vw.scoring.tables import ScoreTables

pytestmark = pytest.mark.skipif(not kernels.AVAILABLE, reason="numba is not installed, or switched off")

SHAPE = (3, 24, 8)
ROWS = 400
PURPOSES = np.arange(8) % 2


class Shape:
    """As much of a catalog as the tables ask for."""

    shape = SHAPE


def tables(seed: int, levels: int | None) -> ScoreTables:
    """Random tables; with `levels` their entries are few whole numbers, so that many scores tie."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in ScoreTables.shapes(Shape(), 5).items():  # type: ignore[arg-type]
        values = rng.normal(0, 0.1, shape) if levels is None else rng.integers(0, levels, shape)
        made[name] = values.astype(np.float32)
    made["limits"][:] = [-np.inf, np.inf]
    return ScoreTables(**made)


def eligibility(seed: int) -> Eligibility:
    """From rows with hold alone to rows with everything."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0, 1.01, ROWS)[:, None, None]
    return Eligibility(
        rng.random((ROWS, 3, 8)) < share, rng.random((ROWS, 2, 3, 24)) < share[:, None], PURPOSES.astype(np.int64)
    )


@pytest.mark.parametrize("kind", ["greedy", "epsilon_greedy", "softmax", "squarecb"])
@pytest.mark.parametrize("levels", [None, 1, 2, 4])
@pytest.mark.parametrize(
    ("ceiling", "floor"), [(0.1, 0.005), (0.1, 0.0), (None, 0.005), (0.7, 0.02), (1.0, 0.5), (0.0, 0.01), (0.05, 0.1)]
)
def test_fused_and_plain_draw_the_same(kind: Kind, levels: int | None, ceiling: float | None, floor: float) -> None:
    seed = 7
    config = ExplorationConfig(kind=kind, epsilon=0.3, inverse_temperature=5.0, ceiling=ceiling, floor=floor)
    score, may = tables(seed, levels), eligibility(seed)
    x = np.random.default_rng(seed).integers(0, 2, (ROWS, 5)).astype(np.float32)
    uniform = np.random.default_rng(seed + 1).random(ROWS)
    expected, propensity = draw(config.distribution(score.scores(x), may.dense(), 4_000), uniform)
    for rows in (slice(0, ROWS), slice(100, 300), slice(ROWS - 1, ROWS)):
        action, got = kernels.choose(x[rows], score, may.take(rows), config, 4_000, uniform[rows])
        np.testing.assert_array_equal(action, expected[rows])
        np.testing.assert_allclose(got, propensity[rows], rtol=1e-11, atol=1e-12)


PROGRAM = """
import time
import numpy as np
from policies.vw.scoring import jitted
from policies.vw.scoring import kernels
start = time.perf_counter()
x, out = np.ones((1, 1), dtype=np.float32), np.empty((1, 2))
one = np.ones((1, 1))
kernels.run("policies.vw.scoring.jitted", "score_rows", x, np.ones((2, 4)), one, one, one, out)
stats = kernels._compiled("policies.vw.scoring.jitted", "score_rows", True).stats
print(out.tolist(), sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), len(stats.cache_path or ""))
"""


def run(root: Path, folder: Path, **others: str) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(root), **others}
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


@pytest.fixture(scope="module")
def compiled(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A cache that one process has filled, and what that process said."""
    folder = tmp_path_factory.mktemp("cache")
    return folder, run(root, folder)


def test_a_second_process_does_not_compile(root: Path, compiled: tuple[Path, str]) -> None:
    folder, first = compiled
    assert first.startswith("[[2.0, 9.0]] 0 1 ")
    assert run(root, folder).startswith("[[2.0, 9.0]] 1 0 ")


def test_a_damaged_cache_is_compiled_anew(root: Path, compiled: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(compiled[0], tmp_path, dirs_exist_ok=True)
    damaged = [path for path in tmp_path.rglob("*") if path.suffix in {".nbi", ".nbc"}]
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:40])
    assert run(root, tmp_path).startswith("[[2.0, 9.0]]")


def test_without_a_folder_to_write_to_it_compiles(root: Path, tmp_path: Path) -> None:
    """A folder under a regular file cannot be made, by nobody; and numba may look nowhere else."""
    (tmp_path / "file").write_text("")
    only = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    assert run(root, tmp_path / "file" / "cache", **only).startswith("[[2.0, 9.0]]")
