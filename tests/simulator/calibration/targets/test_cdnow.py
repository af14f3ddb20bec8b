"""CDNOW: a file of few lines by hand, the published cohort, and files that are none."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError, ParameterError
from simulator.calibration.targets.bg_nbd import BgNbd, fit_bg_nbd
from simulator.calibration.targets.cdnow import (
    CALIBRATION_WEEKS,
    WEEKS,
    Purchases,
    Tracking,
    cumulative_repeats,
    read_cdnow,
    repeat_summary,
    track_repeats,
)

CDNOW = "cdnow/CDNOW_master.txt.gz"
# The estimate of Fader, Hardie & Lee (2005), table 2, from a tenth of the cohort that no rule over the ids gives back.
PUBLISHED = BgNbd(0.243, 4.414, 0.793, 2.426)
FEW = """\
 00004 19970101  2   29.33
 00004 19970118  2   29.73
 00004 19970802  1   14.96
 00004 19971212  2   26.48
 00002 19970112  1   12.00
 00002 19970112  5   77.00
"""


def few(tmp_path: Path, text: str = FEW) -> Path:
    path = tmp_path / "CDNOW_master.txt"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def cohort(shared_data: Path) -> Purchases:
    return read_cdnow(shared_data / CDNOW)


def test_read_by_hand(tmp_path: Path) -> None:
    """Orders of one day are one purchase; 12 January is day 11, 2 August day 213."""
    found = read_cdnow(few(tmp_path))
    np.testing.assert_array_equal(found.ids, [2, 4])
    np.testing.assert_array_equal(found.customer, [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(found.day, [11, 0, 17, 213, 345])
    np.testing.assert_array_equal(found.units, [6, 2, 2, 1, 2])
    np.testing.assert_allclose(found.value_usd, [89.0, 29.33, 29.73, 14.96, 26.48])
    np.testing.assert_array_equal(found.first, [0, 1, 1, 1, 1])


def test_summary_by_hand(tmp_path: Path) -> None:
    """Customer 4, the first of the published tenth: x = 2, t_x = 213 / 7 = 30.43, T = 272 / 7 = 38.86 weeks."""
    found = repeat_summary(read_cdnow(few(tmp_path)))
    np.testing.assert_array_equal(found.x, [0, 2])
    np.testing.assert_allclose(found.t_x, [0, 30.43], atol=0.005)
    np.testing.assert_allclose(found.t_cal, [37.29, 38.86], atol=0.005)


def test_weeks_by_hand(tmp_path: Path) -> None:
    """Day 17 lies in week 3, day 213 in week 31, day 345 in week 50; day 20 would be the last of week 3."""
    found = cumulative_repeats(read_cdnow(few(tmp_path)))
    assert [found[week - 1] for week in (2, 3, 30, 31, 49, 50, 78)] == [0, 1, 1, 2, 2, 3, 3]
    assert len(found) == WEEKS


@pytest.mark.parametrize("how", ["names", "gzip", "windows"])
def test_the_same_in_other_clothes(how: str, tmp_path: Path) -> None:
    plain = read_cdnow(few(tmp_path))
    path = tmp_path / "other"
    named = " customer_id  date number_of_cds  dollar_value\n" + FEW
    path.write_bytes(
        {"names": named.encode(), "gzip": gzip.compress(FEW.encode())}.get(how, FEW.replace("\n", "\r\n").encode())
    )
    again = read_cdnow(path)
    for name in Purchases.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(plain, name))


def test_some_customers(tmp_path: Path) -> None:
    found = read_cdnow(few(tmp_path)).of(np.array([1]))
    np.testing.assert_array_equal(found.ids, [4])
    np.testing.assert_array_equal(found.customer, [0, 0, 0, 0])
    np.testing.assert_array_equal(repeat_summary(found).x, [2])


@pytest.mark.parametrize("codes", [[], [2], [-1], [1, 0], [0, 0]], ids=str)
def test_customers_that_are_none(codes: list[int], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="customers"):
        read_cdnow(few(tmp_path)).of(np.array(codes, dtype=np.int64))


def test_cohort(cohort: Purchases) -> None:
    """23,570 customers who first bought in the first quarter of 1997; 1.04 repeat purchases in 39 weeks."""
    summary = repeat_summary(cohort)
    assert len(cohort.ids) == 23_570
    assert summary.x.sum() == 24_337
    assert summary.t_cal.min() == pytest.approx(27.0)
    assert summary.x.mean() == pytest.approx(1.04, abs=0.01)
    assert (cohort.value_usd == 0).sum() == 80


def test_cohort_agrees_with_the_published_fit(cohort: Purchases) -> None:
    """The published estimate is of a tenth of the same cohort, so it differs by 3 of the cohort's standard errors.

    The log likelihood per customer, -9582.4 / 2357 = -4.0655 there, is -4.046 here. On the whole cohort the published
    parameters lose 5.5 of it, where a tenth drawn at random loses 9 x chi2(4) / 2 = 18 on average.
    """
    summary = repeat_summary(cohort)
    found = fit_bg_nbd(summary.x, summary.t_x, summary.t_cal)
    for name, se in zip(("r", "alpha", "a", "b"), found.se, strict=True):
        assert abs(getattr(found.model, name) - getattr(PUBLISHED, name)) < 2 * 3 * se
    assert found.log_likelihood / found.customers == pytest.approx(-9582.4 / 2357, rel=0.01)
    published = PUBLISHED.log_likelihood(summary.x, summary.t_x, summary.t_cal).sum()
    assert 0 < found.log_likelihood - published < 10


def test_tenths_scatter_about_the_published_fit(cohort: Purchases) -> None:
    """Of the ten systematic tenths the smallest and the largest likelihood enclose the published -9582.4."""
    totals = []
    for offset in range(10):
        summary = repeat_summary(cohort.of(np.arange(offset, len(cohort.ids), 10)))
        found = fit_bg_nbd(summary.x, summary.t_x, summary.t_cal)
        totals.append(found.log_likelihood)
        # For two independent tenths the loss is chi2(4): below 18.5 in 999 of 1,000.
        assert found.log_likelihood - PUBLISHED.log_likelihood(summary.x, summary.t_x, summary.t_cal).sum() < 18.5
    assert min(totals) < -9582.4 < max(totals)


def test_tracking_of_the_cohort(cohort: Purchases) -> None:
    """Fitted to 39 weeks the model meets their end within 1 % and expects 14 % too few of the 39 that follow."""
    summary = repeat_summary(cohort)
    model = fit_bg_nbd(summary.x, summary.t_x, summary.t_cal).model
    found = track_repeats(cohort, model)
    assert found.actual[CALIBRATION_WEEKS - 1] == summary.x.sum()
    assert found.expected[CALIBRATION_WEEKS - 1] == pytest.approx(summary.x.sum(), rel=0.01)
    assert found.error_after(CALIBRATION_WEEKS) == pytest.approx(-0.144, abs=0.005)
    np.testing.assert_allclose(found.expected[CALIBRATION_WEEKS - 1], model.expected(summary.t_cal).sum(), rtol=1e-9)
    assert (np.diff(found.expected) > 0).all()


def test_error_by_hand() -> None:
    """After week 1: 9 - 1 expected, 11 - 1 actual: - 20 %."""
    found = Tracking(np.array([1, 5, 11]), np.array([1.0, 4.0, 9.0]))
    assert found.error_after(1) == pytest.approx(-0.2)


@pytest.mark.parametrize("week", [0, 3, 2])
def test_error_of_no_week(week: int) -> None:
    with pytest.raises(ParameterError, match="week"):
        Tracking(np.array([1, 5, 5]), np.ones(3)).error_after(week)


def test_too_few_weeks(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="at least 2"):
        repeat_summary(read_cdnow(few(tmp_path)), weeks=1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no rows"),
        ("\n \n", "no rows"),
        (" customer_id  date number_of_cds  dollar_value\n", "no rows"),
        ("id,date,cds,value\n1,19970101,1,2.5\n", "1 cells"),
        (" 00001 19970101  1\n", "3 cells"),
        (" 00001 19970101  1 11.77 x\n", "5 cells"),
        (" 00001 19970231  1 11.77\n", "19970231"),
        (" 00001 970101  1 11.77\n", "970101"),
        (" 00001 19970101  1 -11.77\n", "-11.77"),
        (" 00001 19970101  1 free\n", "free"),
        (" 00001 19970101  nan 11.77\n", "number_of_cds"),
    ],
    ids=["empty", "blank", "names only", "csv", "short", "long", "no day", "short year", "negative", "text", "nan"],
)
def test_files_that_are_none(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=named):
        read_cdnow(few(tmp_path, text))


@pytest.mark.parametrize("content", [None, b"\x1f\x8b\x08\x00", b"\xff\xfe"], ids=["missing", "cut gzip", "no text"])
def test_files_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "CDNOW_master.txt.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_cdnow(path)
