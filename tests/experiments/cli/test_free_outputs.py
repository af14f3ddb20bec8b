"""An output that is there is never overwritten without a word: one policy for every command that writes one."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from engine.errors import ParameterError
from engine.storage.replaceable import require_free
from experiments.cli.console import free_out
from experiments.cli.main import app
from tests.experiments.commands import call, refused

LOG, CONTACTS = "missing.parquet", "people.parquet"
ASKED = {
    "import": ("--mapping", "hillstrom", "--input", LOG),
    "audit": (LOG,),
    "evaluate": ("--log", LOG, "--metric", "m", "--policy", "uniform"),
    "plan": ("--log", LOG, "--metric", "m", "--difference", "0.1"),
    "train": ("--log", LOG, "--metric", "m"),
    "backtest": ("--log", LOG, "--metric", "m"),
    "ablate": ("--log", LOG, "--metric", "m"),
    "decide": ("--policy", "p", "--contacts", CONTACTS, "--now", "2026-11-03T10:00:00Z"),
    "dispatch": ("--decisions", LOG, "--contacts", CONTACTS, "--now", "2026-11-03T10:00:00Z"),
    "join": ("--log", LOG, "--outcomes", LOG, "--now", "2026-11-03T10:00:00Z"),
    "remember": ("--log", LOG, "--metric", "m", "--known-days", "1"),
    "monitor": ("--log", LOG, "--metric", "m"),
    "simulate": (),
    "calibrate": ("all",),
    "experiment": ("experiment=cap",),
    "demo": (),
}


def outputs() -> set[str]:
    """Commands with --out, groups' commands as `group sub`."""
    found = set()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        for sub, one in {"": command, **getattr(command, "commands", {})}.items():
            options = {option for parameter in one.params for option in parameter.opts}
            if "--out" in options:
                assert "--replace" in options, f"{name} {sub} overwrites without being told"
                found.add(f"{name} {sub}".strip())
    return found


def test_every_command_with_an_output_can_be_told_to_replace_it() -> None:
    assert outputs() == {*ASKED, "guardrails diff"}


@pytest.mark.parametrize("command", ASKED)
def test_what_is_there_is_refused_before_any_work(command: str, tmp_path: Path) -> None:
    """The inputs do not exist, so that whatever comes first is not the work."""
    out, name = tmp_path / "out", {"plan": "plan.json", "calibrate": "moments.svg"}.get(command, "report.json")
    if command in ("import", "decide", "dispatch", "join", "remember", "simulate"):
        out.write_text("mine", encoding="utf-8")
    else:
        out.mkdir()
        (out / name).write_text("mine", encoding="utf-8")
    said, hint = refused(2, command, *ASKED[command], "--out", out)
    assert "must be a name that is free" in said
    assert "--replace" in hint
    kept = out if out.is_file() else out / name
    assert kept.read_text(encoding="utf-8") == "mine"


def test_empty_folders_and_new_names_are_free(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    require_free(tmp_path / "empty", replace=False, folder=True)
    require_free(tmp_path / "new", replace=False)
    (tmp_path / "empty" / "x").touch()
    with pytest.raises(ParameterError, match="free"):
        require_free(tmp_path / "empty", replace=False, folder=True)
    require_free(tmp_path / "empty", replace=True, folder=True)


FILES = ("import", "decide", "dispatch", "join", "remember", "simulate")


@pytest.mark.parametrize("command", ASKED)
def test_a_missing_folder_of_an_output_is_made(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused then is the input: not the place of the output, and not a contact key that has no place."""
    monkeypatch.delenv("TACTFUL_CONTACT_KEY")
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "none" / "yet"
    slip = {"simulate": ("first=-1",), "calibrate": ("nothing",), "experiment": ("days=0",)}.get(command, ())
    if command == "demo":
        free_out(place / "out.parquet", replace=False)
    else:
        said, _ = refused_somehow(command, *ASKED[command], *slip, "--out", place / "out.parquet")
        assert "none/yet" not in said
    assert place.is_dir()


@pytest.mark.parametrize("command", ASKED)
def test_the_wrong_kind_of_place_is_refused_before_any_work(command: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir() if command in FILES else out.write_text("mine", encoding="utf-8")
    code = 2 if command in ("train", "demo") else 5
    said, _ = refused(code, command, *ASKED[command], "--out", out, *(() if code == 2 else ("--replace",)))
    assert str(out) in said
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    said, _ = refused(5, command, *ASKED[command], "--out", tmp_path / "file" / "out.parquet")
    assert said.startswith(f"{tmp_path / 'file'} is a file")


def refused_somehow(*arguments: object) -> tuple[str, str]:
    answer = call(*arguments)
    assert answer.code in (2, 3, 4, 7), answer
    return answer.out["error"], answer.out["hint"]


OWN = {
    "import": ("--input",),
    "audit": ("--outcomes",),
    "evaluate": ("--columns",),
    "decide": ("--contacts", "--conditions", "--history", "--contact-key-file"),
    "dispatch": ("--decisions", "--contacts", "--conditions", "--done", "--contact-key-file"),
    "join": ("--log", "--outcomes"),
    "remember": ("--log",),
    "monitor": ("--log", "--outcomes", "--offline", "--conditions"),
}


@pytest.mark.parametrize(("command", "option"), [(name, one) for name, many in OWN.items() for one in many])
def test_an_input_is_not_replaced_by_the_output(
    command: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TACTFUL_CONTACT_KEY", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ")
    folder = command in ("audit", "evaluate", "monitor")
    out = tmp_path / "out"
    mine = out / "report.json" if folder else out
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine", encoding="utf-8")
    (tmp_path / "hard").hardlink_to(mine)
    arguments = list(ASKED[command])
    if option in arguments:
        arguments[arguments.index(option) + 1] = "hard"
    else:
        arguments += [option, "hard"]
    _, hint = refused(2, command, *arguments, "--out", out, "--replace")
    assert "this command reads it as hard" in hint
    assert mine.read_text(encoding="utf-8") == "mine"
