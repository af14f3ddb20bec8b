"""One idea per file: source files stay short, and nothing heavy enters the history."""

from __future__ import annotations

from pathlib import Path

MAX_LINES = 600
MAX_BYTES = 1024 * 1024


def test_source_files_are_short(project_files: list[Path], root: Path) -> None:
    lines = {
        str(path): len((root / path).read_text(encoding="utf-8").splitlines())
        for path in project_files
        if path.suffix == ".py"
    }
    assert lines, "no source file found"
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_no_file_is_heavy(project_files: list[Path], root: Path) -> None:
    sizes = {str(path): (root / path).stat().st_size for path in project_files}
    assert {path: size for path, size in sizes.items() if size > MAX_BYTES} == {}
