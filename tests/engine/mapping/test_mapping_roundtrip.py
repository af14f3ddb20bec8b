"""Property: kept + rejected = read, and every kept row reads back through LogReader equal to its source."""

from __future__ import annotations

import csv
import math
import re
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.log.parquet import LogReader
from engine.mapping.dialect import mapping_from
from engine.mapping.importer import import_log

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=6)
# Ids are trimmed, and unseen characters inside reject their row: test_ids.py has those.
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zs", "Zl", "Zp")), max_size=6)
CELLS = st.fixed_dictionaries(
    {
        "id": st.integers(0, 15).map(str),
        "who": NAMES.filter(lambda name: re.fullmatch(r"[+-]?[\d.,]+([eE][+-]?\d+)?", name) is None),
        "arm": st.sampled_from(["A", "B", "none", "C"]),
        "p": st.one_of(st.floats(0.001, 1).map(repr), st.sampled_from(["0", "-1", "1.5", "nan", "", "x"])),
        "x": st.one_of(st.floats().map(repr), st.sampled_from(["", "NA", "no", "1_0"])),
        "c": TEXT,
        "y": st.one_of(st.floats(-2, 2).map(repr), st.sampled_from(["", "inf"])),
        "free": TEXT,
    }
)
MAPPING = mapping_from(
    {
        "name": "random",
        "catalog": {"channel": {"constant": "email"}, "arm": {"column": "arm", "values": ["A", "B"]}},
        "hold": {"axis": "arm", "values": ["none"]},
        "propensity": {"column": "p"},
        "decision_id": {"column": "id"},
        "contact": {"column": "who"},
        "feature_defaults": {
            "source": "s",
            "collected_where": "w",
            "customer_benefit": "Fewer odd messages.",
            "unit": "1",
            "missing": ["NA"],
        },
        "features": [{"name": "x", "type": "numeric"}, {"name": "c", "type": "categorical"}],
        "rewards": {"y": {"column": "y", "low": -1, "high": 1, "missing": [""]}},
    }
)


def fits(row: dict[str, str], seen: set[str]) -> bool:
    """The same rules, one row at a time, in plain Python."""

    def number(text: str) -> float:
        try:
            return math.nan if "_" in text else float({"no": "0", "yes": "1"}.get(text, text))
        except ValueError:
            return math.nan

    fine = row["arm"] != "C" and row["who"] != "" and 0 < number(row["p"]) <= 1
    fine = fine and (row["x"] in ("", "NA") or math.isfinite(number(row["x"])))
    return fine and (row["y"] == "" or -1 <= number(row["y"]) <= 1) and row["id"] not in seen


@settings(max_examples=60, deadline=None)
@given(st.lists(CELLS, max_size=25))
def test_import_keeps_what_fits_and_reads_back_the_same(rows: list[dict[str, str]]) -> None:
    sure = {"id": "first", "who": "w", "arm": "A", "p": "0.5", "x": "1", "c": "k", "y": "0", "free": "f"}
    rows = [sure, *rows]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "log.csv", Path(folder) / "o.parquet"
        with source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(sure))
            writer.writeheader()
            writer.writerows(rows)
        report = import_log(MAPPING, source, out, contact_key="k")
        reader = LogReader(out)
        (block,) = reader.rounds(rewards=["y"], extra=["raw_free"])
        rejects = []
        if report.rejects_file is not None:
            with report.rejects_file.open(encoding="utf-8", newline="") as file:
                rejects = [int(line["row"]) for line in csv.DictReader(file)]
    seen: set[str] = set()
    expected_rejects, kept = [], []
    for number, row in enumerate(rows, start=1):
        if fits(row, seen):
            kept.append(row)
            seen.add(row["id"])
        else:
            expected_rejects.append(number)
    assert rejects == expected_rejects
    assert (report.rows_read, report.rows_kept, report.rows_rejected) == (len(rows), len(kept), len(rejects))
    assert report.rows_kept + report.rows_rejected == report.rows_read
    assert sum(report.reasons.values()) == len(rejects)
    assert block.decision_id.tolist() == [row["id"] for row in kept]
    names = reader.meta.catalog.action_names
    assert [names[action] for action in block.action] == [row["arm"] for row in kept]
    np.testing.assert_array_equal(block.propensity, [float(row["p"]) for row in kept])
    np.testing.assert_array_equal(block.rewards["y"], [float(row["y"] or "nan") for row in kept])
    x, c = block.context.columns["x"], block.context.columns["c"]
    expected = [math.nan if row["x"] in ("", "NA") else float({"no": "0"}.get(row["x"], row["x"])) for row in kept]
    np.testing.assert_array_equal(x.values, expected)
    assert x.state.tolist() == [int(row["x"] in ("", "NA")) for row in kept]
    levels = ["" if code < 0 else c.levels[code] for code in c.values]
    assert levels == [("" if row["c"] == "NA" else row["c"]) for row in kept]
