"""Builders of small logs, from arrays and from the real data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from engine.eligibility import pack
from engine.features import Column, ContextBatch, FeatureSchema, FeatureSpec
from engine.identity import keyed_hash
from engine.records.rounds import CHUNK_ROWS, RoundBatch
from engine.types import NOT_AN_INSTANT

# Before pandas 3 the default parser of floats is off by a bit now and then.
EXACT = {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}


def _spec(name: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        type="numeric",
        unit="count",
        source="test",
        collected_where="test",
        customer_benefit="gets fewer messages without interest",
    )


def context_of(features: dict[str, np.ndarray], n: int) -> ContextBatch:
    schema = FeatureSchema(features=tuple(_spec(name) for name in features))
    columns = {
        name: Column(np.asarray(values, dtype=np.float64), np.zeros(n, dtype=np.uint8))
        for name, values in features.items()
    }
    return ContextBatch(schema, columns, n)


def batches(
    action: Sequence[int] | np.ndarray,
    propensity: Sequence[float] | np.ndarray,
    rewards: dict[str, Sequence[float] | np.ndarray],
    *,
    k: int,
    cluster: np.ndarray | None = None,
    eligible: np.ndarray | None = None,
    features: dict[str, np.ndarray] | None = None,
    extra: dict[str, Sequence[object]] | None = None,
    rows_per_chunk: int = CHUNK_ROWS,
) -> list[RoundBatch]:
    """Canonical chunks of a log given as whole arrays."""
    n = len(action)
    ids = np.array([f"d{i}" for i in range(n)], dtype=object)
    allowed = np.ones((n, k), dtype=bool) if eligible is None else eligible
    whole = RoundBatch(
        chunk=0,
        decision_id=ids,
        context=context_of(features or {}, n),
        action=np.asarray(action, dtype=np.int32),
        propensity=np.asarray(propensity, dtype=np.float64),
        eligible=pack(allowed),
        k=k,
        cluster=keyed_hash(ids, "row") if cluster is None else keyed_hash(cluster.astype(str).astype(object), "unit"),
        rewards={name: np.asarray(values, dtype=np.float64) for name, values in rewards.items()},
        usable=np.ones(n, dtype=bool),
        decided_at=np.full(n, NOT_AN_INSTANT),
        extra={name: np.array(values, dtype=object) for name, values in (extra or {}).items()},
    )
    return rechunk(whole, rows_per_chunk)


def rechunk(whole: RoundBatch, rows: int) -> list[RoundBatch]:
    from dataclasses import replace

    return [replace(whole.take(slice(i, i + rows)), chunk=i // rows) for i in range(0, whole.n, rows)]


class TablePolicy:
    """Fixed distribution over the actions, renormalised over what is eligible."""

    def __init__(self, name: str, probabilities: Sequence[float]) -> None:
        self.name = name
        self._row = np.array(probabilities, dtype=np.float64)

    def distribution(self, context: ContextBatch, eligible: np.ndarray) -> np.ndarray:
        full = self._row * eligible
        return full / full.sum(axis=1, keepdims=True)


class RulePolicy:
    """Deterministic: an action per row computed from the context."""

    def __init__(self, name: str, rule: Callable[[ContextBatch], np.ndarray]) -> None:
        self.name = name
        self._rule = rule

    def distribution(self, context: ContextBatch, eligible: np.ndarray) -> np.ndarray:
        full = np.zeros(eligible.shape)
        full[np.arange(len(full)), self._rule(context)] = 1.0
        return full


class Ridge:
    """Least squares per action on the features and a constant, with a small ridge: a real reward model."""

    def __init__(self, metric: str, k: int, penalty: float = 1e-3) -> None:
        self.metric, self.k, self.penalty = metric, k, penalty

    def fit(self, rounds: Iterable[RoundBatch]) -> None:
        gram: np.ndarray | None = None
        for batch in rounds:
            x = self._design(batch.context)
            if gram is None:
                gram = np.zeros((self.k, x.shape[1], x.shape[1]))
                moment = np.zeros((self.k, x.shape[1]))
            for a in range(self.k):
                rows = batch.action == a
                gram[a] += x[rows].T @ x[rows]
                moment[a] += x[rows].T @ batch.rewards[self.metric][rows]
        assert gram is not None
        ridge = self.penalty * np.eye(gram.shape[1])
        self.coefficients = np.linalg.solve(gram + ridge, moment[..., None])[..., 0]

    def predict(self, context: ContextBatch) -> np.ndarray:
        return self._design(context) @ self.coefficients.T

    @staticmethod
    def _design(context: ContextBatch) -> np.ndarray:
        return np.column_stack([np.ones(context.n), *(column.values for column in context.columns.values())])


@pytest.fixture(scope="session")
def ope() -> SimpleNamespace:
    """Builders: batches, rechunk, context_of, TablePolicy, RulePolicy, Ridge."""
    return SimpleNamespace(
        batches=batches,
        rechunk=rechunk,
        context_of=context_of,
        TablePolicy=TablePolicy,
        RulePolicy=RulePolicy,
        Ridge=Ridge,
    )


@pytest.fixture(scope="session")
def hillstrom(shared_data: Path) -> list[RoundBatch]:
    """Actions 0 No E-Mail, 1 Mens E-Mail, 2 Womens E-Mail; one third each."""
    frame = pd.read_csv(shared_data / "hillstrom" / "hillstrom_dev.csv.gz", **EXACT)
    code = {"No E-Mail": 0, "Mens E-Mail": 1, "Womens E-Mail": 2}
    return batches(
        frame["segment"].map(code).to_numpy(),
        np.full(len(frame), 1 / 3),
        {name: frame[name].to_numpy() for name in ("visit", "conversion", "spend")},
        k=3,
        features={name: frame[name].to_numpy() for name in ("mens", "womens", "recency", "history")},
    )


@pytest.fixture(scope="session")
def starbucks(shared_data: Path) -> tuple[list[RoundBatch], list[str]]:
    """Blocks clustered by person, and the arms' names by action; action 0 is none."""
    frame = pd.read_parquet(shared_data / "starbucks" / "starbucks_waves_0_2.parquet")
    arms = ["none", *sorted(set(frame["arm"]) - {"none"})]
    code = {arm: i for i, arm in enumerate(arms)}
    built = batches(
        frame["arm"].map(code).to_numpy(),
        frame["p_logged"].to_numpy(),
        {name: frame[name].to_numpy() for name in ("viewed", "completed", "spend72")},
        k=len(arms),
        cluster=frame["person"].to_numpy(),
    )
    return built, arms


@pytest.fixture(scope="session")
def open_bandit(shared_data: Path) -> Callable[[str, str], list[RoundBatch]]:
    """(behaviour, campaign) -> batches; action = item_id + 1, hold never eligible."""

    def read(behaviour: str, campaign: str) -> list[RoundBatch]:
        k = {"all": 80, "men": 34, "women": 46}[campaign]
        frame = pd.read_csv(shared_data / "open_bandit" / behaviour / campaign / f"{campaign}.csv.gz", **EXACT)
        eligible = np.ones((len(frame), k + 1), dtype=bool)
        eligible[:, 0] = False
        return batches(
            frame["item_id"].to_numpy() + 1,
            frame["propensity_score"].to_numpy(),
            {"click": frame["click"].to_numpy()},
            k=k + 1,
            eligible=eligible,
        )

    return read


@pytest.fixture(scope="session")
def heartsteps(shared_data: Path) -> list[RoundBatch]:
    """Available decisions only; action 1 = send (0.6), 0 = not (0.4); clustered by user."""
    frame = pd.read_csv(shared_data / "heartsteps" / "heartsteps_decisions.csv.gz", **EXACT)
    frame = frame[frame["avail"] == 1]
    features = {name: frame[name].to_numpy(dtype=np.float64) for name in ("prelog", "day")}
    features |= {f"slot{s}": (frame["slot"] == s).to_numpy(dtype=np.float64) for s in (2, 3, 4, 5)}
    return batches(
        frame["send"].to_numpy(),
        np.where(frame["send"] == 1, frame["p_send"], 1 - frame["p_send"]),
        {"y_log": frame["y_log"].to_numpy()},
        k=2,
        cluster=frame["user"].to_numpy(),
        features=features,
    )
