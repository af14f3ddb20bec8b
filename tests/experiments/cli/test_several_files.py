"""Several files as one input: every command takes repeated options, folders and globs together, and each file once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from engine.log.parquet import LogReader
from tests.experiments.commands import call, refused, run
from tests.experiments.conftest import Demo

NOW = "2026-12-31T00:00:00+00:00"


@dataclass(frozen=True)
class Halves:
    """The demonstration's files, each cut in two."""

    folder: Path

    def of(self, name: str) -> tuple[Path, Path]:
        return self.folder / name / "a.parquet", self.folder / name / "b.parquet"


@pytest.fixture(scope="module")
def halves(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Halves:
    found = Halves(tmp_path_factory.mktemp("halves"))
    for name, whole in (
        *(("log", demo.log), ("campaign", demo.campaign), ("outcomes", demo.outcomes)),
        *(("contacts", demo.contacts), ("decisions", demo.folder / "decisions.parquet")),
    ):
        (found.folder / name).mkdir()
        table = pq.read_table(whole)
        half = table.num_rows // 2
        for path, part in zip(found.of(name), (table.slice(0, half), table.slice(half)), strict=True):
            pq.write_table(part, path)
    return found


def rows(path: Path) -> pa.Table:
    return pa.Table.from_batches(list(LogReader(path).batches())).sort_by("decision_id")


def test_join_takes_all_logs_and_all_outcomes(demo: Demo, halves: Halves, tmp_path: Path) -> None:
    """In any order of the options, by folder or by glob, what one file of each gives."""
    whole, logs, outcomes = tmp_path / "whole.parquet", halves.of("campaign"), halves.of("outcomes")
    asked = ("join", "--now", NOW, "metrics=layers")
    one = run(*asked, "--log", demo.campaign, "--outcomes", demo.outcomes, "--out", whole)
    assert one["metrics"]["clicked"]["credited"] > 0
    for number, given in enumerate(
        (
            ("--log", logs[0], "--log", logs[1], "--outcomes", outcomes[0], "--outcomes", outcomes[1]),
            ("--log", logs[1], "--log", logs[0], "--outcomes", outcomes[1], "--outcomes", outcomes[0]),
            ("--log", logs[0].parent, "--outcomes", outcomes[0].parent / "*.parquet"),
        )
    ):
        out = tmp_path / f"{number}.parquet"
        found = run(*asked, *given, "--out", out)
        assert {**found, "log": ""} == {**one, "log": ""}
        assert rows(out).equals(rows(whole))


def test_an_outcome_of_two_exports_counts_once(demo: Demo, halves: Halves, tmp_path: Path) -> None:
    copy = tmp_path / "copy.csv"
    table = pq.read_table(halves.of("outcomes")[0])
    event = table.column("event").cast(pa.string())
    at = pa.array([stamp.isoformat() for stamp in table.column("at").to_pylist()])
    table = table.set_column(1, "event", event).set_column(2, "at", at)
    pyarrow.csv.write_csv(table, copy)
    asked = ("join", "--now", NOW, "metrics=layers", "--log", demo.campaign, "--outcomes", halves.of("outcomes")[0])
    one = run(*asked, "--out", tmp_path / "one.parquet")
    both = run(*asked, "--outcomes", copy, "--out", tmp_path / "both.parquet")
    assert both["metrics"] == one["metrics"]
    assert both["duplicates"] == one["duplicates"] + one["outcomes"]
    assert (tmp_path / "both.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--metric", "margin", "--out", "OUT"),
        ("backtest", "--metric", "margin", "--out", "OUT"),
        ("ablate", "--metric", "margin", "--out", "OUT"),
        ("evaluate", "--metric", "margin", "--policy", "uniform"),
        ("monitor", "--metric", "margin"),
        ("promote", "--policy", "POLICY", "--live", "OUT", "--metric", "margin"),
        ("plan", "--metric", "margin", "--policy", "uniform", "--difference", "0.1"),
        ("explain", "--decision", "x"),
        ("join", "--outcomes", "OUTCOMES", "--now", NOW, "--out", "OUT"),
        ("remember", "--metric", "clicked", "--known-days", "3", "--out", "OUT"),
        ("guardrails", "replay", "--pack", "default"),
    ],
    ids=lambda command: command[0],
)
def test_no_command_counts_a_log_twice(command: tuple[str, ...], demo: Demo, halves: Halves, tmp_path: Path) -> None:
    """The same file twice, and a file beside a longer one that holds its decisions."""
    named = {"OUT": tmp_path / "out", "POLICY": demo.policy, "OUTCOMES": demo.outcomes}
    asked = [named.get(word, word) for word in command]
    error, _ = refused(3, *asked, "--log", demo.log, "--log", demo.log)
    assert f"{demo.log} twice" in error
    error, hint = refused(3, *asked, "--log", demo.log, "--log", halves.of("log")[0])
    assert str(demo.log) in error
    assert str(halves.of("log")[0]) in error
    assert "each decision once" in hint
    assert not (tmp_path / "out").exists()


def test_audit_takes_several_files(demo: Demo, halves: Halves) -> None:
    """Logs, then overrides; a decision in two of them is refused with the files named."""
    one = call("audit", demo.log, "--outcomes", demo.outcomes).out
    outcomes = halves.of("outcomes")
    given = ("audit", *halves.of("log"), "audit.top_levels=20", "--outcomes", outcomes[0], "--outcomes", outcomes[1])
    both = call(*given).out
    verdicts = [{f["check"]: (f["verdict"], f["value"]) for f in out["findings"]} for out in (one, both)]
    assert verdicts[0] == verdicts[1]
    assert both["rows"] == one["rows"]
    assert str(halves.of("log")[0]) in refused(3, "audit", demo.log, halves.of("log")[0])[0]


def test_training_and_judging_on_two_halves_is_that_on_the_whole(demo: Demo, halves: Halves, tmp_path: Path) -> None:
    quick = ("learner=mtr", "learner.passes=1", "--override-audit", "halves")
    asked = ("train", "--metric", "margin", *quick)
    run(*asked, "--log", demo.log, "--out", tmp_path / "whole")
    run(*asked, "--log", halves.folder / "log", "--out", tmp_path / "halves")
    for name in ("model.vw", "training_rows.npy"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "halves" / name).read_bytes()
    judged = ("evaluate", "--metric", "margin", "--policy", "uniform", "--estimator", "ips,snips")
    one = run(*judged, "--log", demo.log)
    both = run(*judged, "--log", halves.of("log")[1], "--log", halves.of("log")[0])
    assert one["results"] == both["results"]


def test_contacts_and_decisions_of_several_files(demo: Demo, halves: Halves, tmp_path: Path) -> None:
    """Decide for two contact files, dispatch two decision logs, leave out what two outcome files say is over."""
    asked = ("decide", "--policy", demo.policy, "--now", "2026-09-15T14:00:00Z", "seed=1")
    run(*asked, "--contacts", demo.contacts, "--out", tmp_path / "whole.parquet")
    contacts = halves.of("contacts")
    run(*asked, "--contacts", contacts[1], "--contacts", contacts[0], "--out", tmp_path / "halves.parquet")
    assert rows(tmp_path / "whole.parquet").equals(rows(tmp_path / "halves.parquet"))
    refused(3, *asked, "--contacts", contacts[0], "--contacts", demo.contacts, "--out", tmp_path / "no.parquet")
    assert not (tmp_path / "no.parquet").exists()

    logs = tmp_path / "decisions"
    logs.mkdir()
    for path in contacts:
        run(*asked, "--contacts", path, "--out", logs / path.name)
    send = ("dispatch", "--contacts", demo.contacts, "--now", "2030-01-01T15:00:00Z")
    one = run(*send, "--decisions", tmp_path / "whole.parquet", "--out", tmp_path / "one.parquet")
    both = run(*send, "--decisions", logs, "--out", tmp_path / "both.parquet")
    assert {**both, "outcomes": ""} == {**one, "outcomes": ""}
    done = pq.read_table(tmp_path / "one.parquet")
    assert done.num_rows > 1
    parts = [tmp_path / "done" / name for name in ("a.parquet", "b.parquet")]
    parts[0].parent.mkdir()
    for path, part in zip(parts, (done.slice(0, 1), done.slice(1)), strict=True):
        pq.write_table(part, path)
    again = (*send, "--decisions", tmp_path / "whole.parquet", "--out", tmp_path / "again.parquet")
    for given in (("--done", parts[0].parent), ("--done", parts[0], "--done", parts[1])):
        left = run(*again, *given, "--replace")
        assert (left["done"], left["dispatched"], left["suppressed"]) == (done.num_rows, 0, 0)


def test_facts_of_several_files(tmp_path: Path) -> None:
    line = '{{"fact": "withdrawal", "contact_id": "{0}", "channel": "email", "at": "2026-01-01T00:00:00Z"}}\n'
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(line.format(name))
    found = run(
        "state", "record", "--state", f"sqlite:///{tmp_path / 's.db'}", "--facts", tmp_path / "*.jsonl", "--create"
    )
    assert (found["rows"], found["new"]) == (2, 2)


def test_logs_of_two_catalogs_are_not_misread(demo: Demo, tmp_path: Path) -> None:
    """Put together under one footer they are refused by every command, and the audit names the check."""
    table = pq.read_table(demo.log)
    meta = LogReader(demo.log).meta
    own = meta.catalog
    place = table.schema.get_field_index("catalog_version")
    later = pa.array(["another"] * 100).dictionary_encode()
    mixed = pa.concat_tables(
        [table.slice(100), table.slice(0, 100).set_column(place, table.schema.field(place), later)]
    )
    path = tmp_path / "mixed.parquet"
    pq.write_table(mixed, path)
    found = call("audit", path)
    assert (found.code, [one["check"] for one in found.out["findings"]]) == (3, ["actions"])
    assert own.version in found.out["findings"][0]["what"]
    for asked in (
        ("train", "--metric", "margin", "--out", tmp_path / "out", "--override-audit", "on purpose"),
        ("evaluate", "--metric", "margin", "--policy", "uniform"),
        ("join", "--outcomes", demo.outcomes, "--now", NOW, "--out", tmp_path / "out", "metrics=demo"),
        ("monitor", "--metric", "margin"),
        ("guardrails", "replay", "--pack", "default"),
    ):
        error, _ = refused(3, *asked, "--log", path)
        assert "catalog another" in error or "has the metrics" in error
    refused(3, "dispatch", "--decisions", path, "--contacts", demo.contacts, "--now", NOW, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
