"""Every option of every command with values that cannot be: no traceback, and an exit code that the documents list."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.main

from engine.log.parquet import ParquetFile
from engine.records.schema import RewardSpec, log_schema
from experiments.cli.main import app
from tests.experiments.cli.test_bad_input import GOOD, MAPPING
from tests.experiments.commands import run
from tests.experiments.serve.stateful_worlds import fact_file, facts_of, names
from tests.logs import decision_row, decision_table, small_meta

# Share of all pairs of option and value; every run takes the same ones, and more where the variable asks for them.
TAKEN = float(os.environ.get("TACTFUL_FUZZ_SHARE", "0.03"))
# They work for seconds whatever the value is, so they are asked for help alone.
LONG = {"demo", "calibrate", "experiment", "simulate"}
# States that a command reports by its exit code; its section of the documents lists them.
OWN = {"monitor": {10, 11, 12, 13}}
NOW = "2026-11-03T12:00:00Z"


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Name and parameters of every command, those of groups included."""
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from (((name, inner), found) for inner, found in command.commands.items())
        else:
            yield (name,), command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file of each kind, and one of each kind of damage."""
    folder = tmp_path_factory.mktemp("fuzz")
    meta = small_meta(rewards={"visit": RewardSpec(low=0, high=1)})
    rows = [decision_row(n, meta, reward_visit=float(n % 2), state="dispatched") for n in range(40)]
    pq.write_table(pa.Table.from_pylist(rows, log_schema(meta)), folder / "joined.parquet")
    bare = small_meta()
    with ParquetFile(folder / "log.parquet", log_schema(bare)) as file:
        file.append(decision_table([decision_row(n, bare) for n in range(40)], bare))
    (folder / "in.csv").write_text(GOOD)
    (folder / "m.yaml").write_text(MAPPING)
    (folder / "contacts.csv").write_text("contact_id,time_zone\na,UTC\nb,UTC\n")
    (folder / "outcomes.csv").write_text(f"decision_id,event,at,value_usd\nd000001,clicked,{NOW},\n")
    (folder / "ids.txt").write_text("a\n")
    fact_file(folder / "facts.jsonl", facts_of(names(0, 2)))
    run("state", "record", "--state", f"sqlite:///{folder}/s.sqlite", "--facts", folder / "facts.jsonl", "--create")
    (folder / "empty").touch()
    (folder / "junk.parquet").write_bytes(b"PAR1" + bytes(range(256)) * 4 + b"PAR1")
    (folder / "junk.csv").write_bytes(b'\xff\xfe\x00a,"b\n' * 5)
    (folder / "junk.yaml").write_text("a: [1, {b: !!python/object:os.system x}\n")
    (folder / "list.yaml").write_text("- 1\n- {a: b}\n")
    (folder / "deep.jsonl").write_text("[" * 5000)
    types = {
        "contact_id": [1, 2],
        "fact": [True, False],
        "at": [[1], [2]],
        "decision_id": [1.5, None],
        "event": [b"a", b"b"],
    }
    pq.write_table(pa.table(types), folder / "types.parquet")
    (folder / "junk.sqlite").write_bytes(b"SQLite format 3\0" + b"\7" * 4000)
    return folder


GOODS = {
    "mapping": "m.yaml",
    "source": "in.csv",
    "out": "new/out.parquet",
    "log": "joined.parquet",
    "decisions": "log.parquet",
    "contacts": "contacts.csv",
    "outcomes": "outcomes.csv",
    "facts": "facts.jsonl",
    "policy": "trained",
    "live": "live",
    "ids": "ids.txt",
    "paths": "contacts.csv",
}
WORDS = {
    "metric": "visit",
    "now": NOW,
    "pack": "default",
    "first": "default",
    "second": "default",
    "contact": "a",
    "decision": "d000001",
    "why": "a test",
    "to": "v",
    "name": "hillstrom",
}


def values(folder: Path) -> list[str]:
    files = ["nowhere", ".", "empty", "junk.parquet", "junk.csv", "junk.yaml", "list.yaml", "deep.jsonl"]
    files += ["types.parquet", "junk.sqlite", "joined.parquet/inside", "a\0b"]
    urls = [
        "postgresql://u:p@h:port/x",
        "postgresql://",
        "sqlite://",
        "sqlite:///",
        "mysql://h/x",
        "postgresql+no://h/x",
    ]
    urls += [f"sqlite:///{folder}/{name}" for name in ("nowhere.sqlite", "junk.sqlite", "in.csv", "")]
    words = ["", " ", "-1", "0", "nan", "1e999", "9" * 400, "\x1b[31m[red]x", "\udcff\udcfe", "é" * 300, "a" * 5000]
    words += [
        "null",
        "true",
        "[",
        "{",
        "${a}",
        "a=b",
        "2026-11-03",
        "9999-12-31T23:59:59+00:00",
        "0001-01-01T00:00:00Z",
    ]
    words += ["always:", "column:", "@", "/dev/null", "../..", "uniform"]
    return [str(folder / name) for name in files] + urls + words


def base(command: Any, folder: Path) -> dict[str, list[str]]:
    """The least that a command asks for."""
    found = {}
    for parameter in command.params:
        if not parameter.required:
            continue
        value = str(folder / GOODS[parameter.name]) if parameter.name in GOODS else WORDS.get(parameter.name, "x")
        if parameter.name == "state":
            value = f"sqlite:///{folder}/s.sqlite"
        found[parameter.name] = written(parameter, value)
    return found


def written(parameter: Any, value: str) -> list[str]:
    if parameter.param_type_name == "argument":
        return [value]
    return [parameter.opts[0]] if getattr(parameter, "is_flag", False) else [f"{parameter.opts[0]}={value}"]


def taken(*what: str) -> bool:
    digest = hashlib.sha256("\0".join(what).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:4], "big") < TAKEN * 2**32


@pytest.fixture(scope="module")
def documented(root: Path) -> set[int]:
    text = (root / "docs" / "commands.md").read_text(encoding="utf-8")
    return {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} - {1, 130}


NAMED = {"-".join(name): (name, command) for name, command in commands()}


@pytest.mark.parametrize("command", sorted(set(NAMED) - LONG))
def test_no_value_of_an_option_gives_a_traceback(
    command: str, place: Path, documented: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, parsed = NAMED[command]
    least = base(parsed, place)
    wrong = []
    for parameter in parsed.params:
        for number, value in enumerate(values(place)):
            if parameter.name in ("help", "as_json") or not taken(command, str(parameter.name), str(number)):
                continue
            asked = [*name, *(part for key, parts in least.items() if key != parameter.name for part in parts)]
            asked += [*written(parameter, value), "--json"]
            code, out, err = outcome(asked)
            said = out + err
            if "Traceback" in said or code not in documented | OWN.get(command, set()) or "\x1b[31m" in said:
                wrong.append((asked, code, said[-600:]))
    assert wrong == []


def outcome(asked: list[str]) -> tuple[Any, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(asked)
        except SystemExit as end:
            code = end.code or 0
        except BaseException as error:  # noqa: BLE001 (this is what must not be)
            err.write(f"Traceback: {type(error).__name__}: {error}")
    return code, out.getvalue(), err.getvalue()
