"""Targets: what an evaluation asks of a policy, a log's own choice, or a column that was computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.catalog import Catalog
from engine.decide.asking import unchecked_distribution
from engine.errors import DataError
from engine.numeric.matmul import matmul
from engine.protocols import Policy
from engine.records.rounds import RoundBatch
from engine.records.schema import RAW
from engine.sampling import SUM_TOLERANCE, check_distribution
from engine.types import BoolArray, FloatArray, ObjectArray


@dataclass(frozen=True)
class TargetBatch:
    """What a target would do in n rounds.

    Attributes:
        logged: (n,) probability of the logged action under the target; None stands for the propensity itself, so that
            every weight is exactly 1.
        full: (n, k) distribution, or None where only the logged action's probability is known.
        unsupported: (n,) mass on actions outside the eligible set; NaN where it cannot be known.
        exact: false where the probabilities themselves are estimates.
    """

    logged: FloatArray | None
    full: FloatArray | None
    unsupported: FloatArray
    exact: bool = True


class Target(Protocol):
    """A policy to be judged.

    Attributes:
        name: echoed in results.
        knows_all: whether `probabilities` gives the full distribution, which DM and DR need.
    """

    @property
    def name(self) -> str: ...
    @property
    def knows_all(self) -> bool: ...

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """What the target would do in each of the rounds."""
        ...


@dataclass(frozen=True)
class PolicyTarget:
    """A policy of ours over the logged eligible sets; nothing it does is unsupported, by construction.

    Attributes:
        policy: gives the distribution.
        label: name in results; the policy's own where empty.
    """

    policy: Policy
    label: str = ""
    knows_all: bool = True

    @property
    def name(self) -> str:
        return self.label or self.policy.name

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """The policy's distribution.

        Raises:
            ParameterError: it is no distribution over the eligible set, or the policy writes to what it is given.
        """
        eligible = rounds.eligible_dense()
        full = unchecked_distribution(self.policy, rounds.context, eligible, self.name)
        if not _is_distribution(full, eligible):
            check_distribution(full, eligible, self.name)
        logged = full[np.arange(rounds.n), rounds.action]
        return TargetBatch(logged, full, np.zeros(rounds.n))


@dataclass(frozen=True)
class LoggedTarget:
    """What the log did: the target is the propensity, every weight is exactly 1."""

    name: str = "logged"
    knows_all: bool = False

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        return TargetBatch(None, None, np.zeros(rounds.n))


@dataclass(frozen=True)
class ColumnTarget:
    """A stored column holds the target's probability of the logged action.

    Attributes:
        name: The name in results, "column:NAME".
        column: key in `RoundBatch.extra`.
    """

    name: str
    column: str
    knows_all: bool = False

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """The column, checked.

        Raises:
            DataError: the column is absent, no number, or not in [0, 1].
        """
        raw, shown = _column(rounds, self.column), self.column.removeprefix(RAW)
        try:
            logged = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"column {shown!r} must hold probabilities in [0, 1]: {error}",
                hint=f"if it holds the action that the target would take, ask for column:{shown}@action",
            ) from error
        bad = ~((logged >= 0) & (logged <= 1))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"column {shown!r} must hold probabilities in [0, 1], got {float(logged[row])!r} for decision "
                f"{rounds.decision_id[row]!r} ({int(bad.sum())} such rows in this batch)",
                hint="it is the target's probability of the logged action, not a score",
            )
        return TargetBatch(logged, None, np.full(rounds.n, np.nan))


@dataclass(frozen=True)
class ColumnActionTarget:
    """A stored column holds the name of the action that the target would take.

    Where that action was not eligible its mass is unsupported: IPS and SNIPS cannot see what it would have brought,
    DM and DR extrapolate to it.

    Attributes:
        name: The name in results, "column:NAME@action".
        column: key in `RoundBatch.extra`.
        catalog: resolves the names.
    """

    name: str
    column: str
    catalog: Catalog
    knows_all: bool = True

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """All mass on the column's action.

        Raises:
            DataError: the column is absent, or holds something that is no action.
        """
        actions = self._resolve(_column(rounds, self.column))
        rows = np.arange(rounds.n)
        full = np.zeros((rounds.n, rounds.k))
        full[rows, actions] = 1.0
        unsupported = ~rounds.eligible_dense()[rows, actions]
        return TargetBatch((rounds.action == actions).astype(np.float64), full, unsupported.astype(np.float64))

    def _resolve(self, values: ObjectArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        texts = [_text(value) for value in values]
        known = {text: self.catalog.resolve(text) for text in dict.fromkeys(texts)}
        return np.array([known[text] for text in texts], dtype=np.int64)


def _text(value: object) -> str:
    # Numeric arm ids come back from files as floats; their names in the catalog carry no ".0".
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _column(rounds: RoundBatch, column: str) -> ObjectArray:
    if column not in rounds.extra:
        raise DataError(
            f"the log has no column {column!r}", hint=f"it has: {', '.join(sorted(rounds.extra)) or 'none'}"
        )
    return rounds.extra[column]


def _is_distribution(full: FloatArray, eligible: BoolArray) -> bool:
    """The test of `check_distribution` without its (n, k) temporaries."""
    if full.shape != eligible.shape or full.dtype != np.float64:
        return False
    if full.size == 0:
        return True
    # A product with ones takes a fraction of the time of a sum over short rows.
    if not full.min() >= 0 or not np.abs(matmul(full, np.ones(full.shape[1])) - 1.0).max() <= SUM_TOLERANCE:
        return False
    return bool(eligible.all()) or int(np.count_nonzero(full)) == int(np.count_nonzero(full[eligible]))


class Remembered:
    """Keeps the answer to the last batch, by identity: another batch is another question.

    Args:
        target: The target whose answers are kept.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._block: RoundBatch | None = None
        self._answer: TargetBatch | None = None

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def knows_all(self) -> bool:
        return self.target.knows_all

    def probabilities(self, rounds: RoundBatch) -> TargetBatch:
        """The target's answer."""
        if self._answer is None or self._block is not rounds:
            self._answer, self._block = self.target.probabilities(rounds), rounds
        return self._answer
