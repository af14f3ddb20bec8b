"""The figures of past clicks: files of the form of Open Bandit in which those who clicked before click again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.errors import DataError
from experiments.study.past_clicks import held_out, main, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for campaign in ("men", "women"):
        n = 600
        counts = rng.poisson(0.3, (n, 3))
        item = rng.integers(3, size=n)
        own = counts[np.arange(n), item]
        data = {"item_id": item, "position": rng.integers(1, 4, n), "click": rng.random(n) < 0.05 + 0.3 * (own > 0)}
        data |= {f"user_feature_{i}": rng.choice(["a", "b"], n) for i in range(4)}
        data |= {f"user-item_affinity_{i}": counts[:, i] for i in range(3)}
        place = tmp_path / "random" / campaign
        place.mkdir(parents=True)
        pd.DataFrame(data).to_csv(place / f"{campaign}.csv.gz")
        pd.DataFrame({"item_id": [0]}).to_csv(place / "item_context.csv.gz")
    return tmp_path


def test_past_clicks_save_loss_and_noise_does_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clicks = read(folder)
    assert clicks.past.shape == (1200, 2)
    features = held_out(clicks.features, clicks.clicked)
    past = held_out(np.column_stack([clicks.features, clicks.past]), clicks.clicked)
    assert (features - past).mean() > 0.02
    noise = np.random.default_rng(2).permutation(clicks.past)
    assert (features - held_out(np.column_stack([clicks.features, noise]), clicks.clicked)).mean() < 0.002
    main(folder)
    assert "past clicks beside them save 0.0" in capsys.readouterr().out


def test_a_folder_without_logs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no log of Open Bandit"):
        read(tmp_path)
