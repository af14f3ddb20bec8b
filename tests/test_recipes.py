"""Every recipe of CONTRIBUTING.md is tried: its files go into a copy of the sources, its commands are run there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
COPIED = ("engine", "policies", "simulator", "experiments", "conf", "tactful.py", "pyproject.toml")
RECIPES = ("A mapping", "A scenario", "A policy", "An estimator", "A rule")
# Text that names a file last, and the block after it; a block without a name belongs to the file before.
BLOCK = re.compile(r"((?:(?!^```).)*?)^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What the last command of a recipe must say.
SHOWN = {
    "A mapping": "audit: pass",
    "A scenario": "uniform",
    "A policy": "half_hold",
    "An estimator": "tempered",
    "A rule": "no discount is sent by sms",
}


def run(line: str, copy: Path) -> str:
    """Run one line of a recipe in the copy of the sources."""
    words = shlex.split(line)
    start = {"tactful": ["-m", "experiments.cli"], "python": []}[words[0]]
    options = ["-q", "-p", "no:cacheprovider"] if "pytest" in words else []
    command = [sys.executable, "-W", "ignore", *start, *words[1:], *options]
    # Coverage would count every file of the copy as one more file of ours, hardly run.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def patch(path: Path, block: str) -> None:
    """Apply `+`, `-` and context lines, which must stand in the file exactly once."""
    old = "".join(f"{line[1:]}\n" for line in block.splitlines() if line[0] in " -")
    new = "".join(f"{line[1:]}\n" for line in block.splitlines() if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name} does not hold, or holds more than once:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def follow(section: str, copy: Path) -> str:
    """Do what a recipe says; what its last command printed."""
    shown, path = "", copy
    for text, language, block in BLOCK.findall(section):
        named = re.findall(r"`([\w./-]+\.\w+)`", text)
        path = copy / named[-1] if named else path
        if language == "sh":
            for line in block.splitlines():
                shown = run(line, copy)
        elif language == "diff":
            patch(path, block)
        elif "At the end of" in text:
            path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{block}", encoding="utf-8")
        else:
            assert not path.exists(), f"{path.name} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block, encoding="utf-8")
    return shown


@pytest.fixture(scope="module")
def sections(root: Path) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", (root / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, compiled files with it: without them each command would compile everything anew."""
    folder = tmp_path_factory.mktemp("sources")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name)
        else:
            shutil.copy(root / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def followed(sections: dict[str, str], copy: Path) -> dict[str, str | AssertionError]:
    """What each recipe shows, in the order of the document: an estimator is tried on the log of the mapping."""
    shown: dict[str, str | AssertionError] = {}
    for name in RECIPES:
        try:
            shown[name] = follow(sections[name], copy)
        except AssertionError as error:
            shown[name] = error
    return shown


def test_every_recipe_is_tried(sections: dict[str, str]) -> None:
    assert tuple(sections) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str, followed: dict[str, str | AssertionError]) -> None:
    shown = followed[name]
    if isinstance(shown, AssertionError):
        raise shown
    assert SHOWN[name] in shown


@pytest.mark.parametrize("name", ["A policy", "An estimator", "A rule"])
@pytest.mark.usefixtures("followed")
def test_what_recipes_add_is_formatted_and_clean(name: str, sections: dict[str, str], copy: Path) -> None:
    if shutil.which("ruff") is None and not (Path(sys.executable).parent / "ruff").exists():
        pytest.skip("ruff is not installed")
    named = re.findall(r"`((?:engine|policies)/[\w./]+\.py)`", sections[name])
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *command, *named], cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
