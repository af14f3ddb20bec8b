"""Several dispatches of the same decisions at once: one works, the others say so, and nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.errors import StorageError
from engine.records.outcomes import read_outcomes
from engine.state.store import SqlState
from engine.storage.parts import alone_with
from tests.experiments.commands import refused, run
from tests.experiments.serve.stateful_worlds import KEY, NOW, contact_file, decide, facts_of, names, record

PEOPLE = names(0, 150)


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, str]:
    """A decision log, and the store that holds its sends."""
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    record(tmp_path, url, facts_of(PEOPLE))
    decide(tmp_path, contact_file(tmp_path / "contacts.parquet", PEOPLE), "decisions.parquet", state=url)
    return tmp_path / "decisions.parquet", url


def asked(world: tuple[Path, str], out: Path) -> list[str]:
    log, url = world
    return ["dispatch", "--decisions", str(log), "--state", url, "--now", NOW.isoformat(), "--out", str(out)]


def at_once(root: Path, commands: list[list[str]]) -> list[tuple[int, dict[str, Any]]]:
    environment = {**os.environ, "PYTHONPATH": str(root), "TACTFUL_CONTACT_KEY": KEY}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.cli", *one, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for one in commands
    ]
    ended = [(process, process.communicate()[0]) for process in started]
    return [(process.returncode, json.loads(said)) for process, said in ended]


def sends_of(log: Path) -> list[str]:
    return sorted(row["decision_id"] for row in pq.read_table(log).to_pylist() if row["action"] != 0)


@pytest.mark.parametrize("outs", ["one file", "a file each"])
def test_each_send_leaves_once_and_is_written_once(
    root: Path, tmp_path: Path, world: tuple[Path, str], outs: str
) -> None:
    files = [tmp_path / f"out{0 if outs == 'one file' else n}.parquet" for n in range(3)]
    answers = at_once(root, [asked(world, out) for out in files])
    assert {code for code, _ in answers} <= {0, 5}, answers
    worked = [said for code, said in answers if code == 0]
    assert sum(said["dispatched"] for said in worked if not said["finished"]) == len(sends_of(world[0])) > 40
    for code, said in answers:
        if code:
            assert said["error"].startswith(f"another dispatch is running on {world[0]}, so this one did nothing")
    written = [row["decision_id"] for out in {*files} if out.exists() for row in read_outcomes(out)[0].to_pylist()]
    assert sorted(written) == sends_of(world[0])
    with SqlState(world[1]) as store:
        assert set(store.states(written).values()) == {"dispatched"}
        assert Counter(written).most_common(1)[0][1] == 1


def test_the_second_says_what_is_the_matter(tmp_path: Path, world: tuple[Path, str]) -> None:
    with alone_with([world[0]], "dispatch"):
        message, hint = refused(5, *asked(world, tmp_path / "out.parquet"))
    assert str(world[0]) in message
    assert "run this again" in hint
    assert not (tmp_path / "out.parquet").exists()
    assert run(*asked(world, tmp_path / "out.parquet"))["dispatched"] == len(sends_of(world[0]))


def test_what_says_what_left_is_kept_and_the_hint_helps(tmp_path: Path, world: tuple[Path, str]) -> None:
    """Another instant is another run; `--replace` would lose what left, so nothing tells to say it."""
    out = tmp_path / "out.parquet"
    run(*asked(world, out))
    again = [*asked(world, out)[:6], "2026-11-03T11:30:00+00:00", "--out", str(out)]
    for more in ((), ("--replace",)):
        message, hint = refused(2, *again, *more)
        assert str(out) in message
        assert "--replace" not in hint
        assert hint.endswith("name another file; the store knows what left")


def test_a_lock_ends_with_its_holder_and_asks_for_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with alone_with([tmp_path / "a", tmp_path / "none"], "work"):
        with pytest.raises(StorageError, match="another work is running"), alone_with([tmp_path / "a"], "work"):
            raise AssertionError("two at once")
        with alone_with([tmp_path / "none"], "work"):
            pass
    with alone_with([tmp_path / "a"], "work"):
        pass
