"""CDNOW: purchases of a cohort of 23,570 customers over 78 weeks, none of them prompted by a logged message."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from engine.errors import DataError, ParameterError, reason_of
from engine.types import FloatArray, IntArray
from simulator.calibration.targets.bg_nbd import BgNbd
from simulator.calibration.targets.tables import check_numbers

ORIGIN = date(1997, 1, 1)
CALIBRATION_WEEKS = 39
WEEKS = 78
COLUMNS = ("customer_id", "date", "number_of_cds", "dollar_value")


@dataclass(frozen=True)
class Purchases:
    """Purchases, one per customer and day, ordered by customer and day; n purchases of c customers.

    Attributes:
        customer: (n,) codes 0 .. c - 1, in the order of the ids.
        ids: (c,) ids of the file.
        day: (n,) days since `ORIGIN`.
        units: (n,) discs.
        value_usd: (n,) sum of the day; 0 for the few orders that cost nothing.
    """

    customer: IntArray
    ids: IntArray
    day: IntArray
    units: IntArray
    value_usd: FloatArray

    @property
    def first(self) -> IntArray:
        """(n,) position of each purchase's customer's first purchase."""
        begins = np.searchsorted(self.customer, np.arange(len(self.ids)))
        return begins[self.customer]

    def of(self, customers: IntArray) -> Purchases:
        """The purchases of some customers.

        Args:
            customers: codes, in ascending order.

        Raises:
            ParameterError: none, a code outside [0, c), or not ascending.
        """
        c = len(self.ids)
        ascending = len(customers) > 0 and customers[0] >= 0 and customers[-1] < c and (np.diff(customers) > 0).all()
        if not ascending:
            raise ParameterError("customers", "of", allowed=f"ascending codes in [0, {c})", got=customers)
        keep = np.isin(self.customer, customers)
        code = np.searchsorted(customers, self.customer[keep])
        return Purchases(code, self.ids[customers], self.day[keep], self.units[keep], self.value_usd[keep])


@dataclass(frozen=True)
class RepeatSummary:
    """What the purchase process of c customers leaves until a week, in weeks (Fader, Hardie & Lee 2005).

    Attributes:
        x: (c,) repeat purchases: days with a purchase after the first.
        t_x: (c,) from the first purchase to the last; 0 without repeat.
        t_cal: (c,) from the first purchase to the end.
    """

    x: IntArray
    t_x: FloatArray
    t_cal: FloatArray


def read_cdnow(path: Path) -> Purchases:
    """Read CDNOW_master.txt, plain or gzipped, with or without its line of names; orders of a day are one purchase.

    Raises:
        DataError: a file that cannot be read, a line without four numbers, a day that is none, or no line at all.
    """
    table = check_numbers(_lines(path), COLUMNS, path.name)
    when = pd.to_datetime(table["date"].astype(np.int64).astype(str), format="%Y%m%d", errors="coerce")
    if when.isna().any() or (table["dollar_value"] < 0).any():
        row = int(np.argmax(when.isna() | (table["dollar_value"] < 0)))
        raise DataError(
            f"row {row + 1} of {path.name} has the day {table['date'].iloc[row]:.0f} "
            f"and the value {table['dollar_value'].iloc[row]}",
            hint="days are written 19970131, values are 0 or more",
        )
    table["day"] = (when - pd.Timestamp(ORIGIN)).dt.days.astype(np.int64)
    days = table.groupby(["customer_id", "day"], sort=True)[["number_of_cds", "dollar_value"]].sum().reset_index()
    ids, customer = np.unique(days["customer_id"].to_numpy().astype(np.int64), return_inverse=True)
    return Purchases(
        customer.astype(np.int64),
        ids,
        days["day"].to_numpy().astype(np.int64),
        days["number_of_cds"].to_numpy().astype(np.int64),
        days["dollar_value"].to_numpy(),
    )


def repeat_summary(purchases: Purchases, weeks: int = CALIBRATION_WEEKS) -> RepeatSummary:
    """The repeat purchases of the first weeks.

    Args:
        purchases: as read.
        weeks: since `ORIGIN`; the last of their days counts.

    Raises:
        ParameterError: a customer's first purchase lies after the weeks.
    """
    end = 7 * weeks - 1
    begins = np.unique(purchases.first)
    first_day = purchases.day[begins]
    if (first_day > end).any():
        raise ParameterError(
            "weeks",
            "repeat_summary",
            allowed=f"past every first purchase, at least {first_day.max() // 7 + 1}",
            got=weeks,
        )
    seen = purchases.day <= end
    customers = len(purchases.ids)
    last = np.zeros(customers, dtype=np.int64)
    np.maximum.at(last, purchases.customer[seen], purchases.day[seen])
    x = np.bincount(purchases.customer[seen], minlength=customers) - 1
    return RepeatSummary(x.astype(np.int64), (last - first_day) / 7, (end - first_day) / 7)


@dataclass(frozen=True)
class Tracking:
    """Cumulative repeat purchases of a cohort at the end of each of w weeks.

    Attributes:
        actual: (w,) that happened.
        expected: (w,) under a model.
    """

    actual: IntArray
    expected: FloatArray

    def error_after(self, week: int) -> float:
        """Expected less actual purchases after a week until the end, relative to the actual ones.

        Raises:
            ParameterError: no such week before the last, or nothing happened after it.
        """
        if not 1 <= week < len(self.actual) or self.actual[-1] == self.actual[week - 1]:
            raise ParameterError(
                "week", "error_after", allowed=f"in [1, {len(self.actual)}), with purchases after", got=week
            )
        actual = self.actual[-1] - self.actual[week - 1]
        return float((self.expected[-1] - self.expected[week - 1]) / actual - 1)


def track_repeats(purchases: Purchases, model: BgNbd, weeks: int = WEEKS) -> Tracking:
    """What happened beside what a model expects of the cohort, week by week: a test on weeks that were not fitted."""
    begins = np.unique(purchases.first)
    # The last day of week w is day 7 w - 1.
    ends = np.arange(1, weeks + 1, dtype=np.float64) - 1 / 7
    return Tracking(cumulative_repeats(purchases, weeks), model.expected_cumulative(purchases.day[begins] / 7, ends))


def cumulative_repeats(purchases: Purchases, weeks: int = WEEKS) -> IntArray:
    """(weeks,) repeat purchases of all customers until the end of each week."""
    repeats = purchases.day[purchases.first != np.arange(len(purchases.day))]
    return np.searchsorted(np.sort(repeats), 7 * np.arange(1, weeks + 1)).astype(np.int64)


def _lines(path: Path) -> pd.DataFrame:
    """The file's lines as four columns of text."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("ascii")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} cannot be read: {reason_of(error)}", hint="give the path of CDNOW_master.txt"
        ) from error
    lines = [line.split() for line in text.splitlines() if line.strip()]
    lines = lines[1:] if lines and tuple(lines[0]) == COLUMNS else lines
    if not lines:
        raise DataError(f"{path.name} has no rows", hint="give the path of CDNOW_master.txt")
    for number, line in enumerate(lines, 1):
        if len(line) != len(COLUMNS):
            raise DataError(f"row {number} of {path.name} has {len(line)} cells", hint=f"needed: {COLUMNS}")
    return pd.DataFrame(lines, columns=list(COLUMNS))
