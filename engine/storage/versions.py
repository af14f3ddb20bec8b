"""A live folder: the versions of a policy, a pointer to the one that serves, and the history of every change.

    LIVE/versions/VERSION/     trained folders, named by the hash of their content, never changed
    LIVE/live.json             the pointer: version and sequence number; replaced by one atomic rename
    LIVE/history.jsonl         one line for every attempt, each with the hash of the line before it; only ever appended
    LIVE/unheard.json          sequence number of a rollback whose caller has not been told that it took place
    LIVE/.lock                 held while something changes

The pointer alone says what serves. A change appends its line first, then moves the pointer; where it dies between the
two, nothing was promoted, and the next change says so in a line of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import ArtefactError, StorageError, reason_of
from engine.storage.artefact import MANIFEST, verified
from engine.storage.parts import disk_errors, new_file, new_folder, sync

POINTER: Final = "live.json"
HISTORY: Final = "history.jsonl"
VERSIONS: Final = "versions"
LOCK: Final = ".lock"
UNHEARD: Final = "unheard.json"
PROMOTED: Final = "promoted"
ROLLED_BACK: Final = "rolled back"
CHANGES: Final = (PROMOTED, ROLLED_BACK)
ABANDONED: Final = "abandoned"


@dataclass(frozen=True)
class Pointer:
    """What serves.

    Attributes:
        version: the trained folder's version.
        sequence: grows by one with every change.
    """

    version: str
    sequence: int


def is_live_folder(path: Path) -> bool:
    """Whether a path is a live folder that serves something."""
    return (Path(path) / POINTER).is_file()


def served_folder(path: Path) -> Path:
    """The trained folder that a path means now: of a live folder the version that its pointer names.

    Read it once and keep the answer: a promotion may move the pointer at any time, versions stay where they are.

    Raises:
        ArtefactError: a pointer that cannot be read, or that names no version.
    """
    path = Path(path)
    if not is_live_folder(path):
        return path
    pointer = read_pointer(path)
    folder = version_folder(path, pointer.version)
    if not (folder / MANIFEST).is_file():
        raise ArtefactError(
            f"{path} serves version {pointer.version}, which is not there", hint="roll back with `tactful rollback`"
        )
    return folder


def version_folder(live: Path, version: str) -> Path:
    """Where a version lies."""
    return Path(live) / VERSIONS / version


def read_pointer(live: Path) -> Pointer:
    """The pointer of a live folder.

    Raises:
        ArtefactError: missing, or not as it was written.
    """
    path = Path(live) / POINTER
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        pointer = Pointer(str(data["version"]), int(data["sequence"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(
            f"{path} cannot be read: {reason_of(error)}", hint="give a folder that `tactful promote` made"
        ) from error
    if data.get("check") != _check(pointer):
        raise ArtefactError(
            f"{path} was changed after it was written", hint="change it with promote and rollback alone"
        )
    return pointer


def history(live: Path) -> list[dict[str, Any]]:
    """Every line of the history whose hash fits, oldest first; a line that a dying writer left half is no line.

    Raises:
        ArtefactError: a line was changed, taken out or put in after it was written.
    """
    path = Path(live) / HISTORY
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    found: list[dict[str, Any]] = []
    before = ""
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(entry, dict) or entry.get("before") != before or entry.get("check") != _line_check(entry):
            raise ArtefactError(
                f"line {number} of {path} is not what was written", hint="compare it with a backup; nothing was changed"
            )
        before = entry["check"]
        found.append(entry)
    return found


def changes(live: Path) -> list[dict[str, Any]]:
    """The lines of the changes that took place, oldest first.

    Raises:
        ArtefactError: see `history` and `read_pointer`.
    """
    found: list[dict[str, Any]] = []
    for line in history(live):
        if line["event"] in CHANGES:
            found.append(line)
        elif line["event"] == ABANDONED and found:
            found.pop()
    serving = read_pointer(live).sequence if is_live_folder(live) else 0
    return [line for line in found if line["sequence"] <= serving]


def one_before(live: Path) -> str | None:
    """The version that a rollback returns to; None where there is none.

    Promotions stack up, and a rollback takes the top one off: two rollbacks go two promotions back.

    Raises:
        ArtefactError: see `history` and `read_pointer`.
    """
    stack: list[str] = []
    for line in changes(live):
        if line["event"] == ROLLED_BACK and line["version"] in stack:
            while stack[-1] != line["version"]:
                stack.pop()
        else:
            stack.append(line["version"])
    return stack[-2] if len(stack) > 1 else None


class LiveFolder:
    """Changes a live folder; made by `changing`, which holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def pointer(self) -> Pointer | None:
        """What serves now; None before the first promotion."""
        return read_pointer(self.path) if is_live_folder(self.path) else None

    @property
    def _sequence(self) -> int:
        """The sequence number of what serves now; 0 before the first promotion."""
        now = self.pointer
        return 0 if now is None else now.sequence

    def keep(self, folder: Path, kind: str) -> str:
        """Copy a trained folder among the versions, whole or not at all; a sound one that is there is not touched.

        Args:
            folder: a trained folder of any name.
            kind: what its manifest says it is.

        Returns:
            Its version.

        Raises:
            ArtefactError: the folder, or the copy, is damaged.
            StorageError: the disk refused.
        """
        version = str(verified(folder, kind)["version"])
        final = version_folder(self.path, version)
        with contextlib.suppress(ArtefactError):
            verified(final, kind)
            return version
        with disk_errors(f"keep {folder} in {final}", "the live version still serves"):
            final.parent.mkdir(exist_ok=True)
            with new_folder(final) as part:
                for file in sorted(Path(folder).iterdir()):
                    if file.is_file():
                        shutil.copyfile(file, part / file.name)
                verified(part, kind)
        return version

    def switch(self, version: str, event: str, entry: dict[str, Any]) -> Pointer:
        """Let a version that is kept serve, and write the line that says so.

        Raises:
            ArtefactError: the version is not kept here.
            StorageError: the disk refused; what served before still does.
        """
        if not (version_folder(self.path, version) / MANIFEST).is_file():
            raise ArtefactError(f"{self.path} keeps no version {version!r}", hint="promote it first")
        after = Pointer(version, self._sequence + 1)
        self.note(event, {**entry, "version": version, "sequence": after.sequence})
        with disk_errors(f"move the pointer of {self.path}", "what served before still serves"):
            try:
                self._point(after)
            except OSError:
                with contextlib.suppress(StorageError):
                    self._abandon()
                raise
        return after

    def unheard(self) -> bool:
        """Whether what serves now is the work of a rollback that died before it could tell its caller."""
        try:
            sequence = json.loads((self.path / UNHEARD).read_text(encoding="utf-8"))["sequence"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return self.pointer is not None and bool(sequence == self.pointer.sequence)

    def expect(self) -> None:
        """Keep that the caller of the next change has to be told of it.

        Raises:
            StorageError: the disk refused.
        """
        with disk_errors(f"write into {self.path}", "what served still serves"), new_file(self.path / UNHEARD) as part:
            part.write_text(json.dumps({"sequence": self._sequence + 1}), encoding="utf-8")

    def heard(self) -> None:
        """The caller knows."""
        (self.path / UNHEARD).unlink(missing_ok=True)

    def note(self, event: str, entry: dict[str, Any]) -> None:
        """Append a line to the history.

        Raises:
            StorageError: the disk refused.
            ArtefactError: the history was changed after it was written.
        """
        self._abandon()
        self._append(event, entry)

    def _abandon(self) -> None:
        """Say of a change that never moved the pointer that it did not happen."""
        serving = self._sequence
        unknown = None
        for line in history(self.path):
            unknown = line["sequence"] if line["event"] in CHANGES else None if line["event"] == ABANDONED else unknown
        if unknown is not None and unknown > serving:
            self._append(ABANDONED, {"sequence": unknown, "why": "the change before this line did not take place"})

    def _append(self, event: str, entry: dict[str, Any]) -> None:
        path = self.path / HISTORY
        lines = history(self.path)
        line = {**entry, "event": event, "before": lines[-1]["check"] if lines else ""}
        data = json.dumps({**line, "check": _line_check(line)}, sort_keys=True).encode() + b"\n"
        with disk_errors(f"write {path}", "what served before still serves"):
            with path.open("ab") as stream:
                # A writer that died in the middle of its line must not take this one with it.
                whole = stream.tell() == 0 or _ends_a_line(path)
                stream.write(data if whole else b"\n" + data)
                stream.flush()
                os.fsync(stream.fileno())
            sync(self.path)

    def _point(self, pointer: Pointer) -> None:
        with new_file(self.path / POINTER) as part:
            part.write_text(json.dumps({**asdict(pointer), "check": _check(pointer)}) + "\n", encoding="utf-8")


@contextlib.contextmanager
def changing(path: Path) -> Iterator[LiveFolder]:
    """Hold the lock of a live folder, which is made where it does not exist; one process at a time.

    Raises:
        StorageError: a trained folder or a file is in its place, or the disk refused.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        raise StorageError(f"{path} is a trained folder, not a live one", hint="give another --live")
    with disk_errors(f"use {path} as a live folder", "give another --live"):
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # The kernel lets go of the lock when its holder dies, however it dies.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield LiveFolder(path)
    finally:
        os.close(descriptor)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _check(pointer: Pointer) -> str:
    return hashlib.sha256(f"{pointer.version}/{pointer.sequence}".encode()).hexdigest()[:16]


def _line_check(entry: dict[str, Any]) -> str:
    content = {key: value for key, value in entry.items() if key != "check"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
