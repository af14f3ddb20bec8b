"""Numba kernels: scores, exploration and draw of a row in one go, in the cache of the processor. Optional.

They repeat the numpy path operation by operation, in the same order and in float64, so actions agree and propensities
agree to 1e-12; the tests hold both against each other. Without numba, or with TACTFUL_NO_NUMBA=1, `AVAILABLE` is false
and callers take the numpy path.

Compiling takes seconds, so numba keeps the machine code on disk: in NUMBA_CACHE_DIR, else beside the source, else in
the user's cache folder. Where none of them can be written, or what lies there is damaged, every process compiles anew.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
from functools import cache
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.eligibility import Eligibility
from engine.types import CodeArray, Float32Array, FloatArray
from policies.exploring.bounds import check_bounds, floor_cut
from policies.exploring.config import ExplorationConfig
from policies.parts.tables import PartTables
from policies.vw.scoring.tables import ScoreTables

AVAILABLE: Final = importlib.util.find_spec("numba") is not None and not os.environ.get("TACTFUL_NO_NUMBA")

_Scalar = TypeVar("_Scalar", bound=np.generic)

# It must not be imported before a kernel is used: it imports numba. Below are its codes.
_JITTED: Final = "policies.vw.scoring.jitted"
_EPSILON, _SOFTMAX, _SQUARECB = 0, 1, 2


def choose(
    x: Float32Array,
    tables: ScoreTables | PartTables,
    eligibility: Eligibility,
    exploration: ExplorationConfig,
    rounds: int,
    uniform: FloatArray,
) -> tuple[CodeArray, FloatArray]:
    """Encoded contexts (n, d), eligibility and uniforms (n,) -> action (n,) int32 and propensity (n,)."""
    kind, parameter = _coded(exploration, rounds)
    ceiling, floor = exploration.ceiling, exploration.floor
    action = np.empty(len(x), dtype=np.int32)
    propensity = np.empty(len(x), dtype=np.float64)
    exploring = np.zeros(len(x), dtype=np.float64)
    own: tuple[Any, ...]
    if isinstance(tables, PartTables):
        name, own = "choose_part_rows", (tables.stacked, tables.waits(x))
    else:
        name, own = "choose_rows", ((tables.linear, *tables.pairs),)
    run(
        _JITTED,
        name,
        np.ascontiguousarray(x),
        *own,
        (
            readable(eligibility.channel_arm),
            readable(eligibility.channel_hour),
            readable(eligibility.purpose_codes),
        ),
        (kind, parameter, 2.0 if ceiling is None else ceiling, floor, floor_cut(floor)),
        readable(uniform.astype(np.float64, copy=False)),
        (action, propensity, exploring),
    )
    check_bounds(exploring, propensity, ceiling, floor)
    return action, propensity


def scores(x: Float32Array, tables: ScoreTables | PartTables) -> FloatArray:
    """The tables' own `scores` by numba, bit for bit, for tables without limits."""
    out = np.empty((len(x), tables.k), dtype=np.float64)
    score_into(x, tables, out)
    return out


def score_into(x: Float32Array, tables: ScoreTables | PartTables, out: FloatArray) -> None:
    """`scores` into an array of the caller, (n, k)."""
    if isinstance(tables, PartTables):
        run(_JITTED, "score_part_rows", np.ascontiguousarray(x), tables.stacked, tables.waits(x), out)
    else:
        run(_JITTED, "score_rows", np.ascontiguousarray(x), tables.linear, *tables.pairs, out)


def readable(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """A contiguous read-only view: a kernel would be compiled once more for arrays that may be written to."""
    view = np.ascontiguousarray(array)[...]
    view.flags.writeable = False
    return view


def _coded(exploration: ExplorationConfig, rounds: int) -> tuple[int, float]:
    if exploration.kind == "greedy":
        return _EPSILON, 0.0
    if exploration.kind == "epsilon_greedy":
        return _EPSILON, exploration.epsilon
    if exploration.kind == "softmax":
        return _SOFTMAX, exploration.inverse_temperature
    return _SQUARECB, exploration.gamma(rounds)


def run(module: str, name: str, *arguments: Any) -> None:
    """Run a kernel on arrays that it writes its answers into.

    Args:
        module: the module that holds it; imported when first used, because it imports numba.
        name: the name of its function.
        arguments: arrays, and tuples of arrays and numbers.
    """
    try:
        _compiled(module, name, True)(*arguments)
    except (OSError, EOFError, pickle.UnpicklingError):
        # From numba's cache (full disk, damaged file), before a row was touched: kernels themselves touch arrays only.
        _compiled(module, name, False)(*arguments)


@cache
def _compiled(module: str, name: str, on_disk: bool) -> Any:
    import numba  # noqa: PLC0415 - optional, and slow to import: only when a kernel is first used

    body = getattr(importlib.import_module(module), name)
    try:
        return numba.njit(body, cache=on_disk, nogil=True, error_model="numpy")
    except RuntimeError:
        # No folder that numba may write to.
        return numba.njit(body, nogil=True, error_model="numpy")
