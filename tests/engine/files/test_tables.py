"""One reader for contact, fact, outcome and side files: delimiter, encoding, gzip by content, limits."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError
from engine.files import stream, tables
from engine.files.documents import DEEPEST, MOST_NODES, YamlLimitError, decode_json, load_yaml
from engine.files.tables import heading_of, table_batches
from engine.mapping.cells import check_one_group, first_groups
from engine.mapping.sources import MALFORMED, open_source
from engine.mapping.spec import CsvOptions

TEXT = 'contact_id; b ;c\nu1;12,5;x\nu2;;"a;b"\n'
SAID = {"contact_id": ["u1", "u2"], "b": ["12,5", None], "c": ["x", "a;b"]}


def _read(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for columns, _ in table_batches(path, 1000):
        for name, column in columns.items():
            found.setdefault(name, []).extend(column.to_pylist())
    return found


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.txt"])
def test_delimiter_encoding_and_gzip_are_told_by_the_content(
    tmp_path: Path, packed: bool, encoding: str, delimiter: str, name: str
) -> None:
    text = TEXT.replace("12,5", "12.5").replace(";", delimiter)
    content = text.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    right = {**SAID, "b": ["12.5", None], "c": ["x", f"a{delimiter}b"]}
    assert _read(tmp_path / name) == right
    (batch,) = open_source(tmp_path / name).batches()
    assert {key: cells.tolist() for key, cells in batch.cells.items()} == {
        key: [cell or "" for cell in cells] for key, cells in right.items()
    }


@pytest.mark.parametrize(
    ("content", "right"),
    [
        (b"\n\r\na,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        (b"a,b\r1,2\r3,4", {"a": ["1", "3"], "b": ["2", "4"]}),
        (b'"a\nx",b\n1,"2\n3"\n', {"a\nx": ["1"], "b": ["2\n3"]}),
        (b",b\n1,2\n", {"unnamed_0": ["1"], "b": ["2"]}),
        (b"only\n1\n\n2\n", {"only": ["1", "2"]}),
        (b"a,b\n", {"a": [], "b": []}),
        (b"a;b,c\n1;2,3\n4;5,6\n", {"a;b": ["1;2", "4;5"], "c": ["3", "6"]}),
    ],
)
def test_headings(tmp_path: Path, content: bytes, right: dict[str, list[str]]) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    assert _read(tmp_path / "a.csv") == right


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "a,b\nu1,Zo\u00eb\n".encode("latin-1"), "iconv -f CP1252"),
        ("a.csv", "a,b\nu1,c\n".encode("utf-16-le"), "UTF-16"),
        ("a.csv", b"PK\x03\x04rest", "workbook"),
        ("a.csv", b"PAR1rest", "Parquet"),
        ("a.csv", gzip.compress(gzip.compress(b"a\n1\n")), "twice"),
        ("a.csv", gzip.compress(b"a,b\n1,2\n")[:-4], "damaged gzip"),
        ("a.csv", b'a,b\n1,"open\n2,3\n', "inside a quoted field"),
        ("a.csv", b"a,b\n1\n", "row 1 has 1 fields, the header has 2"),
        ("a.csv", b"a, a\n1,2\n", "same name"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n", "is empty"),
        ("a.jsonl", b"[" * 100_000, "deeper than 64 levels"),
        ("a.jsonl", b'{"a":' * 900 + b"1" + b"}" * 900, "deeper than 64 levels"),
        ("a.jsonl", b'{"a": 1, "a": 2}', "'a' is given twice"),
        ("a.jsonl", b'{"a": ' + b"1" * 5000 + b"}", "row 1 is no JSON object"),
        ("a.jsonl", b'{"a": 123456789012345678901234567890}', "'a' mixes kinds"),
        ("a.jsonl", b'{"a": "\\ud800"}', "row 1 is no JSON object"),
        ("a.jsonl", b'{"a": NaN}', "NaN"),
        ("a.jsonl", b"\xff\xfe", "holds nothing|is empty|no JSON"),
        ("a.parquet", b"PAR1", "no readable Parquet"),
        ("a.xlsx", b"x", "no known ending"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    if words.startswith("holds nothing"):
        assert _read(tmp_path / name) == {}
        return
    with pytest.raises(DataError, match=words) as caught:
        _read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_table_without_rows_still_tells_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({" a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    ((columns, rows),) = table_batches(tmp_path / "a.parquet", 10)
    assert (list(columns), rows) == (["a"], 0)


def test_a_hundred_thousand_columns_are_quick(tmp_path: Path) -> None:
    """Names were counted one by one against all the others: ten thousand million comparisons."""
    names = [f"c{i}" for i in range(100_000)]
    (tmp_path / "a.csv").write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert heading_of(tmp_path / "a.csv").names == tuple(names)
    (tmp_path / "b.csv").write_text(",".join([*names, "c7"]) + "\n")
    with pytest.raises(DataError, match="'c7'"):
        heading_of(tmp_path / "b.csv")


def test_a_gzip_bomb_stops_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 500_000))
    assert len(_read(path)["a"]) == 500_000
    monkeypatch.setattr(stream, "FREE_BYTES", 1 << 20)
    with pytest.raises(DataError, match="unpacks to more than 1048576 bytes"):
        _read(path)
    with pytest.raises(DataError, match="unpacks to more than"):
        list(open_source(path).batches())


def test_a_line_without_end_stops_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LONGEST_LINE", 1 << 20)
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "' + b"x" * (3 << 20) + b'"}')
    with pytest.raises(DataError, match="a line of more than"):
        _read(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="a line of more than"):
        open_source(tmp_path / "a.jsonl")


def test_a_row_beyond_the_buffer_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1," + b"x" * (9 << 20) + b"\n")
    with pytest.raises(DataError, match="a row of more than"):
        _read(tmp_path / "a.csv")


def test_an_import_takes_rows_beyond_the_buffer(tmp_path: Path) -> None:
    """An HTML body may be one cell. Rows before it are given once, though the file is read anew with larger buffers."""
    rows = [[str(place), "x" * size] for place, size in enumerate([1, 3 << 20, 1, 9 << 20, 1])]
    (tmp_path / "a.csv").write_text("a,b\n" + "".join(f'{a},"{b}"\n' for a, b in rows[:3]) + "broken\n")
    with (tmp_path / "a.csv").open("a") as file:
        file.writelines(f"{a},{b}\n" for a, b in rows[3:])
    (batch,) = open_source(tmp_path / "a.csv").batches()
    assert [[a, b] for a, b in zip(batch.cells["a"], batch.cells["b"], strict=True)] == rows
    assert (batch.rows.tolist(), [fault[0] for fault in batch.faults]) == ([1, 2, 3, 5, 6], [4])


def test_a_field_beyond_the_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LONGEST_FIELD", 1 << 20)
    (tmp_path / "a.csv").write_text("a,b\n1," + "x" * (3 << 20) + "\n")
    with pytest.raises(DataError, match="a field of more than 1048576 characters"):
        list(open_source(tmp_path / "a.csv").batches())


def test_marks_of_more_than_one_byte(tmp_path: Path) -> None:
    """Files of document reviews quote by the thorn."""
    (tmp_path / "a.dat").write_text("a\u00a6b\n\u00fe1\u00a6\x1f\u00fe\u00a6\u00fe\u00fe\u00fe\u00fe\n")
    options = CsvOptions(delimiter="\u00a6", quote="\u00fe")
    (batch,) = open_source(tmp_path / "a.dat", "csv", options).batches()
    assert {name: cells.tolist() for name, cells in batch.cells.items()} == {"a": ["1\u00a6\x1f"], "b": ["\u00fe"]}


@pytest.mark.parametrize("part", [1, 2, 3, 1 << 20])
def test_quotes_within_cells_wherever_the_file_is_cut(
    tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inch is no quote; text after a closing quote belongs to the cell, but an import rejects the row."""
    monkeypatch.setattr(tables, "_CSV_PART", part)
    (tmp_path / "a.csv").write_text('a,b\n5",1\n"x""y\n,",2\n"u"v,3\n,4')
    assert _read(tmp_path / "a.csv") == {"a": ['5"', 'x"y\n,', "uv", None], "b": ["1", "2", "3", "4"]}
    (batch,) = open_source(tmp_path / "a.csv").batches()
    assert (batch.rows.tolist(), batch.faults) == ([1, 2, 4], ((3, MALFORMED, "text after a closing quote"),))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 1000,
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\n"
            "d: &d [*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e]"
        ),
        "&a [*a]",
        "a: " + "1" * 5000,
        "a: 1" + ":1" * 5000,
        "a: 2026-99-99",
        "a: 1\na: 2",
        "x" * (1 << 21),
    ],
)
def test_yaml_beyond_the_limits_is_an_error_of_yaml(text: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the class is checked below)
        load_yaml(text)
    assert isinstance(caught.value, YamlLimitError) or type(caught.value).__name__ == "ConstructorError"


def test_yaml_within_the_limits() -> None:
    assert load_yaml("k: &k {a: 1}\nm: {<<: *k, b: [*k, *k]}") == {
        "k": {"a": 1},
        "m": {"a": 1, "b": [{"a": 1}, {"a": 1}]},
    }
    assert load_yaml(io.StringIO("a: " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))) is not None
    assert len(load_yaml("\n".join(f"- {i}" for i in range(MOST_NODES // 10)))) == MOST_NODES // 10


def test_json_keeps_digits_where_asked() -> None:
    assert decode_json('{"a": 1.50, "b": [9007199254740993]}', digits=True) == {"a": "1.50", "b": ["9007199254740993"]}
    assert decode_json("[" * DEEPEST + "]" * DEEPEST) is not None


def test_patterns_of_users_run_in_time_that_grows_with_the_text() -> None:
    assert first_groups(r"score_(\w+)", ["score_A", "xscore_A", "score_B", "score_"]) == ["A", "B"]
    assert first_groups(r"((?:a+)+)b", ["a" * 100_000]) == []


@pytest.mark.parametrize("pattern", ["(", "a", "(a)(b)", r"(a)\1", "(?<=a)(b)", "((a{1000}){1000})", ")|(a"])
def test_patterns_that_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="`pattern` of values"):
        check_one_group(pattern, owner="values")
