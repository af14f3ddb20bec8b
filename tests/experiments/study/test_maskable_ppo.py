"""Another library's learner on our environments; what needs that library is skipped where it is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.study import maskable_ppo
from experiments.study.maskable_ppo import Row, never, predicting, table, value
from simulator.envs import CampaignEnv, SubscriberEnv
from simulator.rollout import HoldActor


class LastAllowed:
    """Speaks as a model of sb3-contrib does, and picks the last action of the mask."""

    def predict(self, observations: Any, *, action_masks: Any, deterministic: bool) -> tuple[Any, None]:
        assert not deterministic
        assert len(observations) == len(action_masks)
        return action_masks.shape[1] - 1 - action_masks[:, ::-1].argmax(axis=1), None


def test_never_sending_has_the_value_of_the_world_alone() -> None:
    total, sends = value(never, {}, contacts=50, days=10)
    env = CampaignEnv(50, days=10)
    env.reset(seed=maskable_ppo.TEST_WORLD)
    assert sends == 0.0
    np.testing.assert_allclose(total, env.run(HoldActor()))


def test_a_model_is_asked_with_masks() -> None:
    total, sends = value(predicting(LastAllowed()), {}, contacts=50, days=10)
    assert total.shape == (50,)
    assert 0.0 < sends <= 10.0


def test_table_by_hand() -> None:
    rows = [Row("w", "never sending", 16.8, 0.0, 0.0, 0.0), Row("w", "MaskablePPO", 18.12, 1.25, 0.32, 21.9)]
    shown = table(rows, contacts=1000, days=90.0)
    assert "1,000 contacts" in shown
    assert "| w | MaskablePPO | 18.120 | +1.250 +- 0.320 | 21.90 |" in shown


class TestWithTheLibrary:
    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed; `make rl` does")

    def test_its_checker_accepts_the_environment(self) -> None:
        from stable_baselines3.common.env_checker import check_env

        check_env(SubscriberEnv(days=5))

    def test_it_finds_the_masks(self) -> None:
        from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported

        env = SubscriberEnv(days=5)
        env.reset(seed=1)
        assert is_masking_supported(env)
        assert get_action_masks(env).tolist() == env.action_masks().tolist()

    def test_it_trains_compares_and_writes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out = tmp_path / "table.md"
        arguments = ["maskable_ppo", "--steps", "1024", "--contacts", "20", "--days", "6", "--out", str(out)]
        monkeypatch.setattr("sys.argv", arguments)
        maskable_ppo.main()
        assert out.read_text(encoding="utf-8").count("| MaskablePPO") == 4

    def test_a_trained_model_never_leaves_the_mask(self) -> None:
        _, model = maskable_ppo.trained({}, steps=1024, days=6)
        env = CampaignEnv(30, days=6)
        observations, _ = env.reset(seed=5)
        for _ in range(6):
            actions = predicting(model)(observations, env.action_masks())
            observations, *_, info = env.step(actions)
            assert not info["refused"].any()
