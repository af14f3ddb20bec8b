"""Whatever goes wrong in a command, as an error of ours: one line, one hint, a documented exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Final

from engine.errors import ConfigError, DataError, StorageError, TactfulError, placed, reason_of

TRACEBACK: Final = "TACTFUL_TRACEBACK"
INTERRUPTED: Final = 130
_REFUSED: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE}
# Errors of the libraries that read what users give, by the package that defines them: importing all of them here would
# make every command slow.
_LIBRARIES: Final[dict[str, type[TactfulError]]] = {
    "pyarrow": DataError,
    "msgspec": DataError,
    "json": DataError,
    "zlib": DataError,
    "gzip": DataError,
    "zipfile": DataError,
    "csv": DataError,
    "_csv": DataError,
    "sqlalchemy": StorageError,
    "sqlite3": StorageError,
    "psycopg": StorageError,
    "yaml": ConfigError,
    "hydra": ConfigError,
    "omegaconf": ConfigError,
}


def as_ours(error: Exception) -> TactfulError:
    """The error itself where it is ours, else what it means for the user; a defect of the program leaves with 1."""
    if isinstance(error, TactfulError):
        return error
    if os.environ.get(TRACEBACK) and sys.stderr is not None:
        traceback.print_exception(error)
    said = f"{type(error).__name__}: {reason_of(error)}" if str(error) else type(error).__name__
    if isinstance(error, OSError):
        kind = StorageError if error.errno in _REFUSED else DataError
        named = f"{placed(str(error.filename))}: " if error.filename else ""
        return kind(f"{named}{reason_of(error)}", hint="check the file, its rights and the space on the disk")
    if isinstance(error, UnicodeError):
        return DataError(f"a text cannot be read or written: {error}", hint="give files, names and values as UTF-8")
    if isinstance(error, ValueError) and "null byte" in str(error):
        return DataError("a name of a file holds a null byte", hint="no file has such a name")
    if isinstance(error, RecursionError):
        return DataError("the input is nested too deeply", hint="is it damaged, or not the file that is meant?")
    if isinstance(error, MemoryError):
        return StorageError("the memory of this machine is not enough", hint="give less at once, or a larger machine")
    for base in type(error).__mro__:
        if (ours := _LIBRARIES.get(base.__module__.partition(".")[0])) is not None:
            return ours(said, hint="check the files and values that were given")
    return TactfulError(
        f"the program failed: {said}", hint=f"this is a defect; report it with what {TRACEBACK}=1 shows"
    )


def cannot_write(error: Exception) -> StorageError:
    """Standard output is full or closed; the program's other results stand where they were written."""
    return StorageError(
        f"cannot write to standard output: {reason_of(error)}", hint="the files that the command writes are complete"
    )
