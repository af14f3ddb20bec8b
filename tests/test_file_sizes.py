"""One idea per file: source files are neither long nor shells, and nothing heavy enters the history."""

from __future__ import annotations

from pathlib import Path

import pytest

MAX_LINES = 600
MIN_LINES = 40
MAX_BYTES = 1024 * 1024
PACKAGES = ("engine", "policies", "simulator", "experiments")
ONE_RULE = "a rule has its file: a pack finds it by the file's name"
# Files that stay short, each with its reason; what grows to `MIN_LINES` lines or goes away leaves this list.
SHORT = {
    "engine/guardrails/rules/profiling.py": ONE_RULE,
    "engine/guardrails/rules/suppression.py": ONE_RULE,
    "engine/numeric/matmul.py": "the one product of matrices whose result does not depend on the machine",
    "engine/numeric/money.py": "the one place where amounts are compared as people write them",
    "engine/types.py": "the array types and dimension letters of every docstring; imports nothing of ours",
    "experiments/shipped_data/holiday_data.py": "a script that makes one table, as its peers do",
    "simulator/calibration/delays.py": "a group of the calibration, as its peers are",
}


@pytest.fixture(scope="module")
def lines(project_files: list[Path], root: Path) -> dict[str, int]:
    sources = [path for path in project_files if path.suffix == ".py"]
    return {path.as_posix(): len((root / path).read_text(encoding="utf-8").splitlines()) for path in sources}


def test_source_files_are_short(lines: dict[str, int]) -> None:
    assert lines, "no source file found"
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_no_source_file_is_a_shell(lines: dict[str, int]) -> None:
    """What has less than 40 lines belongs to the file of the idea that it serves, unless there is a reason."""
    short = {
        path
        for path, count in lines.items()
        if count < MIN_LINES and path.split("/")[0] in PACKAGES and not path.endswith(("__init__.py", "__main__.py"))
    }
    assert short == SHORT.keys(), "new shells, or names in the list that are short no longer"
    assert all(len(reason.split()) >= 4 for reason in SHORT.values())


def test_no_file_is_heavy(project_files: list[Path], root: Path) -> None:
    sizes = {str(path): (root / path).stat().st_size for path in project_files}
    assert {path: size for path, size in sizes.items() if size > MAX_BYTES} == {}
