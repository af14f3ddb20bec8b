"""The start-up check, with real decoys on a real `sys.path`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import shadows
from engine.errors import ConfigError
from experiments.cli import launch

RUN = "import sys; sys.path[:0] = {path!r}; sys.argv = ['tactful', *{args!r}]; {code}"


def python(code: str, path: list[Path], cwd: Path, args: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter with `path` first on `sys.path`."""
    code = RUN.format(path=[str(folder) for folder in path], args=args, code=code)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def decoy(folder: Path, name: str) -> Path:
    """Somebody else's package of our name; returns the folder to put on `sys.path`."""
    package = folder / "elsewhere" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise RuntimeError("the decoy was imported")\n', encoding="utf-8")
    return package.parent


def test_our_own_names_pass() -> None:
    assert shadows.find_shadows() == ()
    shadows.check_names()


@pytest.mark.parametrize("name", ["engine", "policies", "simulator", "conf"])
def test_command_names_both_files_and_stops(name: str, root: Path, tmp_path: Path) -> None:
    path = [decoy(tmp_path, name), root]
    run = python("from experiments.cli.launch import main; sys.exit(main())", path, tmp_path, ("--version",))
    assert run.returncode == ConfigError.exit_code == launch.CONFIG_EXIT_CODE
    assert f"package `{name}` is shadowed" in run.stderr
    assert str(path[0] / name / "__init__.py") in run.stderr
    assert str(root / name / "__init__.py") in run.stderr
    assert "hint: " in run.stderr
    assert "Traceback" not in run.stderr


def test_command_answers_in_json_when_asked(root: Path, tmp_path: Path) -> None:
    path = [decoy(tmp_path, "engine"), root]
    run = python("from experiments.cli.launch import main; sys.exit(main())", path, tmp_path, ("backtest", "--json"))
    answer = json.loads(run.stdout)
    assert set(answer) == {"error", "hint"}
    assert "package `engine` is shadowed" in answer["error"]


def test_check_raises_a_config_error_with_a_hint(root: Path, tmp_path: Path) -> None:
    code = (
        "from engine.shadows import check_names\n"
        "from engine.errors import ConfigError\n"
        "try:\n    check_names()\nexcept ConfigError as error:\n    print(error)"
    )
    code = f"exec({code!r})"
    run = python(code, [decoy(tmp_path, "conf"), root], tmp_path)
    assert run.returncode == 0, run.stderr
    assert "package `conf` is shadowed" in run.stdout
    assert shadows.HINT in run.stdout


def test_check_imports_none_of_the_packages(root: Path, tmp_path: Path) -> None:
    code = "from engine.shadows import check_names; check_names(); print(sorted(sys.modules))"
    run = python(code, [root], tmp_path)
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.replace("'", "").strip("[]\n").split(", "))
    assert "engine.shadows" in loaded
    assert loaded.isdisjoint({"policies", "simulator", "experiments", "conf", "numpy", "engine.errors"})


def test_folder_without_init_does_not_shadow(root: Path, tmp_path: Path) -> None:
    """Python prefers a real package anywhere on the path to a bare folder before it."""
    (tmp_path / "conf").mkdir()
    code = "from engine.shadows import find_shadows; print(find_shadows())"
    assert python(code, [tmp_path, root], tmp_path).stdout == "()\n"


@pytest.mark.parametrize("kind", ["missing", "bare folder"])
def test_home_without_our_package(kind: str, root: Path, tmp_path: Path) -> None:
    """An installation that lost a package: nothing there, or only a folder."""
    name = "a_name_that_nobody_has"
    if kind == "bare folder":
        (tmp_path / name).mkdir()
    code = f"from engine import shadows; print(*shadows.find_shadows(({name!r},), shadows.HOME))"
    run = python(code, [root, tmp_path], tmp_path)
    assert run.returncode == 0, run.stderr
    expected = "is missing" if kind == "missing" else f"is shadowed: {tmp_path / name}"
    assert expected in run.stdout


def test_module_without_a_spec_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simulator", type(sys)("simulator"))
    with pytest.raises(ConfigError, match="`simulator` is missing"):
        shadows.check_names()
