"""Rows that an import loses by their outcome are counted, kept in the footer, and fail the audit."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from engine.audit.audit import audit_log
from engine.audit.rule import AuditRule
from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.mapping.dialect import load_mapping, mapping_from
from engine.mapping.importer import ImportReport, import_log
from engine.mapping.rejections import dependence_p
from engine.mapping.spec import Mapping
from engine.records.schema import Rejections

MAPPING = {
    "name": "shop",
    "catalog": {"channel": {"constant": "email"}, "arm": {"column": "variant", "values": ["A", "B"]}},
    "propensity": {"constant": "1/2"},
    "contact": {"column": "user"},
    "decision_id": {"column": "id"},
    "feature_defaults": {
        "source": "crm",
        "collected_where": "form",
        "customer_benefit": "Fewer letters that do not fit.",
    },
    "features": [{"name": "age", "type": "numeric", "unit": "years", "low": 0, "high": 120}],
    "rewards": {"spend": {"column": "spend", "low": 0, "high": 100}},
}


def _rows(count: int = 200) -> list[list[str]]:
    return [[f"d{i}", f"u{i}", "AB"[i % 2], str(20 + i % 50), "5"] for i in range(count)]


def _import(folder: Path, rows: list[list[str]], *, show: bool = False, **changes: object) -> ImportReport:
    with (folder / "log.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "user", "variant", "age", "spend"], *rows])
    mapping: Mapping = mapping_from({**MAPPING, **changes})
    return import_log(mapping, folder / "log.csv", folder / "o.parquet", contact_key="k", show_values=show)


def _verdicts(folder: Path) -> dict[str, str]:
    found = audit_log(LogReader(folder / "o.parquet"), AuditRule()).findings
    return {one.check: one.verdict for one in found if one.check.startswith("rejected")}


def _footer(folder: Path) -> Rejections:
    found = LogReader(folder / "o.parquet").meta.rejections
    assert isinstance(found, Rejections)
    return found


def test_no_rejected_row_leaves_nothing_in_the_footer(tmp_path: Path) -> None:
    assert _import(tmp_path, _rows()).warnings == ()
    assert not isinstance(LogReader(tmp_path / "o.parquet").meta.rejections, Rejections)
    assert set(_verdicts(tmp_path).values()) == {"n/a"}


@pytest.mark.parametrize("cell", ["1,464.58", "150", "", "x", "12,5 EUR"])
def test_a_row_lost_by_its_outcome_fails_the_audit(tmp_path: Path, cell: str) -> None:
    rows = _rows()
    rows[4][4] = cell
    report = _import(tmp_path, rows)
    assert any("1 of 200 rows were rejected because of their outcome" in note for note in report.warnings)
    assert set(report.warnings) <= set(LogReader(tmp_path / "o.parquet").meta.notes)
    (reason,) = _footer(tmp_path).reasons
    assert (reason.rows, reason.about, reason.actions) == (1, "reward", {"A": (1, 99)})
    assert _verdicts(tmp_path)["rejected_by_outcome"] == "fail"


def test_an_outcome_that_is_computed_counts_as_one(tmp_path: Path) -> None:
    rows = _rows()
    rows[3][4] = "1,000"
    rewards = {"spend": {"expression": "spend / 2", "low": 0, "high": 100}}
    _import(tmp_path, rows, rewards=rewards)
    assert _footer(tmp_path).by_outcome == 1


def test_rows_that_cannot_be_read_may_be_lost_by_their_outcome(tmp_path: Path) -> None:
    """An outcome of 1,464 without quotes has one field too many; a second purchase repeats the id."""
    rows = _rows()
    rows[7] = [*rows[7][:4], "1", "464"]
    rows[8][0] = rows[6][0]
    report = _import(tmp_path, rows)
    assert _footer(tmp_path).unread == 2
    assert any("2 of 200 rows could not be read or had the id" in note for note in report.warnings)
    assert _verdicts(tmp_path)["rejected_unread"] == "fail"


def test_other_reasons_do_no_harm_unless_they_depend_on_the_action(tmp_path: Path) -> None:
    rows = _rows()
    for row in (10, 11, 30, 31):
        rows[row][3] = "999"
    assert _import(tmp_path, rows).warnings == ()
    assert _verdicts(tmp_path) == {
        "rejected_by_outcome": "pass",
        "rejected_unread": "pass",
        "rejected_by_action": "pass",
    }
    for row in range(0, 60, 2):
        rows[row][3] = "999"
    assert any("depends on their action" in note for note in _import(tmp_path, rows).warnings)
    assert _verdicts(tmp_path)["rejected_by_action"] == "fail"


def test_rows_of_actions_that_the_catalog_lacks_are_lost_by_their_action(tmp_path: Path) -> None:
    rows = _rows()
    for row in range(6):
        rows[row][2] = "C"
    _import(tmp_path, rows)
    assert _verdicts(tmp_path)["rejected_by_action"] == "fail"
    assert _footer(tmp_path).reasons[0].actions == {"unknown": (6, 0)}


def test_where_propensities_vary_by_row_rejection_by_action_is_a_warning(tmp_path: Path) -> None:
    rows = _rows()
    for row in range(0, 60, 2):
        rows[row][3] = "999"
    _import(tmp_path, rows, propensity={"expression": "where(spend > 100, 0.4, 0.5)"})
    assert _verdicts(tmp_path)["rejected_by_action"] == "warn"


def test_the_test_by_hand() -> None:
    """Fisher's case: all 3 lost rows of 10 are of the 3 of one action: 1 / C(10, 3) = 1/120, twice, times 2 actions."""
    assert dependence_p(np.array([3, 0]), np.array([0, 7])) == pytest.approx(4 / 120)
    assert dependence_p(np.array([0, 0]), np.array([5, 7])) == 1.0
    assert dependence_p(np.array([30, 30]), np.array([70, 70])) == 1.0
    # Chi-square of [[40, 160], [60, 140]]: 200 * ... = 5.3333, one degree of freedom.
    assert dependence_p(np.array([40, 60]), np.array([160, 140])) == pytest.approx(0.0209, abs=1e-4)


def test_the_test_holds_its_level() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        total = rng.integers(2, 60, 4)
        lost = rng.multivariate_hypergeometric(total, min(8, int(total.sum())))
        found.append(dependence_p(lost, total - lost))
    assert np.mean(np.array(found) < 0.05) < 0.09


def test_ids_and_features_of_rejected_rows_are_masked_unless_asked_for(tmp_path: Path) -> None:
    rows = _rows()
    rows[0] = ["=1+1", "ann@example.org", "A", "=cmd|' /c calc'!A0", "5"]
    rows[1][4] = "@SUM(A1)"
    rows[2][4] = "1,464.58"
    report = _import(tmp_path, rows)
    assert report.rejects_file is not None
    with report.rejects_file.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["value"] for line in lines] == ["(masked, 18 characters)", "(masked, 8 characters)", "1,464.58"]
    assert [line["decision_id"] for line in lines] == [f"(masked, {size} characters)" for size in (4, 2, 2)]
    _import(tmp_path, rows, show=True)
    with report.rejects_file.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["value"] for line in lines] == ["'=cmd|' /c calc'!A0", "'@SUM(A1)", "1,464.58"]
    assert [line["decision_id"] for line in lines] == ["'=1+1", "d1", "d2"]


def test_where_no_row_can_be_kept_the_error_shows_no_person(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 1 rows") as caught:
        _import(tmp_path, [["d1", "ann@example.org", "A", "ann@example.org", "5"]])
    assert "ann@" not in str(caught.value)


def test_large_spends_with_a_thousands_comma(tmp_path: Path, shared_data: Path) -> None:
    """True means: A 38.4, B 66.4; of the rows that are left 19.7 and 27.7, and the audit passed."""
    faults = shared_data / "faults"
    out = tmp_path / "o.parquet"
    import_log(load_mapping(faults / "map_plain.yaml"), faults / "thousands_tail.csv", out, contact_key="k")
    assert _verdicts(tmp_path)["rejected_by_outcome"] == "fail"
    text = (faults / "map_plain.yaml").read_text() + "numbers: {thousands: ','}\n"
    (tmp_path / "m.yaml").write_text(text)
    report = import_log(load_mapping(tmp_path / "m.yaml"), faults / "thousands_tail.csv", out, contact_key="k")
    assert report.rows_rejected == 0
    (block,) = LogReader(out).rounds(rewards=["spend"])
    means = [block.rewards["spend"][block.action == action].mean() for action in (1, 2)]
    assert means == pytest.approx([38.4, 66.4], abs=0.05)
