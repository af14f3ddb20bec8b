"""Equality with obp and vw-estimators where both define the same, to 1e-9; golden/make_golden.py made the figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtrit

from engine.ope.estimators.marginalised import ActionGroups, Embedding
from engine.ope.estimators.named import FAMILIES, PLAIN
from engine.ope.estimators.several_loggers import Loggers
from engine.ope.estimators.slope import accepted
from engine.ope.support import SupportRule
from engine.ope.target import PolicyTarget
from tests.engine.ope.asking import estimate_of, evaluate

GOLDEN = json.loads((Path(__file__).parent / "golden" / "obp.json").read_text(encoding="utf-8"))
BANDIT = {name: np.array(values) for name, values in GOLDEN["bandit"]["log"].items()}
OBP = GOLDEN["bandit"]["obp"]
N, K = BANDIT["target"].shape


class ByRow:
    """A policy, or a fitted reward model, whose answers are a table by row number."""

    def __init__(self, name, table):
        self.name, self.table = name, table

    def distribution(self, context, eligible):
        return self.predict(context)

    def fit(self, rounds):
        pass

    def predict(self, context):
        return self.table[context.columns["row"].values.astype(int)]


def log(ope):
    return ope.batches(
        BANDIT["action"],
        BANDIT["logging"][np.arange(N), BANDIT["action"]],
        {"r": BANDIT["reward"]},
        k=K,
        features={"row": np.arange(N)},
        extra={"who": [f"logger {s}" for s in BANDIT["stratum"]]},
        rows_per_chunk=7,
    )


@pytest.fixture(scope="module")
def found(ope):
    """Every figure in one streamed evaluation."""
    shares = np.bincount(BANDIT["stratum"]) / N
    evaluation = evaluate(
        log(ope),
        [PolicyTarget(ByRow("t", BANDIT["target"]))],
        metric="r",
        reward_range=(0, 3),
        estimators=tuple(OBP),
        clip=2.0,
        reward_model_factory=lambda: ByRow("q", BANDIT["model"]),
        folds=2,
        embedding=Embedding(ActionGroups(("g",), BANDIT["groups"]), PolicyTarget(ByRow("log", BANDIT["logging"]))),
        loggers=Loggers(
            "who",
            ("logger 0", "logger 1"),
            tuple(shares.tolist()),
            tuple(PolicyTarget(ByRow(f"logger {i}", table)) for i, table in enumerate(BANDIT["loggers"])),
        ),
        rule=SupportRule(),
    )
    return {estimate.estimator: estimate.value for estimate in evaluation.results}


@pytest.mark.parametrize("name", list(OBP))
def test_estimates_equal_obp(found, name) -> None:
    assert found[name] == pytest.approx(OBP[name], rel=1e-9)


@pytest.mark.parametrize("name", ["ips", "snips"])
def test_estimates_equal_vw_estimators(found, name) -> None:
    assert found[name] == pytest.approx(GOLDEN["vw"][name], rel=1e-9)


def whole_rows() -> tuple[np.ndarray, ...]:
    rows = np.arange(N)
    weight = BANDIT["target"][rows, BANDIT["action"]] / BANDIT["logging"][rows, BANDIT["action"]]
    value = (BANDIT["target"] * BANDIT["model"]).sum(axis=1)
    return (weight, BANDIT["reward"], value, BANDIT["model"][rows, BANDIT["action"]])


@pytest.mark.parametrize("delta", list(GOLDEN["slope"]["obp"]))
@pytest.mark.parametrize("name", list(GOLDEN["slope"]["grids"]))
def test_slope_chooses_what_obp_chooses(name, delta) -> None:
    grid = GOLDEN["slope"]["grids"][name]
    estimates = [estimate_of(FAMILIES[name].make(value, name), *whole_rows()) for value in grid]
    quantile = stdtrit(N - 1, 1 - float(delta))
    place = accepted([e.value for e in estimates], [quantile * e.stderr for e in estimates])[-1]
    assert grid[place] == GOLDEN["slope"]["obp"][delta][name]


def test_arrays_and_streams_agree(found) -> None:
    for name in ("ips", "snips", "dr", "sndr"):
        assert estimate_of(PLAIN[name], *whole_rows()).value == pytest.approx(found[name], rel=1e-12)
