"""Means and effects by segment: by hand, on Hillstrom's rows, over random tables, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError, ParameterError
from simulator.calibration.targets.hillstrom import ARMS, OUTCOMES, hillstrom_effects
from simulator.calibration.targets.neyman import SegmentEffects, segment_effects

HILLSTROM = "hillstrom/hillstrom_dev.csv.gz"


def effects(segment: list[int], arm: list[int], outcome: list[float]) -> SegmentEffects:
    return segment_effects(
        np.array(segment),
        np.array(arm),
        np.array(outcome)[:, None],
        segments=["s"],
        arms=["none", "one"],
        outcomes=["y"],
    )


def test_by_hand() -> None:
    """Control 0, 2: mean 1, variance 2; treated 3, 5, 7: mean 5, variance 4.

    Difference 4; its variance is 2 / 2 + 4 / 3 = 7 / 3.
    """
    found = effects([0] * 5, [0, 0, 1, 1, 1], [0, 2, 3, 5, 7])
    np.testing.assert_array_equal(found.rows, [[2, 3]])
    np.testing.assert_allclose(found.mean[0, :, 0], [1, 5])
    np.testing.assert_allclose(found.mean_se[0, :, 0], [1.0, np.sqrt(4 / 3)])
    assert found.effect[0, 0, 0] == pytest.approx(4)
    assert found.effect_se[0, 0, 0] == pytest.approx(np.sqrt(7 / 3))


def test_table_by_hand() -> None:
    table = effects([0] * 5, [0, 0, 1, 1, 1], [0, 2, 3, 5, 7]).table()
    assert list(table.columns) == ["segment", "arm", "outcome", "rows", "mean", "mean_se", "effect", "effect_se"]
    assert table["arm"].tolist() == ["none", "one"]
    assert table["rows"].tolist() == [2, 3]
    assert np.isnan(table["effect"][0])
    assert table["effect"][1] == pytest.approx(4)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.floats(-1e3, 1e3), st.integers(0, 1)),
        min_size=1,
        max_size=60,
    )
)
def test_equals_the_textbook_in_each_segment(rows: list[tuple[int, int, float, int]]) -> None:
    filled = rows + [(s, a, 0.5 * s + a, k % 2) for s in range(3) for a in range(2) for k in range(2)]
    segment, arm = np.array([row[0] for row in filled]), np.array([row[1] for row in filled])
    outcome = np.array([[row[2], float(row[3])] for row in filled])
    found = segment_effects(segment, arm, outcome, segments="abc", arms="xy", outcomes=["u", "v"])
    assert found.rows.sum() == len(filled)
    for s in range(3):
        control, treated = (outcome[(segment == s) & (arm == a)] for a in range(2))
        np.testing.assert_allclose(found.effect[s, 0], treated.mean(0) - control.mean(0), atol=1e-9)
        expected = np.sqrt(treated.var(0, ddof=1) / len(treated) + control.var(0, ddof=1) / len(control))
        np.testing.assert_allclose(found.effect_se[s, 0], expected, atol=1e-9)


def test_interval_covers_the_truth() -> None:
    """2,000 experiments of 2 x 60 rows with effect 0.5: 95 % intervals cover it in 93 to 97 %."""
    rng = np.random.default_rng(7)
    repeats, size = 2_000, 60
    segment = np.repeat(np.arange(repeats), 2 * size)
    arm = np.tile(np.repeat([0, 1], size), repeats)
    outcome = rng.exponential(1.0, len(arm)) + 0.5 * arm
    names = [str(i) for i in range(repeats)]
    found = segment_effects(segment, arm, outcome[:, None], segments=names, arms=["a", "b"], outcomes=["y"])
    covered = np.abs(found.effect - 0.5) < 1.96 * found.effect_se
    assert 0.93 < covered.mean() < 0.97


def test_hillstrom_pooled_equals_reference(shared_data: Path) -> None:
    """The normalised means of the independent reference are the means by arm."""
    pooled = hillstrom_effects(shared_data / HILLSTROM, pooled=True)
    assert pooled.rows.sum() == 32_000
    visits = pooled.mean[0, :, OUTCOMES.index("visit")]
    np.testing.assert_allclose(visits, [0.111786, 0.184075, 0.155047], atol=1e-6)
    np.testing.assert_allclose(pooled.mean[0, :2, 2], [0.676175 * 32_000 / 3 / pooled.rows[0, 0], 1.469495], rtol=2e-6)


def test_hillstrom_content_meets_history(shared_data: Path) -> None:
    """Buyers of men's wear do not visit for women's e-mail; buyers of women's wear visit for either."""
    found = hillstrom_effects(shared_data / HILLSTROM)
    visit, se = found.effect[:, :, 0], found.effect_se[:, :, 0]
    np.testing.assert_allclose(visit[0], [0.065126, 0.001681], atol=1e-6)
    assert abs(visit[0, 1]) < 2 * se[0, 1]
    assert (visit[1] > 8 * se[1]).all()
    assert found.segments == ("mens only", "womens only", "both")
    assert found.arms == ARMS


def test_newbies_split_each_history(shared_data: Path) -> None:
    whole = hillstrom_effects(shared_data / HILLSTROM)
    split = hillstrom_effects(shared_data / HILLSTROM, by_newbie=True)
    assert split.segments[:2] == ("mens only, older", "mens only, newbie")
    np.testing.assert_array_equal(split.rows.reshape(3, 2, 3).sum(axis=1), whole.rows)


def hillstrom_rows() -> pd.DataFrame:
    """Two rows of each arm for each of the three histories."""
    rows = [
        (mens, womens, k, arm, k, 0, 0.0) for mens, womens in ((1, 0), (0, 1), (1, 1)) for arm in ARMS for k in range(2)
    ]
    return pd.DataFrame(rows, columns=["mens", "womens", "newbie", "segment", *OUTCOMES])


def test_a_file_of_few_rows(tmp_path: Path) -> None:
    """Of two customers one visits in each cell: mean 1/2, standard error sqrt(1/2 / 2) = 1/2."""
    hillstrom_rows().to_csv(tmp_path / "h.csv", index=False)
    found = hillstrom_effects(tmp_path / "h.csv")
    np.testing.assert_allclose(found.mean[:, :, 0], 0.5)
    np.testing.assert_allclose(found.mean_se[:, :, 0], 0.5)
    np.testing.assert_allclose(found.effect, 0.0)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("mens", 0, "neither"),
        ("segment", "Kids E-Mail", "Kids"),
        ("segment", None, "segment"),
        ("spend", None, "spend"),
        ("visit", "yes", "visit"),
        ("spend", float("inf"), "spend"),
    ],
)
def test_bad_rows_are_refused(column: str, value: object, named: str, tmp_path: Path) -> None:
    table = hillstrom_rows().astype({column: object})
    table.loc[0, column] = value
    table.to_csv(tmp_path / "h.csv", index=False)
    with pytest.raises(DataError, match=named):
        hillstrom_effects(tmp_path / "h.csv")


@pytest.mark.parametrize("column", ["mens", "newbie", "segment", "spend"])
def test_missing_columns_are_named(column: str, tmp_path: Path) -> None:
    hillstrom_rows().drop(columns=column).to_csv(tmp_path / "h.csv", index=False)
    with pytest.raises(DataError, match=f"no column '{column}'"):
        hillstrom_effects(tmp_path / "h.csv")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "cannot be read"),
        (b"mens,womens,newbie,segment,visit,conversion,spend\n", "no rows"),
        (b"mens,womens\n1,2\n5,6,7,8,9\n", "cannot be read"),
        (b"mens,womens\n1,2,3\n5,6,7\n", "cannot be read"),
        (b"\xff\xfe\x00\x01", "h.csv"),
    ],
    ids=["nothing", "only a header", "ragged", "shifted", "no text"],
)
def test_files_that_are_no_table(content: bytes, named: str, tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_bytes(content)
    with pytest.raises(DataError, match=named):
        hillstrom_effects(tmp_path / "h.csv")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        hillstrom_effects(tmp_path / "none.csv")
    (tmp_path / "cut.csv.gz").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(DataError, match="cannot be read"):
        hillstrom_effects(tmp_path / "cut.csv.gz")


@pytest.mark.parametrize(
    ("segment", "arm", "outcome", "error", "named"),
    [
        ([0, 0, 0], [0, 0, 1], [1, 2, 3], DataError, "1 rows of arm 'one'"),
        ([0, 0, 0, 0], [0, 0, 1, 1], [1, 2, 3, np.nan], DataError, "finite"),
        ([0, 0, 0, 1], [0, 0, 1, 1], [1, 2, 3, 4], ParameterError, "segment"),
        ([0, 0, 0, 0], [0, 0, -1, 1], [1, 2, 3, 4], ParameterError, "arm"),
        ([0, 0, 0, 0], [0, 0, 1, 1], [1, 2, 3], ParameterError, "outcome"),
        ([], [], [], DataError, "0 rows"),
    ],
    ids=["one row", "nan", "segment code", "arm code", "shapes", "empty"],
)
def test_bad_arrays(
    segment: list[int], arm: list[int], outcome: list[float], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        segment_effects(
            np.array(segment, dtype=np.int64),
            np.array(arm, dtype=np.int64),
            np.array(outcome, dtype=np.float64)[:, None],
            segments=["s"],
            arms=["none", "one"],
            outcomes=["y"],
        )
