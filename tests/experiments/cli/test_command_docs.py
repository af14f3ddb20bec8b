"""docs/commands.md and docs/configuration.md name what is there: commands, options, printed keys, groups, defaults."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import typer.main

from engine import errors
from experiments.cli.failures import INTERRUPTED
from experiments.cli.main import app
from experiments.cli.schema import PRINTED, printed
from experiments.outputs import CommandOutput
from experiments.settings import BacktestConfig, DecideConfig, EvaluateConfig, compose_settings
from experiments.simulate.run_spec import SimulateConfig

OUTPUTS = {name: printed(name) for name in PRINTED if "-" not in name}
GROUPS = ("catalog", "guardrails", "state")
STATE_OUTPUTS = {name: printed(name) for name in PRINTED if name.startswith("state-")}
# Keys that several commands print are described once, before the first section.
SHARED = set(CommandOutput.__struct_fields__)
COMMANDS = sorted({*OUTPUTS, *GROUPS} - {"error"})


@pytest.fixture(scope="module")
def sections(root: Path) -> dict[str, str]:
    text = (root / "docs" / "commands.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_has_a_section(sections: dict[str, str]) -> None:
    assert sorted(sections) == COMMANDS
    assert sorted(typer.main.get_command(app).commands) == COMMANDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", sorted(set(OUTPUTS) - {"error"}))
def test_every_option_and_key_is_described(command: str, sections: dict[str, str]) -> None:
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    options = {option for parameter in parameters for option in parameter.opts if option.startswith("--")}
    assert {option for option in options - {"--help"} if option not in sections[command]} == set()
    # What a backtest shares with an evaluation is said there.
    said = sections[command] + (sections["evaluate"] if command == "backtest" else "")
    keys = {
        *OUTPUTS[command].__struct_fields__,
        *(printed("plan-learn").__struct_fields__ if command == "plan" else ()),
    }
    assert {key for key in keys - SHARED if f"`{key}`" not in said} == set()


def test_keys_that_commands_share_are_described_once(root: Path) -> None:
    before, _, _ = (root / "docs" / "commands.md").read_text(encoding="utf-8").partition("\n## ")
    assert {key for key in SHARED if f"`{key}`" not in before} == set()


def test_every_option_and_key_of_state_is_described(sections: dict[str, str]) -> None:
    group = typer.main.get_command(app).commands["state"].commands  # type: ignore[attr-defined]
    assert {f"state-{name}" for name in group} == set(STATE_OUTPUTS)
    for command in group.values():
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert {option for option in options - {"--help", "--json"} if option not in sections["state"]} == set()
    keys = {key for name in set(STATE_OUTPUTS) for key in STATE_OUTPUTS[name].__struct_fields__}
    assert {key for key in keys - SHARED if f"`{key}`" not in sections["state"]} == set()


def test_every_exit_code_is_described(root: Path) -> None:
    text = (root / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TactfulError)]
    # 1 is the base of the tree: an error that is none of ours.
    assert listed == {0, *(kind.exit_code for kind in kinds), INTERRUPTED}


def test_groups_and_defaults_are_those_of_the_configuration(root: Path) -> None:
    text = (root / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in ("scenario", "evaluation", "model", "learner", "exploration", "segments", "guardrails", "metrics"):
        (line,) = re.findall(rf"^\| `{name}` \| (.*?) \|", text, re.MULTILINE)
        choices = {path.stem for path in (root / "conf" / name).glob("*.yaml")}
        assert set(re.findall(r"`(\w+)`", line)) == choices, name
    composed = {
        "evaluate": msgspec.to_builtins(compose_settings("evaluate", [], EvaluateConfig)),
        "backtest": msgspec.to_builtins(compose_settings("backtest", [], BacktestConfig)),
        "decide": msgspec.to_builtins(compose_settings("decide", [], DecideConfig)),
        "simulate": msgspec.to_builtins(compose_settings("simulate", [], SimulateConfig)),
    }
    command = ""
    keys = 0
    for owner, names, default in re.findall(r"^\| ([\w, ]*) ?\| (`.*?) \| (\S+) \|", text, re.MULTILINE):
        command = owner.split(",")[0].strip() or command
        if command not in composed:
            continue
        for name in re.findall(r"`([\w.]+)`", names):
            value = composed[command]
            for part in name.split("."):
                value = value[part]
            # Shown as yaml would show them: an empty text by its quotes, a tuple as a list.
            shown = str(list(value) if isinstance(value, tuple) else value).removesuffix(".0") or '""'
            assert shown == default.strip("`"), name
            keys += 1
    assert keys >= 24
