"""Bad input, each a clear error with its exit code; nothing lost, nothing half-written, what stood there untouched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.experiments.commands import call, refused, run, strict_json, validate
from tests.experiments.conftest import Demo

NOW = "2026-09-15T14:00:00+00:00"
MAPPING = """
name: small
source: a test
catalog:
  channel: {constant: email}
  arm: {column: arm, values: [mens, womens]}
hold: {axis: arm, values: [none]}
propensity: {column: p}
decision_id: {column: id}
decided_at: {column: at, format: iso}
feature_defaults: {source: s, collected_where: c, customer_benefit: They get fewer messages.}
features:
  - {name: age, type: numeric, unit: years, low: 0}
rewards:
  visit: {column: visit, low: 0, high: 1, unit: share}
"""
GOOD = "id,arm,p,at,age,visit\n" + "".join(
    f"d{i},{('mens', 'womens', 'none')[i % 3]},{0.25 if i % 3 else 0.5},2026-03-01T09:{i:02d}:00Z,{20 + i},{i % 2}\n"
    for i in range(30)
)


class Place:
    """A folder with a mapping, a good file and an output that already stands there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mapping, self.source, self.out = folder / "m.yaml", folder / "in.csv", folder / "out.parquet"
        self.mapping.write_text(MAPPING)
        self.source.write_text(GOOD)

    def importing(self) -> tuple[object, ...]:
        return ("import", "--mapping", self.mapping, "--input", self.source, "--out", self.out)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_untouched(folder: Path, code: int, *arguments: object) -> tuple[str, str]:
    """The command fails and the folder holds what it held before, byte for byte."""
    before = listing(folder)
    error, hint = refused(code, *arguments)
    assert listing(folder) == before
    return error, hint


def rewrite(place: Place, old: str, new: str) -> None:
    text = place.source.read_text()
    assert old in text
    place.source.write_text(text.replace(old, new))


@pytest.mark.parametrize("p", ["0", "-0.1", "1.5", "nan", "inf", "a third"])
def test_rows_of_bad_propensity_are_rejected_and_told(p: str, place: Place) -> None:
    rewrite(place, "d4,womens,0.25", f"d4,womens,{p}")
    out = run(*place.importing(), "--show-rejected-values")
    assert (out["rows_read"], out["rows_kept"], out["rows_rejected"]) == (30, 29, 1)
    rejects = pd.read_csv(out["rejects"])
    assert len(rejects) == 1
    assert "5" in rejects.astype(str).iloc[0].tolist()
    assert "d4" in rejects.astype(str).iloc[0].tolist()


@pytest.mark.parametrize("p", ["0", "-0.1", "1.5"])
def test_a_log_of_bad_propensities_is_refused(p: str, place: Place) -> None:
    place.out.write_bytes(b"what stood there before")
    rewrite(place, ",0.25,", f",{p},")
    rewrite(place, ",0.5,", f",{p},")
    before = place.out.read_bytes()
    error, hint = refused(3, *place.importing(), "--replace")
    assert place.out.read_bytes() == before
    assert "propensity" in error + hint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("d4,womens", "d4,womans"),
        ("d4,womens,0.25,2026-03-01T09:04:00Z", "d4,womens,0.25,2026-03-01T09:04:00"),
        ("d4,womens", "d3,womens"),
        ("09:04:00Z,24,1", "09:04:00Z,24,7"),
        ("09:04:00Z,24,0", "09:04:00Z,inf,0"),
    ],
    ids=["unknown arm", "naive instant", "duplicate id", "reward outside its range", "infinite feature"],
)
def test_a_bad_row_is_told_with_its_number(old: str, new: str, place: Place) -> None:
    text = place.source.read_text().replace("09:04:00Z,24,0", old) if old.startswith("09:04:00Z,24,1") else None
    if text is not None:
        place.source.write_text(text)
    rewrite(place, old, new)
    out = run(*place.importing())
    assert out["rows_kept"] + out["rows_rejected"] == out["rows_read"] == 30
    assert out["rows_rejected"] >= 1
    assert sum(out["reasons"].values()) == out["rows_rejected"]
    kept = pq.read_table(place.out)["decision_id"].to_pylist()
    assert len(kept) == out["rows_kept"]
    assert len(set(kept)) == len(kept)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("decided_at: {column: at, format: iso}", "decided_at: {column: at, format: iso, zone: UTC}", "zone"),
        ("source: a test", "source: a test\nchanel: x", "chanel"),
        ("{column: p}", "{column: prob}", "prob"),
        ("format: iso", 'format: "%Y", time_zone: Europe/Berlim', "Europe/Berlim"),
        ("low: 0, high: 1", "low: 1, high: 0", "low"),
        ("customer_benefit: They get fewer messages.", "customer_benefit: ''", "customer_benefit"),
    ],
)
def test_a_bad_mapping_is_named(old: str, new: str, named: str, place: Place) -> None:
    assert old in MAPPING
    place.mapping.write_text(MAPPING.replace(old, new))
    before = listing(place.folder)
    answer = call(*place.importing())
    assert answer.code in (3, 4)
    assert named in answer.out["error"]
    assert listing(place.folder) == before


@pytest.mark.parametrize("content", [b"", b"\n", b"id,arm,p,at,age,visit\n"], ids=["empty", "blank", "header only"])
def test_a_file_without_rows_is_refused(content: bytes, place: Place) -> None:
    place.source.write_bytes(content)
    check_untouched(place.folder, 3, *place.importing())


def test_a_truncated_parquet_file_is_refused(place: Place, demo: Demo) -> None:
    place.source = place.folder / "in.parquet"
    place.source.write_bytes(demo.log.read_bytes()[:-100])
    check_untouched(place.folder, 3, *place.importing())
    for command in ("evaluate", "train", "backtest"):
        more = ("--policy", "uniform") if command == "evaluate" else ()
        asked = (command, "--log", place.source, "--metric", "margin", "--out", place.folder / "o", *more)
        error, _ = check_untouched(place.folder, 3, *asked)
        assert "in.parquet" in error


def test_a_folder_in_place_of_a_file(place: Place, demo: Demo) -> None:
    folder = place.folder / "folder"
    folder.mkdir()
    importing = ("import", "--mapping", place.mapping, "--input")
    check_untouched(place.folder, 3, *importing, folder, "--out", place.out)
    check_untouched(place.folder, 5, *importing, place.source, "--out", folder)
    check_untouched(place.folder, 3, "evaluate", "--log", folder, "--policy", "uniform", "--metric", "margin")
    deciding = ("decide", "--policy", demo.policy, "--now", NOW, "--contacts")
    check_untouched(place.folder, 3, *deciding, folder, "--out", place.out)
    check_untouched(place.folder, 5, *deciding, demo.contacts, "--out", folder)


def test_a_file_in_place_of_a_folder(place: Place, demo: Demo) -> None:
    """Stands for a folder that cannot be written, for root too."""
    inside = place.source / "inside"
    for command, more in (("evaluate", ("--policy", "uniform", "--estimator", "ips")), ("train", ()), ("backtest", ())):
        for out in (place.source, inside):
            asked = (command, "--log", demo.log, "--metric", "order", "--out", out, "--replace", *more)
            check_untouched(place.folder, 5, *asked)
    deciding = ("decide", "--policy", demo.policy, "--now", NOW, "--contacts", demo.contacts)
    check_untouched(place.folder, 5, *deciding, "--out", inside)
    check_untouched(place.folder, 5, *("import", "--mapping", place.mapping, "--input", place.source, "--out", inside))


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--policy", "uniform", "--metric", "margins"), 3, "margins"),
        (("--policy", "best", "--metric", "margin"), 3, "best"),
        (("--policy", "always:nobody", "--metric", "margin"), 3, "nobody"),
        (("--policy", "column:nowhere", "--metric", "margin"), 3, "nowhere"),
        (("--policy", "uniform", "--metric", "margin", "--baseline", "vw"), 3, "vw"),
        (("--policy", "uniform", "--metric", "margin", "--estimator", "ips,magic"), 2, "magic"),
        (("--policy", "uniform", "--metric", "margin", "evaluation.alpa=1"), 4, "alpa"),
        (("--policy", "uniform", "--metric", "margin", "evaluation.alpha=1"), 4, "alpha"),
        (("--policy", "uniform", "--metric", "margin", "--columns", "nowhere.csv"), 3, "nowhere.csv"),
    ],
)
def test_unknown_names(arguments: tuple[str, ...], code: int, named: str, demo: Demo, tmp_path: Path) -> None:
    error, hint = check_untouched(tmp_path, code, "evaluate", "--log", demo.log, "--out", tmp_path / "o", *arguments)
    assert named in error
    assert hint or "must be" in error


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--metric", "margins"), 3),
        (("--metric", "margin", "--baseline", "always:nobody"), 3),
        (("--metric", "margin", "--baseline", "yesterday"), 3),
        (("--metric", "margin", "--train-fraction", "0"), 2),
        (("--metric", "margin", "--train-fraction", "1.2"), 2),
        (("--metric", "margin", "--train-fraction", "nan"), 2),
        (("--metric", "margin", "deciding_estimator=magic"), 2),
    ],
)
def test_a_backtest_that_cannot_be(arguments: tuple[str, ...], code: int, demo: Demo, tmp_path: Path) -> None:
    error, _ = check_untouched(tmp_path, code, "backtest", "--log", demo.log, "--out", tmp_path / "o", *arguments)
    assert error


def test_a_log_of_one_instant_is_not_split_by_time(demo: Demo, tmp_path: Path) -> None:
    table = pq.read_table(demo.log)
    one = table.filter(pa.compute.equal(table["decided_at"], table["decided_at"][0]))
    pq.write_table(one, tmp_path / "one.parquet")
    asked = ("backtest", "--log", tmp_path / "one.parquet", "--metric", "margin", "--split", "time")
    error, _ = check_untouched(tmp_path, 3, *asked, "--out", tmp_path / "o")
    assert "same instant" in error


@pytest.mark.parametrize("now", ["2026-09-15T14:00:00", "2026-09-15", "soon", ""])
def test_now_needs_an_offset(now: str, demo: Demo, tmp_path: Path) -> None:
    deciding = ("decide", "--policy", demo.policy, "--contacts", demo.contacts, "--now", now)
    error, _ = check_untouched(tmp_path, 2, *deciding, "--out", tmp_path / "d.parquet")
    assert "now" in error
    joining = ("join", "--log", demo.campaign, "--outcomes", demo.outcomes)
    check_untouched(tmp_path, 2, *joining, "--now", now, "--out", tmp_path / "j.parquet")


def bad_contacts(demo: Demo, change: Callable[[pd.DataFrame], pd.DataFrame], path: Path) -> Path:
    frame = pq.read_table(demo.contacts).to_pandas().head(40).drop(columns="sends").assign(sends="[]")
    change(frame.astype(object)).to_csv(path, index=False)
    return path


def put(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[17, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (put("cart_value_usd", "inf"), "cart_value_usd"),
        (put("cart_value_usd", "-inf"), "cart_value_usd"),
        (put("cart_value_usd", "NaN"), "cart_value_usd"),
        (put("cart_value_usd", "a lot"), "cart_value_usd"),
        (put("cart_value_usd", -1.0), "cart_value_usd"),
        (put("motive", "greed"), "motive"),
        (put("time_zone", "America/New_Yrok"), "time_zone"),
        (put("cart_value_usd_at", "2026-09-10T10:00:00"), "cart_value_usd_at"),
        (lambda frame: put("contact_id", frame.loc[3, "contact_id"])(frame), "contact_id"),
        (put("suppressed_email", "perhaps"), "suppressed_email"),
        (put("sends", "{"), "sends"),
        (lambda frame: frame.drop(columns="contact_id"), "contact_id"),
    ],
)
def test_a_wrong_contact_is_named_with_its_row(
    change: Callable[[pd.DataFrame], pd.DataFrame], named: str, demo: Demo, tmp_path: Path
) -> None:
    contacts = bad_contacts(demo, change, tmp_path / "contacts.csv")
    out = tmp_path / "d.parquet"
    out.write_bytes(b"the decisions of yesterday")
    deciding = ("decide", "--policy", demo.policy, "--contacts", contacts, "--now", NOW, "--out", out)
    deciding += ("--replace", "block_rows=7")
    error, _ = check_untouched(tmp_path, 3, *deciding)
    assert named in error
    assert "row 18" in error or named == "contact_id"


def test_good_contacts_pass(demo: Demo, tmp_path: Path) -> None:
    """The table above fails for its bad value alone."""
    contacts = bad_contacts(demo, lambda frame: frame, tmp_path / "contacts.csv")
    out = run("decide", "--policy", demo.policy, "--contacts", contacts, "--now", NOW, "--out", tmp_path / "d.parquet")
    assert out["contacts"] == 40


def test_numeric_nan_in_typed_contacts_is_refused(demo: Demo, tmp_path: Path) -> None:
    table = pq.read_table(demo.contacts).slice(0, 10)
    values = table["cart_value_usd"].to_pylist()
    values[3] = float("nan")
    bad = table.set_column(table.column_names.index("cart_value_usd"), "cart_value_usd", pa.array(values, pa.float64()))
    pq.write_table(bad, tmp_path / "c.parquet")
    deciding = ("decide", "--policy", demo.policy, "--contacts", tmp_path / "c.parquet", "--now", NOW)
    error, hint = check_untouched(tmp_path, 3, *deciding, "--out", tmp_path / "d.parquet")
    assert "cart_value_usd" in error
    assert "row 4" in error
    assert "NaN" in hint


def test_outcomes_before_their_decision_and_twice_are_counted(demo: Demo, tmp_path: Path) -> None:
    happened = pq.read_table(demo.outcomes)
    orders = happened.filter(pa.compute.equal(happened["event"].cast(pa.string()), "purchased")).slice(0, 3)
    early = orders.set_column(
        orders.column_names.index("at"),
        happened.schema.field("at"),
        pa.chunked_array([pa.array([1_500_000_000_000_000] * 3, pa.int64()).cast(happened.schema.field("at").type)]),
    )
    pq.write_table(pa.concat_tables([orders, orders, early]), tmp_path / "o.parquet")
    joining = ("join", "--log", demo.campaign, "--outcomes", tmp_path / "o.parquet")
    out = run(*joining, "--now", "2026-09-10T00:00:00Z", "--out", tmp_path / "j.parquet")
    assert (out["outcomes"], out["duplicates"], out["before_decision"]) == (9, 3, 3)
    assert out["metrics"]["order"]["credited"] == 3
    rewards = pq.read_table(tmp_path / "j.parquet")["reward_order"].to_pylist()
    assert sum(value for value in rewards if value is not None) <= 3


def test_side_columns_must_fit_the_log(demo: Demo, tmp_path: Path) -> None:
    ids = pq.read_table(demo.log)["decision_id"].to_pylist()
    asked = ("evaluate", "--log", demo.log, "--policy", "column:p", "--metric", "order", "--estimator", "ips")
    good = pd.DataFrame({"decision_id": ids, "p": 0.5})
    for number, (frame, named) in enumerate(
        [
            (good.drop(columns="decision_id"), "decision_id"),
            (good.head(-1), ids[-1]),
            (pd.concat([good, good.head(1)]), ids[0]),
            (good.assign(p=2.0), "p"),
            (good.assign(p=float("nan")), "p"),
            (good.rename(columns={"p": "q"}), "p"),
            *((good.assign(**{name: 0.5}), f"repeats the columns ['{name}']") for name in ("propensity", "arm")),
        ]
    ):
        side = tmp_path / f"{number}.csv"
        frame.to_csv(side, index=False)
        answer = call(*asked, "--columns", side)
        assert answer.code == 3
        assert named in answer.out["error"]


@pytest.mark.parametrize(
    ("policy", "metric", "said"),
    [
        ("column:my_chioce@action", "order", "my_choice"),
        ("column:my_choice@action", "ordre", "order"),
        ("column:my_choice", "order", "column:my_choice@action"),
        ("column:my_choice@action", "order", ""),
    ],
)
def test_errors_of_side_columns_name_the_files_that_were_given(
    demo: Demo, tmp_path: Path, policy: str, metric: str, said: str
) -> None:
    """The joined file is ours and temporary; whoever reads the error has never heard of it."""
    side = tmp_path / "mine.csv"
    ids = pq.read_table(demo.log)["decision_id"].to_pylist()
    pd.DataFrame({"decision_id": ids, "my_choice": "no such action" if not said else "hold"}).to_csv(side, index=False)
    asked = ("evaluate", "--log", demo.log, "--metric", metric, "--policy", policy, "--estimator", "ips")
    error, hint = refused(3, *asked, "--columns", side)
    assert not any(part in f"{error} {hint}" for part in (".part", "/tactful", "raw_my"))
    assert said in hint
    if "ordre" in metric or "chioce" in policy:
        assert error.startswith(f"{demo.log} with {side} has no ")
        assert hint.startswith(f"did you mean '{said}'? ")


LIMITED = """
import resource, sys
from experiments.cli.main import app
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
app(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX systems do")
@pytest.mark.parametrize("command", ["import", "decide", "train", "evaluate"])
def test_a_full_disk(command: str, place: Place, demo: Demo, root: Path) -> None:
    """No file may grow beyond 2 KiB, which is what a disk that fills up looks like to a writer."""
    place.out.write_bytes(b"what stood there before")
    arguments = {
        "import": (*place.importing(), "--replace"),
        "decide": (
            *("decide", "--policy", demo.policy, "--contacts", demo.contacts, "--now", NOW),
            *("--out", place.out, "--replace"),
        ),
        "train": ("train", "--log", demo.log, "--metric", "order", "--out", place.folder / "new"),
        "evaluate": (
            *("evaluate", "--log", demo.log, "--metric", "order", "--policy", "uniform", "--estimator", "ips"),
            *("--out", place.folder / "new"),
        ),
    }[command]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "2048", *map(str, arguments), "--json"],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (5, 7), done.stderr
    validate("error", strict_json(done.stdout))
    assert place.out.read_bytes() == b"what stood there before"
    assert not [
        path
        for path in place.folder.rglob("*")
        if path.is_file() and path not in (place.mapping, place.source, place.out)
    ]


def test_copied_log_is_the_same_log(demo: Demo, tmp_path: Path) -> None:
    shutil.copy(demo.log, tmp_path / "copy.parquet")
    asked = ("--policy", "uniform", "--metric", "order", "--estimator", "ips,snips")
    first, copied = (run("evaluate", "--log", log, *asked) for log in (demo.log, tmp_path / "copy.parquet"))
    assert first["results"] == copied["results"]
