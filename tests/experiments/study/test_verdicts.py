"""The worlds of the study of verdicts are what they say, and its document counts what was judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.study.verdicts import (
    ADVICE,
    CASES,
    NULLS,
    POWERS,
    World,
    document,
    draw,
    fill,
    judged,
    lines_of,
    missing,
    promised,
    share,
)

TINY = World("tiny", 1_200, 2, effect=1.5, holds=True, logs=2, overrides=("evaluation.replicates=100",))


@pytest.mark.parametrize("world", CASES, ids=lambda world: world.name)
def test_a_world_is_what_its_name_says(world: World) -> None:
    drawn = draw(replace(world, rows=1_200), 3)
    assert drawn.chance.sum(axis=1) == pytest.approx(np.ones(1_200))
    assert (drawn.chance[:, 0] == (0.2 if world.holds else 0.0)).all()
    apart = np.ptp(drawn.worth[:, 1:], axis=1)
    assert (apart == 0.0).all() if not world.effect else (apart > 0.0).all()
    assert drawn.frame["customer"].nunique() == 1_200 // world.often
    own = drawn.frame["arm"].ne("none").to_numpy()
    assert (drawn.frame.loc[~own, "click"] == 0).all()
    assert own.all() == (not world.holds)
    again = draw(replace(world, rows=1_200), 3)
    assert again.frame.equals(drawn.frame)
    assert not draw(replace(world, rows=1_200), 4).frame.equals(drawn.frame)


def test_money_is_on_average_what_the_world_says() -> None:
    """40,000 decisions with a standard deviation of some 17 USD: an error of 0.09; five of them are 0.45."""
    drawn = draw(replace(POWERS[0], rows=40_000), 1)
    place = np.array([0 if arm == "none" else int(arm.split()[1]) for arm in drawn.frame["arm"]])
    expected = drawn.worth[np.arange(40_000), place]
    assert drawn.frame["margin"].mean() == pytest.approx(expected.mean(), abs=0.45)


def test_a_log_is_judged_and_gone_on_from(tmp_path: Path) -> None:
    """Two logs of a tiny shop, in two runs; the same seed says the same."""
    fill(tmp_path, [replace(TINY, logs=1)])
    (first,) = lines_of(tmp_path, [TINY])["tiny"]
    assert [seed for _, seed in missing({"tiny": [first]}, [TINY])] == [1]
    fill(tmp_path, [TINY])
    rows = lines_of(tmp_path, [TINY])["tiny"]
    assert [row["seed"] for row in rows] == [0, 1]
    assert rows[0] == first
    again = judged(TINY, 0)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert first["verdict"] in ("better", "worse", "no difference", "insufficient")
    assert first["followed"] == (first["gain"] if first["launch"] == "vw" else pytest.approx(first["followed"]))
    assert first["today"] > 0


def test_the_planning_formula_by_hand() -> None:
    """A gain of 2.8 errors is seen with a chance of Phi(2.8 - 1.96) = 0.8."""
    rows = [
        {"gain": 0.28, "stderr": 0.2, "alpha": 0.05, "figures": {"metric": ["", "", 1.0], "adjusted": ["", "", 2.0]}}
    ]
    assert promised(rows, "adjusted") == pytest.approx(0.8, abs=1e-3)
    assert promised(rows) == pytest.approx(0.288, abs=1e-3)


def test_shares_have_exact_intervals() -> None:
    """3 of 100 by Clopper and Pearson: 0.62 to 8.5 %."""
    assert share(3, 100) == "3 of 100: 3.0 % (0.6 to 8.5)"
    assert share(0, 200) == "0 of 200: 0.0 % (0.0 to 1.8)"
    assert share(0, 0) == "n/a"


def test_the_document_counts_verdicts_pages_and_advice() -> None:
    line = {
        "seed": 0,
        "verdict": "no difference",
        "others": ["always:letter 1 better", "uniform worse"],
        "launch": "logged",
        "stderr": 0.1,
        "rows": 3000,
        "alpha": 0.05,
        "gain": 0.1,
        "today": 5.0,
        "followed": 0.0,
        "figures": {"metric": ["better", "unbiased", 1.0], "stage_worth": ["no difference", "not refuted", 3.0]},
    }
    found = {world.name: [] for world in CASES}
    found[NULLS[0].name] = [line, {**line, "seed": 1, "others": [], "verdict": "better"}]
    found[POWERS[0].name] = [{**line, "verdict": "better", "launch": "vw", "followed": 0.1}]
    found[ADVICE[0].name] = [{**line, "followed": -0.2}]
    text = document(found)
    assert "| null, 2 arms | 1 of 2: 50.0 % (1.3 to 98.7) | 2 of 2: 100.0 % (15.8 to 100.0) |" in text
    assert "| a gain of about 3 % | metric | 3,000 | +2.0 % | 1 of 1: 100.0 %" in text
    assert "| a gain of about 3 % | stage_worth | 3,000 | +2.0 % | 0 of 1: 0.0 %" in text
    assert "| no effect, with holds | 0 of 1: 0.0 % (0.0 to 97.5) | 1 of 1: 100.0 % (2.5 to 100.0) | -4.00 % |" in text
