"""A kill test that counts: after any kill and rerun exit 0 means that nothing is unsettled, lost or doubled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def trials(root: Path, kind: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.experiments.cli.kill_stateful", kind, str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_record_is_whole_after_any_kill(root: Path, tmp_path: Path) -> None:
    found = trials(root, "record", tmp_path)
    assert found["wrong"] == []
    assert found["trials"] > 5


@pytest.mark.slow
def test_a_day_that_was_decided_in_part_is_read_after_any_kill(root: Path, tmp_path: Path) -> None:
    """Under limits, with a fact that came in between: promised sends keep action, propensity and eligible set."""
    found = trials(root, "decide", tmp_path)
    assert found["wrong"] == []
    assert found["trials"] > 8
    assert found["kept"] > 50


@pytest.mark.slow
def test_every_send_leaves_once_and_has_one_outcome_after_any_kill(root: Path, tmp_path: Path) -> None:
    found = trials(root, "dispatch", tmp_path)
    assert found["wrong"] == []
    assert found["asked"] > 5
    assert found["finished"] > 0
