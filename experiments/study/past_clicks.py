"""What past clicks of a user say on Open Bandit: held-out log loss of a click with and without them.

The small version of the Open Bandit Dataset (Saito et al. 2020, arXiv 2008.07146) has no user ids; its affinities are
the numbers of a user's past clicks on every item. `python -m experiments.study.past_clicks FOLDER` prints the figures
of docs/memory.md; FOLDER holds `random` and `bts` with a folder for each campaign.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import typer
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from engine.errors import DataError
from engine.numeric.matmul import matmul
from engine.types import BoolArray, FloatArray

RIDGE: Final = 10.0
FOLDS: Final = 5
_LEVELS: Final = ("campaign", "position", "item", *(f"user_feature_{number}" for number in range(4)))


@dataclass(frozen=True)
class Clicks:
    """n shown items.

    Attributes:
        features: (n, d) indicators of campaign, position, item and the user's features.
        past: (n, 2) logarithms of 1 + past clicks of the user, on all items and on the shown one.
        clicked: (n,) 0 or 1.
    """

    features: FloatArray
    past: FloatArray
    clicked: FloatArray


def read(folder: Path) -> Clicks:
    """All logs under a folder, `POLICY/CAMPAIGN/CAMPAIGN.csv.gz`.

    Raises:
        DataError: there is none.
    """
    frames, past = [], []
    for path in sorted(folder.glob("*/*/*.csv.gz")):
        if path.parent.name != path.name.partition(".")[0]:
            continue
        frame = pd.read_csv(path)
        counts = frame[[name for name in frame.columns if "affinity" in name]].to_numpy(dtype=np.float64)
        past.append(np.column_stack([counts.sum(axis=1), counts[np.arange(len(frame)), frame["item_id"]]]))
        item = path.parent.name + frame["item_id"].astype(str)
        frames.append(frame.assign(campaign=path.parent.parent.name + path.parent.name, item=item))
    if not frames:
        raise DataError(f"{folder} holds no log of Open Bandit", hint="as random/all/all.csv.gz")
    whole = pd.concat(frames)
    indicators = pd.get_dummies(whole[list(_LEVELS)].astype(str)).to_numpy(dtype=np.float64)
    return Clicks(indicators, np.log1p(np.concatenate(past)), whole["click"].to_numpy(dtype=np.float64))


def held_out(x: FloatArray, clicked: FloatArray, seed: int = 0) -> FloatArray:
    """(n,) log loss of each row under a ridge logistic regression on the other folds."""
    fold, out = np.random.default_rng(seed).integers(FOLDS, size=len(x)), np.empty(len(x))
    for number in range(FOLDS):
        left = fold == number
        score = _scores(x[~left], clicked[~left], x[left])
        out[left] = -log_expit(np.where(clicked[left] > 0.0, score, -score))
    return out


def _scores(x: FloatArray, clicked: FloatArray, asked: FloatArray) -> FloatArray:
    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        score = matmul(x, weights[1:]) + weights[0]
        off = expit(score) - clicked
        value = -log_expit(np.where(clicked > 0.0, score, -score)).sum() + 0.5 * RIDGE * (weights[1:] ** 2).sum()
        return float(value), np.append(off.sum(), matmul(x.T, off) + RIDGE * weights[1:])

    start = np.zeros(x.shape[1] + 1)
    start[0] = np.log(clicked.mean() / (1.0 - clicked.mean()))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    scores: FloatArray = matmul(asked, found[1:]) + found[0]
    return scores


def main(folder: Path) -> None:
    """Print the figures."""
    clicks = read(folder)
    n, clicked = len(clicks.clicked), clicks.clicked
    for name, column in zip(("any item", "the shown item"), clicks.past.T, strict=True):
        before: BoolArray = column > 0.0
        typer.echo(
            f"clicked {name} before: {int(clicked[before].sum())} of {int(before.sum())} click "
            f"({clicked[before].mean():.4f}), of the others {clicked[~before].mean():.4f}"
        )
    plain = held_out(np.zeros((n, 1)), clicked)
    features = held_out(clicks.features, clicked)
    past = held_out(np.column_stack([clicks.features, clicks.past]), clicked)
    for name, saved in (("features", plain - features), ("past clicks beside them", features - past)):
        typer.echo(f"{name} save {saved.mean():.6f} a row, standard error {saved.std() / np.sqrt(n):.6f}")


if __name__ == "__main__":
    typer.run(main)
