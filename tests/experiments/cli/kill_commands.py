"""Kill commands at chosen steps on the disk, run them again, and say what is there then.

Each run is a fork of one process that has imported everything. A step is an opening for writing, a sync, a rename, an
exchange, a removal or a new folder under the place of the outputs; the process dies by SIGKILL just before one.
Usage: python -m tests.experiments.cli.kill_commands FOLDER KILLS SEED, for many random kills of every command.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from engine.records.schema import RewardSpec
from engine.storage import parts
from engine.storage.versions import HISTORY, changes, read_pointer
from experiments.cli.main import app
from tests.logs import decision_row, small_meta, write_log

ROWS = 240
NOW = "2026-12-31T00:00:00+00:00"
_STEPS = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir"})


@dataclass(frozen=True)
class Command:
    """What is killed.

    Attributes:
        arguments: of the command line; `{in}` and `{out}` are the folders of the inputs and of the outputs.
        before: commands that make what stands under the outputs' names before.
    """

    arguments: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()


_TRAIN = ("train", "--metric", "r", "--out", "{out}/policy", "learner=mtr", "learner.passes=1", "--override-audit", "x")
_QUICK_PARTS = ("learner.parts.ridges=[30]", "learner.parts.worth_ridges=[300]", "learner.parts.passes=2")
_QUICK_PARTS += ("learner.parts.smooth=false", "learner.parts.past=false")
_EVALUATE = ("evaluate", "--metric", "r", "--policy", "uniform", "--estimator", "ips", "--out", "{out}/report")
_PROMOTE = ("promote", "--live", "{out}/live", "--metric", "r", "--override", "x", "--log", "{in}/b.parquet")
_PROMOTE += ("estimator=snips", "watched=[]", "guarded=[]", "learnt_rows=keep", "--policy")
COMMANDS: Mapping[str, Command] = {
    "import": Command(
        ("import", "--mapping", "{in}/map.yaml", "--input", "{in}/new.csv", "--out", "{out}/log.parquet"),
        (("import", "--mapping", "{in}/map.yaml", "--input", "{in}/old.csv", "--out", "{out}/log.parquet"),),
    ),
    "join": Command(
        (
            *("join", "--log", "{in}/plain.parquet", "--outcomes", "{in}/outcomes.jsonl", "--now", NOW),
            *("--out", "{out}/joined.parquet", "metrics=demo"),
        )
    ),
    "train": Command((*_TRAIN, "--log", "{in}/a.parquet")),
    "train over": Command((*_TRAIN, "--log", "{in}/b.parquet"), ((*_TRAIN, "--log", "{in}/a.parquet"),)),
    "train from": Command(
        (
            *("train", "--metric", "r", "--from", "{in}/one", "--out", "{out}/policy", "--log", "{in}/both.parquet"),
            *("--override-audit", "x"),
        ),
        ((*_TRAIN, "--log", "{in}/b.parquet"),),
    ),
    "backtest": Command(
        (
            *("backtest", "--log", "{in}/both.parquet", "--metric", "r", "--out", "{out}/backtest"),
            *(
                "estimators=[ips,dr]",
                "--override-audit",
                "x",
                "evaluation.folds=2",
                "--baseline",
                "uniform",
                "peers=[]",
            ),
            *_QUICK_PARTS,
        )
    ),
    "evaluate": Command((*_EVALUATE, "--log", "{in}/b.parquet"), ((*_EVALUATE, "--log", "{in}/a.parquet"),)),
    "plan": Command(
        ("plan", "--mean", "0.1", "--actions", "3", "--difference", "0.01", "--out", "{out}/plan"),
        (("plan", "--mean", "0.2", "--actions", "3", "--difference", "0.01", "--out", "{out}/plan"),),
    ),
    "audit": Command(
        ("audit", "{in}/b.parquet", "--out", "{out}/audit"), (("audit", "{in}/a.parquet", "--out", "{out}/audit"),)
    ),
    "monitor": Command(("monitor", "--log", "{in}/a.parquet", "--metric", "r", "--out", "{out}/monitor")),
    "ablate": Command(
        (
            *("ablate", "--log", "{in}/both.parquet", "--metric", "r", "--out", "{out}/ablation"),
            *("learner=mtr", "learner.passes=1"),
        )
    ),
    "promote": Command((*_PROMOTE, "{in}/two"), ((*_PROMOTE, "{in}/one"),)),
    "rollback": Command(("rollback", "--live", "{out}/live"), ((*_PROMOTE, "{in}/one"), (*_PROMOTE, "{in}/two"))),
    "simulate": Command(
        (
            "simulate",
            "scenario=newsletter",
            "scenario.catalog=small_shop",
            "contacts=60",
            "days=2",
            "--out",
            "{out}/s.parquet",
        )
    ),
    "experiment": Command(
        (
            *("experiment", "experiment=season", "scenarios=[newsletter]", "policies=[never,uniform]", "seeds=1"),
            *("contacts=60", "days=3", "--out", "{out}/season"),
        )
    ),
}
RIGHT = {"killed": True, "torn": [], "again": 0, "differs": []}
# Commands on a live folder, which add a version and overwrite nothing.
_LIVE = ("promote", "rollback")
# Verdicts that are no failures.
_FINE = {"audit": (0, 3), "monitor": (0, 10, 11, 12, 13)}


def make_inputs(folder: Path) -> int:
    """Logs of two days with a reward, one without, outcomes, a log of others with its mapping, and two policies."""
    draw = np.random.default_rng(1)
    meta = small_meta(rewards={"r": RewardSpec(low=0, high=1)})
    rows = [
        decision_row(n, meta, action=a, action_name=("none", "mens", "womens")[a], state="dispatched")
        | {"reward_r": float(draw.random() < 0.2 + 0.2 * a), "context_spend": float(draw.random()), "rule_inputs": None}
        for n, a in enumerate(draw.integers(3, size=2 * ROWS).tolist())
    ]
    write_log(folder / "a.parquet", rows[:ROWS], meta)
    write_log(folder / "b.parquet", rows[ROWS:], meta)
    write_log(folder / "both.parquet", rows, meta)
    plain = small_meta()
    write_log(folder / "plain.parquet", [{k: v for k, v in row.items() if k != "reward_r"} for row in rows], plain)
    events = (
        {
            "decision_id": row["decision_id"],
            "event": "clicked",
            "at": (row["decided_at"] + timedelta(hours=1)).isoformat(),
        }
        for row in rows[::3]
    )
    (folder / "outcomes.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    for name, amount in (("old", 1), ("new", 2)):
        lines = [f"{n},{'ab'[n % 2]},0.5,{'x' if n % 9 == 0 else amount * n % 7}" for n in range(60 * amount)]
        (folder / f"{name}.csv").write_text("\n".join(["id,arm,p,spend", *lines]) + "\n")
    shutil.copyfile(Path(__file__).with_name("kill_map.yaml"), folder / "map.yaml")
    codes = [
        run_command((*_TRAIN[:4], f"{folder}/{name}", *_TRAIN[5:], "--log", f"{folder}/{log}.parquet"))
        for name, log in (("one", "a"), ("two", "b"))
    ]
    return max(codes)


def prepare() -> None:
    """Import what commands import when they run, and run one, so that no fork has to do it for the first time."""
    for name in (
        *(
            f"judge.{name}"
            for name in ("train", "backtest", "evaluate", "planning.decisions", "audit", "ablate", "promotion")
        ),
        *("settings", "serve.monitor", "simulate.run", "season.run", "report.season"),
    ):
        import_module(f"experiments.{name}")
    for name in ("mapping.importer", "mapping.dialect", "log.join"):
        import_module(f"engine.{name}")
    for name in ("pyarrow.dataset", "pyarrow.pandas_compat", *(["numba"] if find_spec("numba") else [])):
        import_module(name)
    with TemporaryDirectory() as folder:
        run_command(tuple(one.replace("{out}", folder) for one in COMMANDS["plan"].arguments))


def run_command(arguments: tuple[str, ...]) -> int:
    """The exit code of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            app([*arguments, "--json"])
        except SystemExit as end:
            code = end.code
    if code:
        sys.stderr.write(err.getvalue())
    return int(code or 0)


def steps(place: Path, then: Callable[[int], None]) -> None:
    """Call `then` with the number of each step on the disk under a folder, just before it is taken."""
    count = 0
    under = str(place)

    def step() -> None:
        nonlocal count
        count += 1
        then(count)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str) and path.startswith(under) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                step()
        elif event in _STEPS and str(arguments[0]).startswith(under):
            step()

    sync, swap = os.fsync, parts._exchange_call

    def synced(descriptor: Any) -> None:
        step()
        sync(descriptor)

    def exchanged(one: bytes, other: bytes) -> int:
        step()
        return swap(one, other)

    os.fsync, parts._exchange_call = synced, exchanged
    sys.addaudithook(hook)


def forked(work: Callable[[], int]) -> int:
    """The exit code of work in a process of its own; negative where it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Trial:
    """One command, its inputs, and what it leaves when nobody kills it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.command = name, COMMANDS[name]
        self.inputs, self.out, self._start = folder / "in", folder / "out", folder / "start"
        self._start.mkdir()
        self.out.mkdir()
        for before in self.command.before:
            if self._run(before):
                raise RuntimeError(f"what stands before {name} cannot be made")
        shutil.copytree(self.out, self._start, dirs_exist_ok=True)
        self.old = files_of(self.out)
        self.steps = self._counted()
        self.new = files_of(self.out)

    def killed_at(self, number: int) -> dict[str, Any]:
        """What a kill just before a step leaves, and what a second run then makes of it."""
        shutil.rmtree(self.out)
        shutil.copytree(self._start, self.out)

        def die(count: int) -> None:
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def work() -> int:
            steps(self.out, die)
            return run_command(self._filled(self.command.arguments))

        code = forked(work)
        held = files_of(self.out)
        # What stood there is whole: each file of before as it was, or as it was to become; none is missing.
        torn = [
            name
            for name, data in self.old.items()
            if held.get(name) not in (data, self.new.get(name)) and not name.endswith(HISTORY)
        ]
        again = self._run(self.command.arguments)
        after = files_of(self.out)
        return {
            "killed": code == -signal.SIGKILL,
            "torn": torn,
            "again": again,
            "differs": sorted(name for name in {*after, *self.new} if after.get(name) != self.new.get(name)),
        }

    def _counted(self) -> int:
        last = [0]

        def work() -> int:
            steps(self.out, lambda number: last.__setitem__(0, number))
            code = run_command(self._filled(self.command.arguments))
            os.write(writer, str(last[0]).encode())
            return code

        reader, writer = os.pipe()
        code = forked(work)
        os.close(writer)
        if code not in _FINE.get(self.name, (0,)):
            raise RuntimeError(f"{self.name} fails where nobody kills it: {code}")
        with os.fdopen(reader) as pipe:
            return int(pipe.read())

    def _run(self, arguments: tuple[str, ...]) -> int:
        code = forked(lambda: run_command(self._filled(arguments)))
        return 0 if code in _FINE.get(arguments[0], (0,)) else code

    def _filled(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        # What is there, from before or from the run that was killed, is overwritten only where that is said.
        replace = () if arguments[0] in _LIVE else ("--replace",)
        filled = (one.replace("{in}", str(self.inputs)).replace("{out}", str(self.out)) for one in arguments)
        return (*filled, *replace)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file by name; of a live folder's history, which tells instants, the changes that took place."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
    for name in [name for name in found if name.endswith(HISTORY)]:
        live = (folder / name).parent
        done = [(line["event"], line["version"], line["sequence"]) for line in changes(live)]
        found[name] = json.dumps([done, read_pointer(live).version]).encode()
    return found


def main(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Many kills of every command."""
    draw = random.Random(seed)
    inputs = folder / "in"
    inputs.mkdir(parents=True)
    prepare()
    if forked(lambda: make_inputs(inputs)):
        raise RuntimeError("the inputs cannot be made")
    found: dict[str, Any] = {}
    for name in COMMANDS:
        here = folder / name.replace(" ", "_")
        here.mkdir()
        (here / "in").symlink_to(inputs)
        trial = Trial(name, here)
        chosen = sorted(draw.sample(range(1, trial.steps + 1), min(kills, trial.steps)))
        results = [trial.killed_at(number) for number in chosen]
        bad = [
            (n, r)
            for n, r in zip(chosen, results, strict=True)
            if r["again"] or r["torn"] or r["differs"] or not r["killed"]
        ]
        found[name] = {"steps": trial.steps, "kills": len(chosen), "bad": bad[:3], "failures": len(bad)}
        sys.stdout.write(f"{name}: {found[name]}\n")
        sys.stdout.flush()
    return found


if __name__ == "__main__":
    sys.exit(any(one["failures"] for one in main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).values()))
