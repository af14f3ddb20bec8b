"""`tactful evaluate --volume` and `tactful backtest --volume`: against policies cut by hand, on the page, refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import DataError
from engine.features import FeatureSchema
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.ope.evaluate import evaluate
from engine.ope.settings import EvaluationSettings
from engine.ope.setup import Question
from engine.ope.target import LoggedTarget, PolicyTarget
from engine.ope.volume_curve import CurveRows
from experiments.judge.volume_curve import SHARES, CurvePass, price_overrides, recency_feature
from policies.prices.priced import priced
from policies.trained import TrainedFolder
from policies.vw.scoring.compiled import CompiledPolicy
from tests.experiments.commands import refused, run
from tests.experiments.simulate.small_runs import small_run

SETTINGS = EvaluationSettings()
GREEDY = ("learner=mtr", "learner.passes=1", "exploration=greedy")
PARTS = (
    *("learner=parts", "learner.parts.stage=clicked", "learner.parts.smooth=false", "learner.parts.ridges=[30.0]"),
    *("learner.parts.worth_ridges=[300.0]", "exploration=greedy"),
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A log that trains, its policy, and a log of other contacts that judges."""
    folder = tmp_path_factory.mktemp("volume")
    small_run(folder / "train.parquet", "policy=uniform", "contacts=500", "days=5")
    small_run(folder / "judge.parquet", "policy=uniform", "contacts=2500", "days=5", "seed=8")
    run("train", "--log", folder / "train.parquet", "--metric", "opened", "--out", folder / "policy", *GREEDY)
    return folder / "train.parquet", folder / "policy", folder / "judge.parquet"


@pytest.fixture(scope="module")
def judged(logs: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("judged") / "evaluate"
    asked = ("--log", logs[2], "--metric", "opened", "--policy", logs[1], "--estimator", "snips", "--out", out)
    return run("evaluate", *asked, "--volume", "--override-learnt", "ids of two simulations meet"), out


@dataclass(frozen=True)
class Cut:
    """The best message where it brings more than a price, else nothing."""

    scored: CompiledPolicy
    price: float
    name: str = "cut"

    def distribution(self, context: Any, eligible: np.ndarray) -> np.ndarray:
        scores = np.where(eligible, self.scored.scores(context), -np.inf)
        scores[:, 1:] -= self.price
        best = np.where(scores[:, 1:].max(axis=1) >= scores[:, 0], 1 + scores[:, 1:].argmax(axis=1), 0)
        out = np.zeros(eligible.shape)
        out[np.arange(len(best)), best] = 1.0
        return out


def direct(log: Path, policy: Any) -> float:
    reader = LogReader(log)
    rounds = Selection(reader, "opened")
    question = Question(metric="opened", reward_range=(0.0, 1.0), estimators=("snips",), baseline=LoggedTarget())
    (row,) = [
        row
        for row in evaluate(rounds, [PolicyTarget(policy, "cut")], question, SETTINGS).results
        if row.policy == "cut" and row.estimator == "snips"
    ]
    return float(row.value)


def points(out: dict[str, Any], ranking: str = "learnt") -> Iterator[dict[str, Any]]:
    (curve,) = [curve for curve in out["volume_curve"]["curves"] if curve["ranking"] == ranking]
    return iter(curve["points"])


@pytest.mark.parametrize("place", [9, 14, 18])
def test_a_point_is_the_value_of_the_policy_that_is_cut_there(judged, logs, place: int) -> None:
    out, _ = judged
    price = out["volume_curve"]["prices"][place]
    scored = TrainedFolder(logs[1]).scored()
    found = list(points(out))[place]
    assert found["bands"]["opened"]["value"] == pytest.approx(direct(logs[2], Cut(scored, price - 1e-9)), abs=2e-4)
    assert found["kept"] == pytest.approx(SHARES[place], abs=0.002)


def test_the_price_gives_the_volume(judged, logs) -> None:
    """What `decide` subtracts keeps the share of sends that the curve names."""
    out, _ = judged
    scored = TrainedFolder(logs[1]).scored()
    channels, _, arms = scored.catalog.shape
    dear = priced(scored, np.full((1, channels, arms), out["volume_curve"]["prices"][9]), scored.catalog)
    sent = sendable = 0.0
    for batch in Selection(LogReader(logs[2]), "opened"):
        eligible = batch.eligible_dense()
        sent += float(dear.distribution(batch.context, eligible)[:, 1:].sum())
        sendable += float(eligible[:, 1:].any(axis=1).sum())
    assert sent / sendable == pytest.approx(0.5, abs=0.01)


def test_random_is_nearly_a_line_and_rates_are_shown(judged) -> None:
    out, folder = judged
    assert [curve["ranking"] for curve in out["volume_curve"]["curves"]] == ["learnt", "recency", "random"]
    shown = [(p["share"], band["value"]) for p in points(out, "random") if (band := p["bands"]["opened"]) is not None]
    share, value = (np.array(side) for side in zip(*shown, strict=True))
    assert len(share) >= 5
    # All that the weights' sums add to a line is small beside its rise.
    assert np.abs(value - np.polyval(np.polyfit(share, value, 1), share)).max() < 0.05 * value.max()
    assert set(next(points(out))["bands"]) == {"opened", "unsubscribed", "complained"}
    assert "opened per 1,000 decisions" in (folder / "report.html").read_text()


def test_the_page_of_a_backtest_has_the_picture(logs, tmp_path: Path) -> None:
    asked = ("--log", logs[2], "--metric", "opened", "--out", tmp_path / "bt", "--volume", "--recency")
    out = run("backtest", *asked, "days_since_engagement", *GREEDY, "estimators=[snips,dr]")
    assert out["volume_curve"]["recency"] == "days_since_engagement"
    page = (tmp_path / "bt" / "report.html").read_text()
    assert "How many messages are worth sending?" in page
    assert '<svg aria-hidden="true"' in page
    assert "--volume --recency days_since_engagement" in page


def test_refusals(logs, tmp_path: Path) -> None:
    asked = ("--log", logs[2], "--metric", "opened")
    error, hint = refused(3, "evaluate", *asked, "--policy", "uniform", "--volume")
    assert "uniform would send is not chosen by scores alone" in error
    assert "tactful train" in hint
    named = ("--policy", logs[1], "--override-learnt", "a test", "--volume", "--recency", "days_since_purchas")
    error, hint = refused(2, "evaluate", *asked, *named)
    assert "days_since_purchase" in f"{error} {hint}"
    # A backtest refuses before it learns, or makes its folder.
    asked = ("backtest", *asked, "--out", tmp_path / "no")
    error, hint = refused(2, *asked, "--volume", "--recency", "days_since_purchas")
    assert "days_since_purchase" in f"{error} {hint}"
    error, hint = refused(2, *asked, "--recency", "days_since_purchase")
    assert "only with --volume" in error
    assert "add --volume" in hint
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_the_worth_of_a_stage_has_a_curve_and_a_safe_policy_has_none(logs, tmp_path: Path) -> None:
    asked = ("backtest", "--log", logs[2], "--metric", "margin", "--volume", *PARTS)
    out = run(*asked, "--out", tmp_path / "parts", "judged_by=stage_worth")
    curve = out["volume_curve"]
    assert (curve["metric"], curve["unit"]) == ("stage_worth", "usd")
    assert set(curve["curves"][0]["points"][0]["bands"]) == {"stage_worth", "unsubscribed", "complained"}
    # Cut on the training side, kept on the other.
    assert all(point["kept"] == pytest.approx(point["share"], abs=0.05) for point in points(out))
    safe = ("learner.parts.safety=segments", "learner.parts.bags=4")
    error, hint = refused(3, *asked, "--out", tmp_path / "safe", *safe)
    assert "not chosen by scores alone" in error
    assert "without learner.parts.safety" in hint


def test_what_must_be_sent_is_sent_at_every_share(logs) -> None:
    """Where hold is not eligible there is no choice: the row counts in full with its best message, kept or not."""
    scored = TrainedFolder(logs[1]).scored()
    rounds = list(Selection(LogReader(logs[2]), "opened"))
    batch = rounds[0].take(rounds[0].action > 0)
    must = replace(
        batch, eligible=batch.eligible & np.where(np.arange(batch.eligible.shape[1]) == 0, 254, 255).astype(np.uint8)
    )
    made = CurvePass(scored, ("opened",), "", rounds, 0)
    ranked = made.rank(must)
    assert not ranked.sendable.any()
    np.testing.assert_array_equal(ranked.best, made.rank(batch).best)
    caught: list[CurveRows] = []
    made._sums.add = caught.append  # type: ignore[method-assign]
    made.add(must)
    np.testing.assert_array_equal(caught[0].hold > 0, must.action == ranked.best)
    assert not caught[0].send.any()
    with pytest.raises(DataError, match="no decision of the log has a choice"):
        CurvePass(scored, ("opened",), "", [must], 0)


def test_what_a_price_is_written_as() -> None:
    assert price_overrides(("email", "sms"), 0.0123456789) == (
        "prices.channel_cost_usd={email: 0.0123457, sms: 0.0123457}",
        "prices.charge_costs=true",
    )
    assert recency_feature(FeatureSchema(features=())) == ""
