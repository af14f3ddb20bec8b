"""What people name as inputs, files, folders of files and globs, resolved into one list of files."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.errors import DataError, ParameterError

Given = Path | str | Sequence[Path | str]
_SHOWN: Final = 3


def given_paths(given: Given) -> tuple[Path, ...]:
    """What was given, as paths, not resolved."""
    return (Path(given),) if isinstance(given, Path | str) else tuple(Path(one) for one in given)


def files_of(given: Given, *, what: str, endings: Sequence[str]) -> tuple[Path, ...]:
    """Every file that is meant, once, in the order of the paths, whatever the order in which they were given.

    A name that exists is a file or a folder, whatever characters it holds. Of a folder those files count that have one
    of the endings, but not hidden ones and not those of folders below. Another name with `*`, `?` or `[` is a glob, in
    which `**` goes into folders below. A single name that does not exist stays as it is: whoever reads it says so in
    words of its own.

    Args:
        given: one name or several.
        what: the kind of input, for errors: "log".
        endings: how the names of files in a folder must end, with their dots, in lower case.

    Raises:
        ParameterError: nothing was given.
        DataError: a folder or a glob without any such file, or the same file twice.
    """
    names = given_paths(given)
    if not names:
        raise ParameterError(what, "the command", allowed="at least one file, folder or glob", got=())
    found = [file for name in names for file in _meant(name, what, tuple(endings))]
    _refuse_twice(found, what)
    return tuple(sorted(found, key=str))


def named(given: Given) -> str:
    """What was given, for sentences."""
    names = [str(path) for path in given_paths(given)]
    if len(names) <= 1:
        return "".join(names)
    if len(names) <= _SHOWN:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"


def options(option: str, given: Given) -> str:
    """The options that give the same again: `--log a --log b`."""
    return " ".join(f"{option} {shlex.quote(str(path))}" for path in given_paths(given))


def _meant(name: Path, what: str, endings: tuple[str, ...]) -> list[Path]:
    if name.is_dir():
        files = [entry for entry in name.iterdir() if _counts(entry, endings)]
        if not files:
            raise DataError(
                f"the folder {name} holds no {what} files",
                hint=f"they end in {', '.join(endings)}; name others by a glob",
            )
        return files
    if name.exists() or not glob.has_magic(str(name)):
        return [name]
    matched = [Path(one) for one in glob.glob(str(name), recursive=True)]  # noqa: PTH207 (also absolute)
    files = [path for path in matched if path.is_file()]
    if not files:
        raise DataError(f"no {what} file matches {str(name)!r}", hint="put globs in quotes; look where it begins")
    return files


def _counts(entry: Path, endings: tuple[str, ...]) -> bool:
    return not entry.name.startswith(".") and entry.is_file() and entry.name.lower().endswith(endings)


def _refuse_twice(files: Sequence[Path], what: str) -> None:
    seen: dict[tuple[int, int], Path] = {}
    for path in files:
        if not path.exists():
            continue
        stat = path.stat()
        before = seen.setdefault((stat.st_dev, stat.st_ino), path)
        if before is not path:
            twice = f"{path} twice" if before == path else f"{before} and {path}, which are one file"
            raise DataError(f"the {what} files hold {twice}", hint="give each file once: its rows would count again")
