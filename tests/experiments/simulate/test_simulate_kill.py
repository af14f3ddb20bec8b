"""A run that was killed with SIGKILL goes on where it stopped, and ends with the bytes of one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
