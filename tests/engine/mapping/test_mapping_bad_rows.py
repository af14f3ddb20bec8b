"""Bad rows are rejected one by one with their reason; bad files are refused whole, and nothing is written."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import ConfigError, DataError, ParameterError, StorageError
from engine.mapping.dialect import mapping_from
from engine.mapping.importer import import_log
from engine.mapping.rejects_file import rejects_path

Mapped = dict[str, Any]
COLUMNS = ["id", "who", "at", "arm", "p", "age", "plan", "click", "extra"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("arm", "C", "unknown arm"),
        ("arm", "", "unknown arm"),
        ("p", "0", "propensity is not in (0, 1]"),
        ("p", "-0.1", "propensity is not in (0, 1]"),
        ("p", "1.0001", "propensity is not in (0, 1]"),
        ("p", "nan", "propensity is not in (0, 1]"),
        ("p", "", "propensity is not in (0, 1]"),
        ("p", "half", "propensity is not in (0, 1]"),
        ("age", "nan", "feature 'age' is no finite number"),
        ("age", "inf", "feature 'age' is no finite number"),
        ("age", "-inf", "feature 'age' is no finite number"),
        ("age", "young", "feature 'age' is no finite number"),
        ("age", "1_000", "feature 'age' is no finite number"),
        ("age", "-1", "feature 'age' is outside [0, inf]"),
        ("click", "2", "reward 'click' is outside [0, 1]"),
        ("click", "-1", "reward 'click' is outside [0, 1]"),
        ("click", "", "reward 'click' is no finite number"),
        ("click", "inf", "reward 'click' is no finite number"),
        ("click", "NaN", "reward 'click' is no finite number"),
        ("at", "2024-03-01T10:00:00", "timestamp without a time zone"),
        ("at", "yesterday", "timestamp does not fit the format"),
        ("at", "", "timestamp does not fit the format"),
        ("id", "", "decision_id is empty"),
        ("id", "d1", "duplicate decision id"),
        ("who", "", "contact is empty"),
    ],
)
def test_one_bad_cell_rejects_one_row(
    run: Callable[..., Any], mapped: Mapped, good: tuple[str, str], column: str, value: str, reason: str
) -> None:
    header, row = good
    cells = dict(zip(COLUMNS, row.replace("d1", "d2").split(","), strict=True)) | {column: value}
    report, rows = run(mapped, header, row, ",".join(cells.values()), row.replace("d1", "d3"))
    assert report.reasons == {reason: 1}
    assert (report.rows_read, report.rows_kept, report.rows_rejected) == (3, 2, 1)
    assert [r["decision_id"] for r in rows] == ["d1", "d3"]
    assert report.rejects_file is not None
    with report.rejects_file.open(encoding="utf-8", newline="") as file:
        (reject,) = csv.DictReader(file)
    assert (reject["row"], reject["reason"], reject["decision_id"]) == ("2", reason, cells["id"])
    assert value in reject["value"]


@pytest.mark.parametrize("line", ["d2,ann", "d2" + ",x" * 12, 'd2,"ann"x,2024-03-01T10:00Z,A,0.5,31,1,1,x'])
def test_a_row_of_the_wrong_shape_is_rejected(
    run: Callable[..., Any], mapped: Mapped, good: tuple[str, str], line: str
) -> None:
    report, rows = run(mapped, *good, line, good[1].replace("d1", "d3"))
    assert report.reasons == {"row cannot be read": 1}
    assert [r["decision_id"] for r in rows] == ["d1", "d3"]


def test_required_features_and_levels(run: Callable[..., Any], mapped: Mapped, good: tuple[str, str]) -> None:
    mapped["features"][0]["required"] = True
    mapped["features"][1]["levels"] = ["1", "2"]
    lines = [good[1].replace("d1", f"d{i}") for i in range(2, 5)]
    report, _ = run(mapped, *good, lines[0].replace("31", "?"), lines[1].replace(",1,1,", ",3,1,"), lines[2])
    assert report.reasons == {"feature 'age' is missing": 1, "feature 'plan' has an unknown level": 1}


def test_a_duplicate_of_a_rejected_row_is_kept(run: Callable[..., Any], mapped: Mapped, good: tuple[str, str]) -> None:
    report, _ = run(mapped, good[0], good[1].replace("0.5", "0"), good[1])
    assert report.reasons == {"propensity is not in (0, 1]": 1}


def test_an_old_rejects_file_does_not_outlive_a_clean_import(
    run: Callable[..., Any], mapped: Mapped, good: tuple[str, str]
) -> None:
    report, _ = run(mapped, *good, good[1])
    assert report.rejects_file.exists()
    again, _ = run(mapped, *good)
    assert again.rejects_file is None
    assert not report.rejects_file.exists()


def test_no_row_kept_means_nothing_written(
    run: Callable[..., Any], mapped: Mapped, good: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"none of 2 rows can be kept: propensity is not in \(0, 1\]: 2"):
        run(mapped, good[0], *[good[1].replace("0.5", "7")] * 2)
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


def _gz_cut(path: Path) -> None:
    path.write_bytes(gzip.compress(b"id,who\n" + b"1,2\n" * 5000)[:-40])


def _parquet_cut(path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"] * 5000}), path)
    path.write_bytes(path.read_bytes()[:-30])


FULL = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("log.csv", b"", "is empty"),
        ("log.csv", b"\n\n", "is empty"),
        ("log.csv", FULL.encode() + b"\n", "holds no rows"),
        ("log.csv", b"id,whom,at,arm,p,age,plan\n1,2,3,4,5,6,7\n", r"lacks the columns 'who' \(for contact\).*'click'"),
        ("log.csv", b"id,whom,at,arm,p,age,plan,click\n1,2,3,4,5,6,7,8\n", "did you mean 'whom'"),
        ("log.csv", b"id,id\n1,2\n", "columns of the same name"),
        ("log.csv", FULL.encode() + b'\nd1,"ann\n', "ends inside a quoted field"),
        ("log.csv", FULL.encode() + "\nd1,Zo\u00eb,x,A,1,1,1,1,1\n".encode("latin-1"), "csv.encoding"),
        ("log.csv.gz", _gz_cut, "damaged gzip"),
        ("log.csv.gz", b"id,who\n", "lacks the columns"),  # plain text under a name that says gzip is read as it is
        ("log.parquet", _parquet_cut, "truncated or damaged"),
        ("log.parquet", b"PAR1", "truncated or damaged"),
        ("log.jsonl", b"[1]\n", "no JSON object"),
        ("log.xlsx", b"PK", "no known ending"),
    ],
)
def test_a_bad_file_is_refused_whole(
    tmp_path: Path, mapped: Mapped, name: str, content: bytes | Callable[[Path], None], words: str
) -> None:
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    (tmp_path / "out.parquet").write_bytes(b"earlier")
    with pytest.raises(DataError, match=words) as caught:
        import_log(mapping_from(mapped), path, tmp_path / "out.parquet", contact_key="k")
    assert caught.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "out.parquet"])
    assert (tmp_path / "out.parquet").read_bytes() == b"earlier"


def test_a_missing_file_and_a_bad_argument(tmp_path: Path, mapped: Mapped) -> None:
    mapping, there = mapping_from(mapped), tmp_path / "log.csv"
    with pytest.raises(DataError, match="does not exist"):
        import_log(mapping, there, tmp_path / "o.parquet", contact_key="k")
    there.write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(ParameterError, match="contact_key"):
        import_log(mapping, there, tmp_path / "o.parquet", contact_key="")
    with pytest.raises(ParameterError, match="out_path"):
        import_log(mapping, there, there, contact_key="k")


def test_a_folder_that_is_not_there(tmp_path: Path, mapped: Mapped, good: tuple[str, str]) -> None:
    (tmp_path / "log.csv").write_text("\n".join(good), encoding="utf-8")
    with pytest.raises(StorageError):
        import_log(mapping_from(mapped), tmp_path / "log.csv", tmp_path / "no" / "o.parquet", contact_key="k")


FILL = """
import resource, sys
from pathlib import Path
from engine.errors import StorageError
from engine.mapping.dialect import load_mapping
from engine.mapping.importer import import_log
mapping = load_mapping(sys.argv[1])
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), before[1]))
try:
    import_log(mapping, Path(sys.argv[2]), Path(sys.argv[3]), contact_key="k")
except StorageError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)  # a tracer of coverage writes at exit
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("bad_share", [0.0, 1.0])
def test_a_full_disk_leaves_nothing(tmp_path: Path, root: Path, bad_share: float) -> None:
    """A limit on file size makes the writes fail as a full disk does; once for the log, once for the rejects."""
    mapping, source, out = tmp_path / "m.yaml", tmp_path / "log.csv", tmp_path / "o.parquet"
    mapping.write_text(
        "name: m\ncatalog: {channel: {constant: e}, arm: {column: arm}}\npropensity: {column: p}\n"
        "decision_id: {column: id}\nrewards: {r: {column: r, low: 0, high: 1}}\n",
        encoding="utf-8",
    )
    rows = [f"{i * 7919 % 100003}-{i},A,{2 if i and bad_share else 0.5},1" for i in range(30_000)]
    source.write_text("\n".join(["id,arm,p,r", *rows]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(mapping), str(source), str(out), "60000"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (StorageError.exit_code, "")
    assert ("rejects" in done.stdout) == bool(bad_share)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "m.yaml"]
    assert not rejects_path(out).exists()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("propensity", {"per_arm": {"A": 0.5, "hold": 0.2}}, r"no entry for \['B'\]"),
        ("propensity", {"per_arm": {"Z": 0.5, "default": 0.2}}, "unknown action 'Z'"),
        ("propensity", {"per_arm": {"A": 0.9, "default": 0.2}}, r"sum to at most 1 over 3 actions, got 1\.3"),
        ("propensity", {"constant": 0.5}, "sum to at most 1"),
        ("eligible", {"columns": {"Z": "extra"}}, "unknown action 'Z'"),
        ("eligible", {"expressions": {"Z": "age > 1"}}, "values of the axis arm"),
    ],
)
def test_a_mapping_that_contradicts_its_log(
    run: Callable[..., Any], mapped: Mapped, good: tuple[str, str], key: str, value: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        run(mapped | {key: value}, *good)


def test_a_hold_entry_without_hold(run: Callable[..., Any], mapped: Mapped, good: tuple[str, str]) -> None:
    del mapped["hold"]
    with pytest.raises(ConfigError, match="declares no hold"):
        run(mapped | {"propensity": {"per_arm": {"hold": 0.5, "default": 0.2}}}, *good)
    with pytest.raises(DataError, match="make no catalog"):
        run(mapped | {"aliases": {"x": "Z"}}, *good)
