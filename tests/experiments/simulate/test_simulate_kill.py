"""A run that was killed with SIGKILL goes on where it stopped, and ends with the bytes of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "trials"),
    [
        (1, 3),
        (2, 3),
        pytest.param(1, 8, marks=pytest.mark.study),
    ],
)
def test_a_killed_run_goes_on(workers: int, trials: int, root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.experiments.simulate.kill_simulations", str(tmp_path), str(workers), str(trials)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [trial for trial in found if trial["wrong"] or not trial["ended"]] == []
    # Every point was met by a run that was still going, early and late.
    days = [trial["days"] for trial in found]
    assert len(days) == trials
    assert min(days) >= 0, found
    assert min(days) <= 1
    assert max(days) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "whole_group", "code", "said"),
    [
        pytest.param(signal.SIGINT, True, 130, "error: interrupted\n", id="Ctrl-C"),
        pytest.param(signal.SIGKILL, False, -signal.SIGKILL, None, id="killed"),
    ],
)
def test_no_worker_outlives_a_run_that_ends_early(
    number: int, whole_group: bool, code: int, said: str | None, root: Path, tmp_path: Path
) -> None:
    """Ctrl-C reaches the workers too, a kill does not; either way nothing of the group of processes is left."""
    command = [sys.executable, "-W", "ignore", "-m", "experiments.cli", "simulate", "--out", tmp_path / "run.parquet"]
    command += ["policy=uniform", "contacts=400", "days=300", "block_rows=200", "workers=2"]
    environment = {**os.environ, "PYTHONPATH": str(root), "TACTFUL_CONTACT_KEY": "blue heron 04, stone 17"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("run.parts/day-*.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None
        (os.killpg if whole_group else os.kill)(process.pid, number)
        # The workers hold standard error too: it ends with the last of them.
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert said is None or err.decode() == said
    deadline = time.monotonic() + 20
    while _is_there(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_there(process.pid)


def _is_there(group: int) -> bool:
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
