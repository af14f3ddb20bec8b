"""What a command must never write over, whatever it is told: devices, pipes, links, stores and its own inputs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from engine.errors import ParameterError, StorageError
from engine.storage.given import Given, given_paths

_SQLITE: Final = b"SQLite format 3\x00"


def require_replaceable(path: Path, *, inputs: Sequence[Given | None] = (), links: bool = False) -> None:
    """Refuse an output that `--replace` must not destroy. A name that is free, a plain file and a folder may be one.

    Args:
        path: where the output will stand.
        inputs: what the same command reads: files, folders and globs; None where an option was left out.
        links: whether a link to a folder is fine, because files are written inside it.

    Raises:
        ParameterError: a device, a pipe, a socket or a link; an SQLite file; or an input, under whatever name.
    """
    if not os.path.lexists(path):
        return
    if path.is_symlink() and not (links and path.is_dir()):
        raise _refused(path, "it is a link, which is never written over: name its target or another file")
    if not (path.is_file() or path.is_dir()):
        raise _refused(path, "it is a device, a pipe or a socket, which is never written over: name another file")
    same = next((one for one in _entries(inputs) if _holds(path, one)), None)
    if same is not None:
        raise _refused(path, f"this command reads it as {same}: name another file, and move it afterwards")
    if path.is_file() and _is_sqlite(path):
        raise _refused(
            path, "it is an SQLite database, perhaps a state store: name another file, or remove it yourself"
        )


def require_free(
    path: Path, *, replace: bool, within: Sequence[str] = (), inputs: Sequence[Given | None] = (), folder: bool = False
) -> None:
    """Refuse an output that is there already, unless it is to be replaced and may be.

    Args:
        path: a file, or a folder, which is taken where it has something in it.
        replace: whether to overwrite it was said.
        within: names that will be written in the folder, where only those matter.
        inputs: what the same command reads, which is never overwritten.
        folder: whether the output is a folder, which stands there whole or not at all.

    Raises:
        StorageError: a folder stands in the place of a file, or a file in that of a folder.
        ParameterError: it is there, and `replace` is false or it must not be replaced (`require_replaceable`).
    """
    require_replaceable(path, inputs=() if within else inputs, links=bool(within))
    if within and path.is_file():
        raise StorageError(f"cannot write into {path}: it is a file", hint="name a folder")
    if path.is_dir() and not (within or folder):
        raise StorageError(f"cannot write {path}: it is a folder", hint="name a file in it")
    for name in within:
        require_replaceable(path / name, inputs=inputs)
    if replace or not path.exists():
        return
    if path.is_dir() and not any((path / name).exists() for name in within or os.listdir(path)):  # noqa: PTH208
        return
    raise ParameterError(
        "out",
        "this command",
        allowed="a name that is free",
        got=str(path),
        hint="it is there already: name another one, or say --replace to overwrite it",
    )


def _holds(path: Path, one: Path) -> bool:
    """Whether an input is this file or folder, under whatever name, or stands inside this folder."""
    return one.samefile(path) or path.resolve() in one.resolve().parents


def _refused(path: Path, why: str) -> ParameterError:
    allowed = "a name that is free, or with --replace a plain file that it does not read"
    return ParameterError("out", "this command", allowed=allowed, got=str(path), hint=why)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        # What cannot be read cannot be known to be harmless, but its folder says who may replace it.
        return False


def _entries(inputs: Sequence[Given | None]) -> Iterator[Path]:
    """What is there of the inputs: files, folders, and the files of folders and globs."""
    for given in inputs:
        for path in () if given is None else given_paths(given):
            if path.exists():
                yield path
                yield from (one for one in (path.iterdir() if path.is_dir() else ()) if one.exists())
            else:
                yield from (Path(one) for one in glob.glob(str(path), recursive=True))  # noqa: PTH207 (also absolute)
