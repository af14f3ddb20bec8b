"""After any kill and a second run, exit 0 means that nothing is lost, doubled, torn or left lying about."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.experiments.cli.kill_commands import RIGHT, Trial, forked, make_inputs, prepare

# Kills of each command here; many more by `python -m tests.experiments.cli.kill_commands FOLDER KILLS SEED`.
KILLS = 2
QUICK = ("import", "join", "train over", "train from", "evaluate", "plan", "promote", "rollback")
SLOW = ("train", "backtest", "audit", "monitor", "ablate", "simulate", "experiment")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prepare()
    folder = tmp_path_factory.mktemp("inputs")
    assert forked(lambda: make_inputs(folder)) == 0
    return folder


def outcome(command: str, inputs: Path, folder: Path, kills: int) -> None:
    (folder / "in").symlink_to(inputs)
    trial = Trial(command, folder)
    # The end of a command is where its outputs take their places.
    places = random.Random(command).sample(range(1, trial.steps + 1), min(kills, trial.steps))
    for number in {*places, trial.steps}:
        assert (number, trial.killed_at(number)) == (number, RIGHT)


@pytest.mark.parametrize("command", QUICK)
def test_a_killed_command_is_run_again(command: str, inputs: Path, tmp_path: Path) -> None:
    outcome(command, inputs, tmp_path, KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("command", SLOW)
def test_a_killed_command_is_run_again_at_length(command: str, inputs: Path, tmp_path: Path) -> None:
    outcome(command, inputs, tmp_path, 1)
