"""Files and folders that appear whole: made under a temporary name beside their place, and put there in one step.

    .NAME.PID-SERIAL.part    what is being written, or what was replaced and is being removed
    .NAME.PID-SERIAL.old     what stood under the name, for the instant between two renames, where the system cannot
                             exchange two entries in one step

Each carries a lock that the kernel drops when its writer dies, however it dies. So whoever writes into a folder next
can tell what a dead writer left there, and removes it; what a living one is writing is never touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from engine.errors import StorageError, reason_of

_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2
# The call is not there, or not for this file system, or not for these two entries of it.
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM})
_SERIAL: Final = itertools.count()
# The second form is that of earlier versions, which held no lock.
_LEFT: Final = re.compile(r"\.(?P<name>.+)\.(?:\d+-\d+\.(?P<kind>part|old)|(?P<before>part|old)\.\w+)", re.DOTALL)


class Part:
    """A file or a folder under its temporary name; what dead writers left beside it is removed first.

    Args:
        place: the final name; its folder must exist.
        folder: whether it is a folder.
        private: whether its owner alone may look into it.

    Raises:
        OSError: the disk refused.
    """

    def __init__(self, place: Path, *, folder: bool = False, private: bool = False) -> None:
        self.place = Path(place)
        self._folder = folder
        remove_leftovers(self.place.parent)
        self.path, self._lock = _made(self.place, folder, 0o700 if private else 0o777)

    def publish(self) -> None:
        """Put what was written, and is on disk by then, under its final name, in the place of what stands there.

        Raises:
            OSError: the disk refused, or a device, a pipe or a socket stands there; what stood under the name still
                does.
        """
        _require_no_device(self.place)
        written = [*sorted(self.path.rglob("*")), self.path] if self._folder else [self.path]
        for path in written:
            sync(path)
        if not self._folder or not os.path.lexists(self.place):
            self.path.replace(self.place)
        elif not exchanged(self.path, self.place):
            self._replace_in_two_steps()
        sync(self.place.parent)

    def discard(self) -> None:
        """Remove what stands under the temporary name, if anything does, and let go of the lock."""
        _remove(self.path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _replace_in_two_steps(self) -> None:
        """A kill between the two renames leaves nothing under the name; the next writer there puts it back."""
        aside = self.path.with_suffix(".old")
        lock = _lock_on(self.place)
        try:
            self.place.rename(aside)
            try:
                self.path.replace(self.place)
            except OSError:
                aside.rename(self.place)
                raise
            _remove(aside)
        finally:
            if lock >= 0:
                os.close(lock)


@contextlib.contextmanager
def disk_errors(what: str, hint: str) -> Iterator[None]:
    """Turn what the disk refuses into one error.

    Raises:
        StorageError: "cannot", what was to be done, and why not.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {what}: {reason_of(error)}", hint=hint) from error


@contextlib.contextmanager
def new_file(place: Path) -> Iterator[Path]:
    """A temporary file that takes its final name where nothing fails.

    Raises:
        OSError: the disk refused; what stood under the name before is untouched.
    """
    with _published(Part(place)) as path:
        yield path


@contextlib.contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """A temporary folder that takes its final name where nothing fails, in exchange for a folder that stands there.

    Raises:
        OSError: the disk refused; what stood under the name before is untouched.
    """
    with _published(Part(place, folder=True)) as path:
        yield path


@contextlib.contextmanager
def _published(part: Part) -> Iterator[Path]:
    try:
        yield part.path
        part.publish()
    finally:
        part.discard()


@contextlib.contextmanager
def scratch_folder(beside: Path | None = None) -> Iterator[Path]:
    """A folder for work in between, removed at the end; those of dead processes are removed first.

    Args:
        beside: a place on the disk where the work will go; the system's folder for temporary files where left out.

    Raises:
        OSError: the disk refused.
    """
    part = Part(beside or Path(tempfile.gettempdir()) / "tactful", folder=True, private=True)
    try:
        yield part.path
    finally:
        part.discard()


@contextlib.contextmanager
def alone_with(files: Sequence[Path], what: str) -> Iterator[None]:
    """Let one process of this machine at a time work on files that it reads; the kernel frees them when it dies.

    Args:
        files: which; one that is not there, or on a file system without locks, is not held.
        what: the work, for the error: "dispatch".

    Raises:
        StorageError: another process is at work on one of them.
    """
    with contextlib.ExitStack() as stack:
        for path in sorted(files):
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except OSError:
                continue
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    f"another {what} is running on {path}, so this one did nothing",
                    hint="wait until it has ended, then run this again if something is left to do",
                ) from error
            except OSError:
                continue
        yield


def remove_leftovers(folder: Path) -> None:
    """Remove what dead writers left in a folder; what one of them had moved aside goes back to an empty place."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 (glob would read a name as a pattern)
            if (found := _LEFT.fullmatch(name)) is not None:
                kind = found["kind"] or found["before"]
                _settle(Path(folder) / name, found["name"] if kind == "old" else None)


def _settle(left: Path, back_to: str | None) -> None:
    with contextlib.suppress(OSError):
        lock = _lock_on(left, wait=False)
        if lock < 0:
            return
        try:
            if back_to is not None:
                _put_back(left, left.with_name(back_to))
            _remove(left)
        finally:
            os.close(lock)


def _put_back(aside: Path, place: Path) -> None:
    # Earlier versions moved a folder into one of a random name.
    inner = aside / place.name
    if not os.path.lexists(place):
        (inner if inner.is_dir() else aside).rename(place)


def _made(place: Path, folder: bool, mode: int) -> tuple[Path, int]:
    """A new entry beside its place, and the lock on it; -1 where the file system has no locks."""
    while True:
        path = place.with_name(f".{place.name}.{os.getpid()}-{next(_SERIAL)}.part")
        try:
            descriptor = _created(path, folder, mode)
        except (FileExistsError, _TakenError):
            continue
        lock = descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            lock = -1
        # Before the lock was on it another writer may have taken the entry for a dead one's, and removed it.
        if not _is_at(descriptor, path):
            os.close(descriptor)
            continue
        if lock < 0:
            os.close(descriptor)
        return path, lock


class _TakenError(Exception):
    """A folder was removed between its making and its opening."""


def _created(path: Path, folder: bool, mode: int) -> int:
    if not folder:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode & 0o666)
    path.mkdir(mode)
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise _TakenError from error


def _lock_on(path: Path, *, wait: bool = True) -> int:
    """A descriptor that holds the lock of an entry; -1 where it is gone, cannot be locked, or somebody has its lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return -1
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _require_no_device(place: Path) -> None:
    if os.path.lexists(place) and not (place.is_symlink() or place.is_file() or place.is_dir()):
        raise FileExistsError(errno.EEXIST, "no plain file stands there, and it is never replaced", str(place))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def exchanged(one: Path, other: Path) -> bool:
    """Let two entries of one folder change places in one step, where the system can do that.

    Linux (`renameat2` with RENAME_EXCHANGE, on ext4, XFS, Btrfs, tmpfs and others) and macOS (`renamex_np` with
    RENAME_SWAP on APFS) can: at every instant there is something whole under both names. Some network file systems
    and C libraries cannot.

    Returns:
        Whether it was done; False, with nothing changed, where the system has no such step.

    Raises:
        OSError: the disk refused.
    """
    code = _exchange_call(os.fsencode(one), os.fsencode(other))
    if code in _UNSUPPORTED:
        return False
    if code:
        raise OSError(code, os.strerror(code), str(other))
    return True


def _exchange_call(one: bytes, other: bytes) -> int:
    """The error number; 0 where the two were exchanged."""
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        found = getattr(library, "renamex_np", None)
        arguments: tuple[object, ...] = (one, other, ctypes.c_uint(_EXCHANGE))
    else:
        found = getattr(library, "renameat2", None)
        arguments = (_AT_FDCWD, one, _AT_FDCWD, other, ctypes.c_uint(_EXCHANGE))
    if found is None:
        return errno.ENOSYS
    return ctypes.get_errno() if found(*arguments) else 0


def sync(path: Path) -> None:
    """Return when the file, or the entries of the folder, are on disk.

    Raises:
        OSError: the path is missing, or the disk refused.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
