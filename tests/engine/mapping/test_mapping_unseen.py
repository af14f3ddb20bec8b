"""Logs of kinds that no shipped mapping covers: the dialect serves them without a line of code."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.eligibility import unpack
from engine.errors import DataError
from engine.log.parquet import LogReader
from engine.mapping import spec
from engine.mapping.dialect import load_mapping, mapping_from
from engine.mapping.importer import import_log

Mapped = dict[str, Any]
BENEFIT = {"source": "s", "collected_where": "form", "customer_benefit": "Letters that fit better."}


def test_factorial_letters_with_a_control(tmp_path: Path) -> None:
    """36 letters from three factors at 2/3 in all, a control at 1/3 that has no factors."""
    rng = np.random.default_rng(5)
    factors = [["1", "2", "3"], ["25k", "50k", "100k", "none"], ["low", "mid", "high"]]
    letters = list(itertools.product(*factors))
    treated = rng.random(2000) < 2 / 3
    chosen = [letters[i] if t else ("Control",) * 3 for t, i in zip(treated, rng.integers(0, 36, 2000), strict=True)]
    frame = pd.DataFrame(chosen, columns=["ratio", "size", "ask"])
    frame.insert(0, "treatment", treated.astype(int))
    frame["gave"] = (rng.random(2000) < 0.02).astype(int)
    frame["amount"] = np.where(frame["gave"] == 1, 42.5, 0.0)
    frame.to_csv(tmp_path / "letters.csv", index=False)
    mapping = mapping_from(
        {
            "name": "letters",
            "catalog": {
                "channel": {"constant": "letter"},
                "arm": {"columns": ["ratio", "size", "ask"], "values": [list(letter) for letter in letters]},
            },
            "hold": {"column": "treatment", "values": [0], "name": "control"},
            "propensity": {"per_arm": {"hold": "1/3", "default": "2/108"}},
            "rewards": {
                "gave": {"column": "gave", "low": 0, "high": 1},
                "amount": {"column": "amount", "low": 0, "high": 1000, "unit": "usd"},
            },
        }
    )
    report = import_log(mapping, tmp_path / "letters.csv", tmp_path / "o.parquet", contact_key="k")
    log = pq.read_table(tmp_path / "o.parquet").to_pandas()
    assert (report.rows_kept, report.actions, report.action_names[0]) == (2000, 37, "control")
    np.testing.assert_array_equal(log["propensity"], np.where(treated, 2 / 108, 1 / 3))
    names = ["|".join(c) if t else "control" for c, t in zip(chosen, treated, strict=True)]
    assert log["action_name"].astype(str).tolist() == names
    np.testing.assert_array_equal(log["action"] == 0, ~treated)
    arm = LogReader(tmp_path / "o.parquet").meta.catalog.arms[0]
    assert arm.attributes == {"ratio": "1", "size": "25k", "ask": "low"}
    assert arm.blocks == ("ratio=1", "size=25k", "ask=low")
    observed = mapping_from(
        {
            "name": "letters",
            "catalog": {"channel": {"constant": "letter"}, "arm": {"columns": ["ratio", "size", "ask"]}},
            "hold": {"column": "treatment", "values": ["0"]},
            "propensity": {"per_arm": {"hold": "1/3", "default": "2/108"}},
            "rewards": {"gave": {"column": "gave", "low": 0, "high": 1}},
        }
    )
    again = import_log(observed, tmp_path / "letters.csv", tmp_path / "o.parquet", contact_key="k")
    assert sorted(again.action_names[1:]) == sorted("|".join(letter) for letter in letters)


def test_adaptive_propensities_and_unequal_arms(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    p = rng.uniform(0.01, 0.99, 300)
    arms = rng.choice(["a", "b", "c", "d"], 300)
    pd.DataFrame({"arm": arms, "p": p, "y": rng.normal(size=300)}).to_csv(tmp_path / "l.csv", index=False)
    base = {
        "name": "adaptive",
        "catalog": {"channel": {"constant": "sms"}, "arm": {"column": "arm", "values": ["a", "b", "c", "d"]}},
        "rewards": {"y": {"column": "y", "low": -10, "high": 10}},
    }
    for propensity, expected in (
        ({"column": "p"}, p),
        ({"per_arm": {"a": "5/8", "default": "1/8"}}, np.where(arms == "a", 0.625, 0.125)),
        ({"expression": "where(arm == 'a', 5/8, 1/8)"}, np.where(arms == "a", 0.625, 0.125)),
    ):
        mapping = mapping_from(base | {"propensity": propensity})
        report = import_log(mapping, tmp_path / "l.csv", tmp_path / "o.parquet", contact_key="k")
        log = pq.read_table(tmp_path / "o.parquet").to_pandas()
        assert (report.actions, report.rows_kept, report.propensity) == (4, 300, "logged")
        np.testing.assert_array_equal(log["propensity"], expected)
        assert set(log["eligible"]) == {bytes([0b11110])}


ROWS = [
    {"who": 7, "arm": "A", "p": 0.25, "y": 1.5, "ok": True, "age": None, "tags": ["x"], "n": 3, "zip": "007"},
    {"who": 8, "arm": "B", "p": 0.75, "y": 0.1, "ok": False, "age": 31.5, "tags": [], "n": 4, "zip": "123"},
]
BOTH = {
    "name": "both",
    "catalog": {"channel": {"constant": "email"}, "arm": {"column": "arm"}},
    "propensity": {"column": "p"},
    "availability": {"column": "ok"},
    "contact": {"column": "who"},
    "features": [
        {"name": "age", "type": "numeric", "unit": "years", **BENEFIT},
        {"name": "who", "type": "categorical", **BENEFIT},
    ],
    "rewards": {"y": {"column": "y", "low": 0, "high": 2}},
}


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "csv", "csv.gz"])
def test_every_format_says_the_same(tmp_path: Path, kind: str) -> None:
    path, frame = tmp_path / f"log.{kind}", pd.DataFrame(ROWS)
    if kind.startswith("jsonl"):
        frame.to_json(path, orient="records", lines=True)
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.assign(tags=frame["tags"].map(json.dumps)).to_csv(path, index=False)
    report = import_log(mapping_from(BOTH), path, tmp_path / "o.parquet", contact_key="k")
    log = pq.read_table(tmp_path / "o.parquet")
    rows = log.to_pylist()
    assert report.rows_kept == 2
    assert [row["propensity"] for row in rows] == [0.25, None]
    assert [row["available"] for row in rows] == [True, False]
    assert [row["context_age"] for row in rows] == [None, 31.5]
    assert [row["state_age"] for row in rows] == [1, 0]
    assert [row["context_who"] for row in rows] == ["7", "8"]
    assert [row["raw_n"] for row in rows] == [3.0, 4.0]
    assert [row["raw_zip"] for row in rows] == ["007", "123"]
    assert [json.loads(row["raw_tags"]) for row in rows] == [["x"], []]
    assert len({row["contact_id"] for row in rows}) == 2
    assert "raw_who" not in log.column_names


def test_json_lines_keep_every_digit_and_reject_what_is_no_object(run: Callable[..., Any], mapped: Mapped) -> None:
    mapped.pop("contact")
    mapped.pop("cluster")
    row = '{"id": "%s", "at": "2024-01-01T00:00Z", "arm": "A", "p": 0.1000000000000000055, "plan": 1, "click": true, '
    lines = [row % "d1" + '"age": 1e2}', "{broken", "3", "", row % "d2" + '"age": NaN}', row % "d3" + '"x": "\\ud800"}']
    report, rows = run(mapped, *lines, row % "d4" + '"long": 12345678901234567890}', name="log.jsonl")
    assert report.reasons == {"row cannot be read": 3, "feature 'age' is no finite number": 1}
    assert [(r["decision_id"], r["propensity"], r["reward_click"]) for r in rows] == [("d1", 0.1, 1), ("d4", 0.1, 1)]
    assert [(r["context_plan"], r["state_age"]) for r in rows] == [("1", 0), ("1", 1)]
    assert rows[1]["raw_long"] == "12345678901234567890"


def test_availability_by_values_and_by_expression(
    run: Callable[..., Any], mapped: Mapped, good: tuple[str, str]
) -> None:
    """An unavailable row may lack propensity and reward, and is kept with hold alone in its eligible set."""
    away = good[1].replace("d1", "d2").replace("A,0.5,31,1,1,x", "none,0,31,1,,y")
    for availability in ({"column": "extra", "values": ["x"]}, {"expression": "extra == 'x'"}):
        report, rows = run(mapped | {"availability": availability}, *good, away)
        assert report.rows_kept == 2
        assert [(r["available"], r["propensity"], r["eligible"]) for r in rows] == [
            (True, 0.5, b"\x07"),
            (False, None, b"\x01"),
        ]
        assert rows[1]["reward_click"] is None
    bad, _ = run(mapped | {"availability": {"column": "age"}}, *good, good[1].replace("d1", "d2").replace("31", "?"))
    assert bad.reasons == {"availability is neither true nor false": 1}


@pytest.mark.parametrize(
    ("eligible", "cell", "expected"),
    [
        ({"columns": {"B": "extra"}}, "0", [True, True, False]),
        ({"columns": {"B": "extra"}}, "yes", [True, True, True]),
        ({"columns": {"B": "extra", "none": "extra"}}, "", [False, True, False]),
        ({"list_column": "extra"}, "A", [True, True, False]),
        ({"list_column": "extra"}, "A; B", [True, True, True]),
        ({"list_column": "extra", "separator": "+"}, "A+B", [True, True, True]),
        ({"list_column": "extra"}, '"[""A""]"', [True, True, False]),
        ({"expressions": {"B": "age > 40"}}, "x", [True, True, False]),
        ({"expressions": {"B": "age > 30"}}, "x", [True, True, True]),
    ],
)
def test_eligible_sets_by_row(
    run: Callable[..., Any], mapped: Mapped, good: tuple[str, str], eligible: Mapped, cell: str, expected: list[bool]
) -> None:
    _, (row,) = run(mapped | {"eligible": eligible}, good[0], good[1].removesuffix("x") + cell)
    assert unpack(np.frombuffer(row["eligible"], np.uint8)[None], 3)[0].tolist() == expected


@pytest.mark.parametrize("cell", ["B", "A;Z", "[1", ""])
def test_an_action_outside_its_eligible_set_is_rejected(
    run: Callable[..., Any], mapped: Mapped, good: tuple[str, str], cell: str
) -> None:
    row = good[1].removesuffix("x")
    fine = row.replace("d1", "d2") + "A"
    report, _ = run(mapped | {"eligible": {"list_column": "extra"}}, good[0], row + cell, fine)
    assert report.reasons == {"logged action outside its eligible set": 1}


def test_three_axes(run: Callable[..., Any]) -> None:
    mapped = {
        "name": "axes",
        "catalog": {
            "channel": {"column": "ch", "values": ["email", "sms"]},
            "send_hour": {"column": "h", "values": [9, 18]},
            "arm": {"column": "arm", "values": {"pattern": r"score_(\w+)", "fallback": ["x"]}},
        },
        "hold": {"axis": "channel", "values": ["-"]},
        "propensity": {"constant": "1/9"},
        "rewards": {"y": {"expression": "where(isnull(y), 0, log(y))", "low": 0, "high": 9}},
        "keep": ["score_b"],
    }
    lines = ["ch,h,arm,y,score_a,score_b", "sms,18,b,1,0.1,0.2", "email,9,a,,0.3,0.4", "-,,,1,0.5,0.6", "fax,9,a,1,0,0"]
    report, rows = run(mapped, *lines)
    assert report.actions == 9
    assert report.reasons == {"unknown channel": 1}
    assert [r["action_name"] for r in rows] == ["sms|18|b", "email|9|a", "-"]
    assert [(r["channel"], r["send_hour"], r["arm"]) for r in rows] == [
        ("sms", "18", "b"),
        ("email", "9", "a"),
        (None, None, None),
    ]
    assert [r["action"] for r in rows] == [8, 1, 0]
    assert [r["raw_score_b"] for r in rows] == [0.2, 0.4, 0.6]
    assert "raw_score_a" not in rows[0]


def test_csv_options_html_and_newlines(tmp_path: Path) -> None:
    body = "<p>\"a\"; 'b',\r\n\n<b>c</b></p>" * 9000  # longer than the csv module's own limit
    quoted = body.replace("'", "''")
    text = f"arm;p;y;body\r\nA;0.5;1;'{quoted}'\r\nB;0.5;0;'caf\u00e9'\r\n"
    (tmp_path / "log.csv").write_bytes(text.encode("latin-1"))
    mapped = {
        "name": "html",
        "csv": {"delimiter": ";", "quote": "'", "encoding": "latin-1"},
        "catalog": {"channel": {"constant": "email"}, "arm": {"column": "arm"}},
        "propensity": {"column": "p"},
        "rewards": {"y": {"column": "y", "low": 0, "high": 1}},
    }
    import_log(mapping_from(mapped), tmp_path / "log.csv", tmp_path / "o.parquet", contact_key="k")
    assert pq.read_table(tmp_path / "o.parquet")["raw_body"].to_pylist() == [body, "caf\u00e9"]


def test_companions(tmp_path: Path, mapped: Mapped, good: tuple[str, str]) -> None:
    (tmp_path / "log.csv").write_text("\n".join(good), encoding="utf-8")
    (tmp_path / "arms.csv").write_text('arm,len,body\nA,3,"x\ny"\nC,,z\n', encoding="utf-8")
    mapped["catalog"]["arm"] |= {
        "values": {"file": "arms.csv", "column": "arm"},
        "attributes": {"file": "arms.csv", "key": "arm"},
    }
    import_log(mapping_from(mapped), tmp_path / "log.csv", tmp_path / "o.parquet", contact_key="k")
    arms = LogReader(tmp_path / "o.parquet").meta.catalog.arms
    assert [(arm.id, arm.attributes) for arm in arms] == [("A", {"len": 3.0, "body": "x\ny"}), ("C", {"body": "z"})]


def test_progress_pseudonyms_and_block_borders(tmp_path: Path, mapped: Mapped, good: tuple[str, str]) -> None:
    """More rows than a block holds: row numbers, duplicates and sums do not depend on where blocks are cut."""
    n = 50_000
    lines = [good[1].replace("d1", f"d{i % (n - 1)}").replace("ann", f"u{i % 7}") for i in range(n)]
    (tmp_path / "log.csv").write_text("\n".join([good[0], *lines]), encoding="utf-8")
    calls: list[tuple[int, int]] = []
    report = import_log(
        mapping_from(mapped),
        tmp_path / "log.csv",
        tmp_path / "o.parquet",
        contact_key="k",
        progress=lambda done, rows: calls.append((done, rows)),
    )
    assert report.reasons == {"duplicate decision id": 1}
    assert len(calls) > 1
    assert calls[-1] == (n, n)
    assert report.rejects_file is not None
    assert report.rejects_file.read_text(encoding="utf-8").splitlines()[1].startswith(f"{n},duplicate")
    log = pq.read_table(tmp_path / "o.parquet", columns=["contact_id", "cluster"]).to_pandas()
    assert sorted(Counter(log["contact_id"]).values()) == sorted(Counter(log["cluster"]).values())
    assert log["contact_id"].nunique() == 7
    assert not log["contact_id"].str.contains("u").any()


def test_the_worked_example_of_the_docs(root: Path, tmp_path: Path) -> None:
    """What docs/mapping.md shows is what runs."""
    text = (root / "docs" / "mapping.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    rows = [line.strip() for line in text.splitlines() if line.startswith(("    donor,", "    17,", "    18,"))]
    (tmp_path / "letters.yaml").write_text(example, encoding="utf-8")
    (tmp_path / "letters.csv").write_text("\n".join(rows), encoding="utf-8")
    mapping = load_mapping(tmp_path / "letters.yaml")
    report = import_log(mapping, tmp_path / "letters.csv", tmp_path / "o.parquet", contact_key="k")
    assert (report.rows_kept, report.action_names) == (2, ("control", "2|50k|low"))


def test_every_key_is_documented(root: Path) -> None:
    text = (root / "docs" / "mapping.md").read_text(encoding="utf-8")
    structs = [spec.Mapping, spec.Axes, spec.Axis, spec.ValuesFrom, spec.Attributes, spec.Hold, spec.Propensity]
    structs += [spec.Availability, spec.Eligible, spec.Key, spec.DecidedAt, spec.Feature, spec.Reward, spec.CsvOptions]
    missing = [key for struct in structs for key in struct.__struct_fields__ if key not in text]
    assert missing == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": {"file": "arms.csv", "column": "arm"}}, "companion of log.csv, is not there"),
        ({"values": {"file": "there.csv", "column": "arms"}}, r"lacks the columns \['arms'\]"),
        ({"values": {"file": "odd.csv", "column": "arm"}}, "row cannot be read"),
        ({"values": {"pattern": "score_(.*)"}}, "no column of .* matches"),
        ({"attributes": {"file": "sub/arms.csv", "key": "arm"}}, "optional: true"),
        ({"attributes": {"file": "there*.csv", "key": "id"}}, r"lacks the columns \['id'\]"),
        ({"values": ["none"]}, "has no value"),
        ({"values": ["A", "A"]}, "make no catalog"),
    ],
)
def test_actions_that_cannot_be_found(
    run: Callable[..., Any], tmp_path: Path, mapped: Mapped, good: tuple[str, str], change: Mapped, words: str
) -> None:
    (tmp_path / "there.csv").write_text("arm\nA\n", encoding="utf-8")
    (tmp_path / "odd.csv").write_text("arm\nA,B\n", encoding="utf-8")
    mapped["catalog"]["arm"] |= change
    with pytest.raises(DataError, match=words):
        run(mapped, *good)


def test_an_axis_that_is_an_id_is_refused(run: Callable[..., Any], mapped: Mapped, good: tuple[str, str]) -> None:
    mapped["catalog"]["arm"] = {"column": "extra"}
    mapped["hold"] = {"column": "arm", "values": ["none"]}
    row = good[1].removesuffix("x")
    with pytest.raises(DataError, match="is an id, not an action"):
        run(mapped, good[0], *[f"{row}{i}" for i in range(20_001)])


def test_two_parquet_columns_of_one_name(tmp_path: Path, mapped: Mapped) -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["id", "id"])
    pq.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(DataError, match="same name"):
        import_log(mapping_from(mapped), tmp_path / "log.parquet", tmp_path / "o.parquet", contact_key="k")


def test_parquet_types_become_the_text_of_a_csv(tmp_path: Path) -> None:
    stamp = pd.to_datetime(["2024-07-01T12:00", "2024-07-01T13:00"])
    table = pa.table(
        {
            "arm": pa.array(["A", "B"]).dictionary_encode(),
            "at": pa.array(stamp.tz_localize("Asia/Tokyo")),
            "naive": pa.array(stamp),
            "p": pa.array([0.1, 0.2], pa.float32()),
            "y": pa.array([True, None]),
            "code": pa.array([1.0, None]),
            "raw": pa.array([b"x", None]),
            "many": pa.array([{"k": [1]}, None]),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    mapped = {
        "name": "types",
        "catalog": {"channel": {"constant": "email"}, "arm": {"column": "arm"}},
        "propensity": {"column": "p"},
        "decided_at": {"column": "at", "format": "iso"},
        "features": [{"name": "code", "type": "categorical", **BENEFIT}],
        "rewards": {"y": {"column": "y", "low": 0, "high": 1, "missing": [""]}},
    }
    import_log(mapping_from(mapped), tmp_path / "log.parquet", tmp_path / "o.parquet", contact_key="k")
    first, second = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert (first["arm"], first["context_code"], first["reward_y"]) == ("A", "1", 1.0)
    assert first["propensity"] == float(np.float32(0.1))
    assert first["decided_at"] == pd.Timestamp("2024-07-01T03:00Z")
    assert (first["raw_raw"], json.loads(first["raw_many"])) == ("x", {"k": [1]})
    assert (second["context_code"], second["reward_y"], second["raw_many"]) == (None, None, None)
    naive = mapped | {"decided_at": {"column": "naive", "format": "iso", "time_zone": "Asia/Tokyo"}}
    import_log(mapping_from(naive), tmp_path / "log.parquet", tmp_path / "o.parquet", contact_key="k")
    assert pq.read_table(tmp_path / "o.parquet")["decided_at"].to_pylist()[0] == first["decided_at"]
