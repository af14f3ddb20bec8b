"""Contacts that come up more than once are the clusters of a log that declares none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.log.parquet import LogReader
from engine.log.selection import Selection, contact_split
from engine.mapping.dialect import load_mapping
from engine.mapping.importer import import_log
from experiments.judge.evaluate import EvaluateRequest, evaluate_log
from experiments.settings import EvaluateConfig, compose_settings

MAPPING = """
name: small
catalog: {{channel: {{constant: email}}, arm: {{column: variant, values: [A, B]}}}}
propensity: {{constant: 0.5}}
rewards: {{spend: {{column: spend, low: 0, high: 9, unit: usd}}}}
decision_id: {{column: id}}
{contact}
"""
ROWS, OFTEN = 600, 6


def imported(folder: Path, contact: str, rows: int = ROWS, often: int = OFTEN, changed: int = 0) -> LogReader:
    """Each contact has a spend of its own, whatever it gets, and comes up `often` times with the same arm.

    The first `changed` rows have the other one.
    """
    rng = np.random.default_rng(3)
    person = np.arange(rows) // often
    level, arm = rng.uniform(0, 8, rows), rng.integers(2, size=rows)
    given = np.where(np.arange(rows) < changed, 1 - arm[person], arm[person])
    lines = [f"{i},u{person[i]},{'AB'[given[i]]},{level[person[i]]:.3f}" for i in range(rows)]
    (folder / "l.csv").write_text("\n".join(["id,user_id,variant,spend", *lines]) + "\n")
    (folder / "m.yaml").write_text(MAPPING.format(contact=contact))
    import_log(load_mapping(folder / "m.yaml"), folder / "l.csv", folder / "o.parquet", contact_key="k" * 16)
    return LogReader(folder / "o.parquet")


def stderr(reader: LogReader) -> float:
    request = EvaluateRequest(reader.path, ("always:A",), "spend", estimators=("ips",), baseline="always:B")
    output = evaluate_log(request, compose_settings("evaluate", [], EvaluateConfig))
    difference = output.results[0].difference
    assert difference is not None
    assert difference.stderr is not None
    return difference.stderr


def test_errors_are_by_contact_where_contacts_repeat(tmp_path: Path) -> None:
    """Without a declared cluster the same as with one, and larger than by row about as the root of six."""
    by_contact = {}
    for name, contact in {"found": "contact: {column: user_id}", "row": ""}.items():
        (tmp_path / name).mkdir()
        by_contact[name] = stderr(imported(tmp_path / name, contact))
    (tmp_path / "declared").mkdir()
    declared = imported(tmp_path / "declared", "contact: {column: user_id}\ncluster: contact")
    assert by_contact["found"] == pytest.approx(stderr(declared), rel=1e-12)
    assert by_contact["found"] == pytest.approx(by_contact["row"] * np.sqrt(OFTEN), rel=0.1)


def test_a_split_keeps_repeated_contacts_whole(tmp_path: Path) -> None:
    reader = imported(tmp_path, "contact: {column: user_id}")
    sides = [
        {str(name) for batch in Selection(reader, "spend", side=side) for name in batch.decision_id}
        for side in contact_split(0.5, 0)
    ]
    people = [{int(name) // OFTEN for name in side} for side in sides]
    assert people[0] | people[1] == set(range(ROWS // OFTEN))
    assert not people[0] & people[1]


def test_reports_say_that_contacts_repeat(tmp_path: Path) -> None:
    reader = imported(tmp_path, "contact: {column: user_id}")
    output = evaluate_log(
        EvaluateRequest(reader.path, ("always:A",), "spend"), compose_settings("evaluate", [], EvaluateConfig)
    )
    assert (output.log.clusters, output.log.contacts) == ("contact", ROWS // OFTEN)
    assert any("600 decisions are about 100 contacts, 6.0 each" in note for note in output.log.notes)


def test_few_contacts_of_many_rows_are_too_little(tmp_path: Path) -> None:
    """Nine people are no sample, however often each of them comes up."""
    reader = imported(tmp_path, "contact: {column: user_id}", rows=540, often=60)
    output = evaluate_log(
        EvaluateRequest(reader.path, ("always:A",), "spend"), compose_settings("evaluate", [], EvaluateConfig)
    )
    assert {row.verdict for row in output.results} == {"insufficient"}
    assert "9 independent units are fewer than 10" in output.results[0].notes[0]


def test_contacts_that_come_up_once_stay_rows(tmp_path: Path) -> None:
    reader = imported(tmp_path, "contact: {column: user_id}", often=1)
    assert not reader.clustered
    assert reader.contacts == ROWS


def test_an_import_says_which_column_looks_like_a_contact(tmp_path: Path) -> None:
    reader = imported(tmp_path, "")
    assert any("'user_id' looks like one" in note for note in reader.meta.notes)
    (tmp_path / "named").mkdir()
    assert not imported(tmp_path / "named", "contact: {column: user_id}").meta.notes


def test_counting_contacts_is_exact_over_batches(tmp_path: Path) -> None:
    """Contacts of several batches are counted once, in whatever order they come."""
    reader = imported(tmp_path, "contact: {column: user_id}")
    stored = pq.read_table(tmp_path / "o.parquet").column("contact_id").to_pylist()
    assert reader.contacts == len(set(stored))


def test_groups_that_were_assigned_to_contacts_are_known(tmp_path: Path) -> None:
    """Every contact of this log gets one arm for good; where a contact is a row, nothing is assigned to it."""
    assert imported(tmp_path, "contact: {column: user_id}").assigned
    assert not imported(tmp_path, "").assigned


def test_one_contact_of_two_actions_is_no_assignment(tmp_path: Path) -> None:
    assert not imported(tmp_path, "contact: {column: user_id}", changed=1).assigned
