"""Run as a program: kill record, decide and dispatch at every durable step, run them again, and count what is there.

Each step of each world runs in a child of its own, forked after everything is imported; a child that is to die kills
itself with SIGKILL right before a commit, or right before or after a file gets its name. Usage:
python -m tests.experiments.cli.kill_stateful record|decide|dispatch FOLDER. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sqlalchemy as sa

from engine.log.join import MetricSpec, join
from engine.log.whole_file import ParquetFile
from engine.records.outcomes import read_outcomes
from engine.state.store import SqlState
from experiments.serve.dispatch import DispatchRequest, dispatch_file
from experiments.serve.state import ends_in, record_file, settle_sends, unsettled_of
from tests.experiments.serve.stateful_worlds import (
    KEY,
    NOW,
    contact_file,
    decide,
    fact_file,
    facts_of,
    limits_file,
    names,
    record,
)

CONTACTS, ROWS, CAP = 24, 8, 8
LIMITS = f"name: tight\nvolume:\n  - {{name: all_a_day, max_per_day: {CAP}}}\n"
LEAVES = NOW + timedelta(minutes=5)
METRIC = {"bought": MetricSpec(events=("purchased",), kind="any", window_s=60)}


def in_child(work: Callable[[], Any], die_at: int = 0) -> Any:
    """The JSON answer of `work`, or None where the child died at its `die_at`-th step."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = 1
        try:
            _count_steps(die_at)
            os.write(writer, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    if os.WEXITSTATUS(status):
        raise RuntimeError("a step failed; its error stands above")
    return json.loads(text)


def _count_steps(die_at: int) -> None:
    left = die_at

    def step(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    publish = ParquetFile._publish

    def published(file: ParquetFile) -> None:
        step()
        publish(file)
        step()

    if die_at:
        sa.event.listen(sa.Engine, "commit", step)
        ParquetFile._publish = published  # type: ignore[method-assign]


class World:
    """One store, one contact file and their logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 's.sqlite'}"
        self.people = folder / "people.parquet"

    def copy(self, name: str) -> World:
        target = self.folder.parent / name
        shutil.copytree(self.folder, target)
        return World(target)

    def prepare(self) -> None:
        self.folder.mkdir()
        contact_file(self.people, names(0, CONTACTS))
        limits_file(self.folder, LIMITS)
        record(self.folder, self.url, facts_of(names(0, CONTACTS)))

    def decide(self) -> dict[str, Any]:
        out = decide(
            self.folder,
            self.people,
            "log.parquet",
            state=self.url,
            limits=str(self.folder / "limits.yaml"),
            rows=ROWS,
            uniform_share=0.2,
        )
        return {"sends": sum(out.sends.values()), "before": out.decided_before}

    def a_fact_comes_in(self) -> None:
        """The first contact withdraws, and a new send of another system stands in the history of the second."""
        facts = [
            {"fact": "withdrawal", "contact_id": "c0", "at": "2026-11-03T10:59:00Z", "source": "link"},
            {
                "fact": "send",
                "contact_id": "c1",
                "decision_id": "elsewhere",
                "at": "2026-11-03T10:58:00Z",
                "channel": "sms",
                "purpose": "promotional",
            },
        ]
        record(self.folder, self.url, facts)

    def dispatch(self, out: str = "out.parquet") -> dict[str, Any]:
        request = DispatchRequest(
            self.folder / "log.parquet", None, LEAVES, self.folder / out, KEY, state=self.url, replace=False
        )
        done = dispatch_file(request)
        return {"dispatched": done.dispatched, "unsettled": list(done.unsettled_ids), "finished": done.finished}

    def open_ends(self) -> list[str]:
        return [send.decision_id for send in unsettled_of(self.url).unsettled]

    def recorded(self) -> dict[str, Any]:
        """Decision id -> what the store says was decided."""
        with sa.create_engine(self.url).connect() as connection:
            ids = connection.exec_driver_sql("SELECT decision_id FROM decided").scalars().all()
        with SqlState(self.url) as state:
            found = state.decided(ids, now_at=0) if ids else None
        return {} if found is None else {row["decision_id"]: _facts(row) for row in found.table.to_pylist()}

    def log(self) -> dict[str, Any]:
        return {row["decision_id"]: _facts(row) for row in self.rows()}

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.folder / "log.parquet", use_threads=False).to_pylist()
        return rows

    def sends(self) -> dict[str, str]:
        with sa.create_engine(self.url).connect() as connection:
            query = "SELECT decision_id, state FROM send WHERE decision_id <> 'elsewhere'"
            return {row[0]: row[1] for row in connection.exec_driver_sql(query)}

    def check_decided(self) -> list[str]:
        """What is wrong with the log beside the store."""
        said = []
        log, sends = {row["decision_id"]: row for row in self.rows()}, self.sends()
        promised = {name for name, row in log.items() if row["state"] == "decided"}
        if len(log) != CONTACTS:
            said.append(f"{len(log)} decisions")
        if promised != set(sends):
            said.append(f"log and store differ in {promised ^ set(sends)}")
        if len(promised) > CAP or not promised:
            said.append(f"{len(promised)} sends under a limit of {CAP}")
        with sa.create_engine(self.url).connect() as connection:
            used = connection.exec_driver_sql("SELECT COALESCE(SUM(used), 0) FROM quota").scalar_one()
        if used != sum(row["action"] != 0 for row in log.values()):
            said.append(f"quota says {used}")
        return said

    def check_left(self, files: list[str]) -> list[str]:
        """What is wrong with the outcomes beside the store and the log."""
        said = []
        events = [row for name in files for row in read_outcomes(self.folder / name)[0].to_pylist()]
        named = Counter(row["decision_id"] for row in events)
        if any(times > 1 for times in named.values()):
            said.append("an outcome is there twice")
        became = {row["decision_id"]: row["event"] for row in events}
        ends = {"dispatched": "dispatched", "failed": "failed", "suppressed": "released"}
        sends = self.sends()
        if {name: ends[event] for name, event in became.items()} != sends:
            said.append(f"outcomes and store differ: {Counter(became.values())} {Counter(sends.values())}")
        import pyarrow as pa

        together = pa.concat_tables([read_outcomes(self.folder / name)[0] for name in files])
        report = join(self.folder / "log.parquet", together, METRIC, NOW + timedelta(1), self.folder / "j.parquet")
        if report.illegal_states or report.without_decision:
            said.append(f"join: {report}")
        return said


def _facts(row: dict[str, Any]) -> list[Any]:
    return [row["action"], row["propensity"], row["eligible"].hex(), row["state"], row["rule_inputs"].decode()]


def decide_trials(base: World, folder: Path) -> dict[str, Any]:
    """Killed at every step, one fact comes in, run again: what was promised is read, the rest is decided once."""
    wrong: list[str] = []
    kept = trials = 0
    while True:
        trials += 1
        world = base.copy(f"decide{trials}")
        if in_child(world.decide, die_at=trials) is not None:
            break
        before = in_child(world.recorded)
        in_child(world.a_fact_comes_in)
        if (world.folder / "log.parquet").exists():
            (world.folder / "log.parquet").rename(world.folder / "first.parquet")
        in_child(world.decide)
        log = in_child(world.log)
        wrong += [f"{trials}: {name} was decided anew" for name, row in before.items() if log[name] != row]
        wrong += [f"{trials}: {what}" for what in in_child(world.check_decided)]
        kept += len(before)
        shutil.rmtree(world.folder)
    return {"trials": trials - 1, "kept": kept, "wrong": wrong}


def dispatch_trials(base: World, folder: Path) -> dict[str, Any]:
    """Killed at every step and run again: exit 0 only where nothing is open, and every send has one outcome."""
    wrong: list[str] = []
    trials = asked = finished = 0
    in_child(base.decide)
    while True:
        trials += 1
        world = base.copy(f"dispatch{trials}")
        if in_child(world.dispatch, die_at=trials) is not None:
            break
        again = in_child(world.dispatch)
        files = ["out.parquet"]
        open_ends = again["unsettled"]
        taken = {name for name, state in in_child(world.sends).items() if state == "dispatching"}
        if set(open_ends) != taken:
            wrong.append(f"{trials}: {len(open_ends)} are said to be open, {len(taken)} are")
        finished += again["finished"]
        if open_ends:
            asked += 1
            if set(in_child(world.open_ends)) != taken:
                wrong.append(f"{trials}: the list of open sends is another one")
            ends = world.folder / "ends.csv"
            lines = [f"{name},{'dispatched' if at % 2 else 'failed'}" for at, name in enumerate(sorted(taken))]
            ends.write_text("decision_id,state\n" + "\n".join(lines) + "\n", encoding="utf-8")
            settle = lambda: settle_sends(world.url, ends_in(ends), LEAVES + timedelta(hours=1)).unsettled  # noqa: B023, E731
            if in_child(settle) != 0 or in_child(settle) != 0:
                wrong.append(f"{trials}: settled, but open")
            last = in_child(lambda: world.dispatch("more.parquet"))  # noqa: B023
            files.append("more.parquet")
            if last["unsettled"] or last["dispatched"]:
                wrong.append(f"{trials}: after the settlement {last}")
        wrong += [f"{trials}: {what}" for what in in_child(lambda: world.check_left(files))]  # noqa: B023
        shutil.rmtree(world.folder)
    return {"trials": trials - 1, "asked": asked, "finished": finished, "wrong": wrong}


def record_trials(base: World, folder: Path) -> dict[str, Any]:
    """A file of facts in several blocks: after the rerun every fact is there once."""
    import experiments.serve.state

    experiments.serve.state.BLOCK_ROWS = 16  # type: ignore[misc]
    facts = fact_file(folder / "more.jsonl", facts_of(names(100, 130)))
    wrong: list[str] = []
    trials = 0
    while True:
        trials += 1
        world = base.copy(f"record{trials}")
        work = lambda: record_file(world.url, facts, KEY).new  # noqa: B023, E731
        if in_child(work, die_at=trials) is not None:
            break
        in_child(work)
        again = in_child(work)
        with sa.create_engine(world.url).connect() as connection:
            counts = [
                connection.exec_driver_sql(f"SELECT COUNT(*) FROM {name}").scalar_one()
                for name in ("contact", "consent")
            ]
        if again or counts != [CONTACTS + 30, 2 * (CONTACTS + 30)]:
            wrong.append(f"{trials}: {again} new, {counts} there")
        shutil.rmtree(world.folder)
    return {"trials": trials - 1, "wrong": wrong}


def main() -> None:
    kind, folder = sys.argv[1:]
    base = World(Path(folder) / "base")
    in_child(base.prepare)
    trials = {"record": record_trials, "decide": decide_trials, "dispatch": dispatch_trials}[kind]
    sys.stdout.write(json.dumps(trials(base, Path(folder))))


if __name__ == "__main__":
    main()
