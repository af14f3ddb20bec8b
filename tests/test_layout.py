"""What lies where, and what may not stand in shipped code."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

PACKAGES = ("engine", "policies", "simulator", "experiments", "conf")
FOLDERS = {*PACKAGES, "tests", "docs", "lock", ".ci"}
FILES = {
    *("pyproject.toml", "README.md", "Makefile", "CHANGELOG.md", "LICENSE", ".gitignore"),
    *("tactful.py", "CONTRIBUTING.md", "CITATION.cff"),
}
MAX_LOOSE = 14  # python files at the root of a room, without its `__init__`
# Rooms that hold more. The list may only get shorter.
CROWDED = {
    "engine/guardrails/rules",  # one rule a file: this one stays
    "experiments/study",  # one study a file: this one stays
    "experiments/report",  # one page or picture a file: this one stays
}
# Spelled in halves, or this file would be its own first finding.
MARKS = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "NotImplemented" + "Error", "pragma: " + "no cover")
MARK = re.compile("|".join(rf"\b{re.escape(mark)}\b" for mark in MARKS))
# A path that only one machine has.
FOREIGN = re.compile(r"(?<![\w.])/(?:root|home|Users|work|opt/pypi|tmp/w)/")
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".json", ".jinja", ".html", ".sql", ""}


@pytest.fixture(scope="module")
def shipped(project_files: list[Path], root: Path) -> dict[Path, ast.Module]:
    sources = [path for path in project_files if path.parts[0] in PACKAGES and path.suffix == ".py"]
    return {path: ast.parse((root / path).read_text(encoding="utf-8")) for path in sources}


@pytest.fixture(scope="module")
def texts(project_files: list[Path], root: Path) -> dict[Path, str]:
    return {path: (root / path).read_text(encoding="utf-8") for path in project_files if path.suffix in TEXT}


def lines_with(pattern: re.Pattern[str], texts: dict[Path, str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_top_level_is_fixed(project_files: list[Path]) -> None:
    folders = {path.parts[0] for path in project_files if len(path.parts) > 1}
    files = {path.name for path in project_files if len(path.parts) == 1}
    assert folders <= FOLDERS
    assert set(PACKAGES) <= folders
    assert files == FILES


def test_tests_are_no_package(project_files: list[Path]) -> None:
    """`tests/engine/__init__.py` would make pytest import the test folder as `engine`."""
    assert [path for path in project_files if path.parts[0] == "tests" and path.name == "__init__.py"] == []


def test_test_file_names_are_unique(project_files: list[Path]) -> None:
    counts = Counter(path.name for path in project_files if path.parts[0] == "tests" and path.name.startswith("test_"))
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_package_is_a_typed_package(project_files: list[Path], shipped: dict[Path, ast.Module]) -> None:
    """A folder without `__init__.py` is a namespace package: any other folder of that name would mix with it."""
    missing = {path.parent / "__init__.py" for path in shipped} - set(project_files)
    missing |= {Path(package) / "py.typed" for package in PACKAGES} - set(project_files)
    assert missing == set()


def test_no_room_is_crowded(shipped: dict[Path, ast.Module]) -> None:
    counts = Counter(path.parent.as_posix() for path in shipped if path.name != "__init__.py")
    assert {room for room, count in counts.items() if count > MAX_LOOSE} == CROWDED


def test_every_package_says_what_it_is_for(shipped: dict[Path, ast.Module]) -> None:
    """The docstring of a folder begins with a sentence of at least four words."""
    said = {path: ast.get_docstring(tree) or "" for path, tree in shipped.items() if path.name == "__init__.py"}
    first = {path: text.partition("\n\n")[0] for path, text in said.items()}
    assert {
        str(path): text
        for path, text in first.items()
        if not (text[:1].isupper() and text.endswith((".", "?")) and len(text.split()) >= 4)
    } == {}


def test_only_the_command_line_prints(shipped: dict[Path, ast.Module]) -> None:
    printing = {
        f"{path}:{node.lineno}"
        for path, tree in shipped.items()
        if path.parts[:2] != ("experiments", "cli")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert printing == set()


def test_no_assert_in_shipped_code(shipped: dict[Path, ast.Module]) -> None:
    """`python -O` drops asserts, and with them every check that they stood for."""
    asserts = {
        f"{path}:{node.lineno}"
        for path, tree in shipped.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    }
    assert asserts == set()


def test_no_marks_of_unfinished_work(texts: dict[Path, str]) -> None:
    assert lines_with(MARK, texts) == []


def test_no_path_of_one_machine(texts: dict[Path, str]) -> None:
    assert lines_with(FOREIGN, {path: text for path, text in texts.items() if path.name != "test_layout.py"}) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [("# " + MARKS[0] + ": later", True), ("raise " + MARKS[4], True), ("METHODS = 1", False), ("hackney", False)],
)
def test_marks_are_whole_words(line: str, found: bool) -> None:
    assert bool(MARK.search(line)) is found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open('/home/me/x')", True),
        ("executable_path=/usr/bin/chromium", False),
        ("see docs/work/x.md", False),
        ("../home/x", False),
    ],
)
def test_foreign_paths_are_absolute(line: str, found: bool) -> None:
    assert bool(FOREIGN.search(line)) is found
