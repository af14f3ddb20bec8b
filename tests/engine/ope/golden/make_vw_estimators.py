"""Writes vw_estimators.json: what vw-estimators 0.2.2 answers on seeded logs.

    python -m venv /tmp/vw && /tmp/vw/bin/pip install vw-estimators==0.2.2
    /tmp/vw/bin/python tests/engine/ope/golden/make_vw_estimators.py

It needs nothing of this project, so that the figures come from the other library alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from estimators.bandits.clopper_pearson import Interval as ClopperPearson
from estimators.bandits.cressieread import Interval as CressieRead


def logs() -> dict[str, dict]:
    """Weights, rewards and ranges of small logs."""
    rng = np.random.default_rng(20)
    made = {}
    for name, n, largest, rate in (("short", 25, 8.0, 0.3), ("rare", 400, 20.0, 0.02), ("wide", 150, 60.0, 0.5)):
        hit = rng.random(n) < 1 / largest
        weight = np.where(hit, largest * rng.random(n), rng.random(n))
        made[name] = {"weight": weight, "reward": (rng.random(n) < rate) * 1.0, "range": [0.0, 1.0], "largest": largest}
    weight = rng.integers(0, 3, 300) * 0.95
    made["money"] = {"weight": weight, "reward": 40 * rng.random(300) - 5, "range": [-5.0, 35.0], "largest": 3.0}
    made["no reward"] = {"weight": weight[:60], "reward": np.zeros(60), "range": [0.0, 1.0], "largest": 3.0}
    made["far mean weight"] = {
        "weight": np.full(80, 2.5),
        "reward": np.ones(80) * 0.5,
        "range": [0.0, 1.0],
        "largest": 3,
    }
    return made


def shares() -> dict[str, dict]:
    """Logs on which every weight is 1, so that both definitions of Clopper-Pearson are the same."""
    return {"none": (40, 0), "few": (2000, 7), "half": (101, 50), "all": (30, 30)}


def main() -> None:
    """Run the other library."""
    found: dict[str, list] = {"cressie_read": [], "clopper_pearson": []}
    for name, log in logs().items():
        low, high = log["range"]
        interval = CressieRead(wmin=0, wmax=log["largest"], rmin=low, rmax=high)
        for w, r in zip(log["weight"], log["reward"], strict=True):
            interval.add_example(1.0, float(r), float(w))
        entry = {"name": name, **{key: np.asarray(value).tolist() for key, value in log.items()}}
        found["cressie_read"] += [{**entry, "alpha": alpha, "answer": interval.get(alpha)} for alpha in (0.05, 0.2)]
    for name, (n, successes) in shares().items():
        interval = ClopperPearson()
        for row in range(n):
            interval.add_example(0.5, float(row < successes), 0.5)
        found["clopper_pearson"] += [
            {"name": name, "n": n, "successes": successes, "alpha": alpha, "answer": interval.get(alpha)}
            for alpha in (0.05, 0.2)
        ]
    Path(__file__).with_name("vw_estimators.json").write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
