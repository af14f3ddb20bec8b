"""Erase persons from stores and files, in an order in which a run that was cut short can be run again.

    channels closed -> decisions found -> outcomes, rejects, tables -> logs -> stores -> pages overwritten, act recorded

A log or a store says which decisions are a person's; outcomes know nothing but the decision. So outcomes go first, and
a stage begins only when the one before is clean.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from engine.contacts.key import KEY_FILE, fingerprint
from engine.erasure.files import ErasedFile, decisions_in, erase_from, kind_of, remove_leftover
from engine.erasure.persons import Persons, is_pseudonym, persons_of
from engine.erasure.stores import ErasableStore
from engine.errors import ConfigError, DataError, ParameterError, StorageError, TactfulError
from engine.log.parquet import LogReader
from engine.storage.database import file_of
from engine.time.localtime import instant_of
from experiments.outputs import Output
from experiments.report.files import write_whole

_LOG: Final = "log"
_WAITS: Final = "not looked into yet, and may name a person: make the other files clean, then erase again"
_DATABASE_ENDINGS: Final = ("", "-wal", "-shm", "-journal")
Advance = Callable[[float], None]


class ErasedPlace(Output, frozen=True, kw_only=True):
    """One store or file.

    Attributes:
        place: its URL (without a password) or path.
        kind: state, hot log, log, outcomes, table (contacts, facts), rejects, text or other.
        removed: rows that were removed; 0 where the persons were not found.
        clean: whether nothing of the persons is left there.
        note: why not, or "not found".
    """

    place: str
    kind: str
    removed: int
    clean: bool
    note: str = ""


class EraseOutput(Output, frozen=True, kw_only=True):
    """`tactful erase --json`; nothing in it names a person.

    Attributes:
        persons: how many ids were given.
        found: whether any place knew any of them.
        clean: whether every given place is clean; else the command leaves with 3.
        removed: rows in all.
        places: every store and file that was looked at and held something or could not be cleaned, stores always.
        files: how many files were looked at.
        not_given: sources that the logs were made from and that were not among the given places: look there as well.
        at: instant of the request.
        requested_by / reason: who asked for it and why, as given.
        tool: version of this program.
        acts: URL of a store -> id of the act's record in it.
        record: file of the record, where one was asked for.
    """

    persons: int
    found: bool
    clean: bool
    removed: int
    places: tuple[ErasedPlace, ...]
    files: int
    not_given: tuple[str, ...]
    at: str
    requested_by: str
    reason: str
    tool: str
    acts: dict[str, str] = {}
    record: str | None = None


@dataclass(frozen=True)
class EraseRequest:
    """One erasure: the persons, the places, and what the record says of it.

    Attributes:
        ids: ids of contacts, as a source names them, or their pseudonyms.
        now: aware instant of the request.
        keys: every contact key that is known.
        states / hot_logs: URLs of stores.
        paths: logs, outcomes, rejects, contact and fact files, and folders of them.
        requested_by / reason: who asked and why, for the record; without any id of a person.
        record: JSON file for the record of the act.
    """

    ids: tuple[str, ...]
    now: datetime
    keys: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    hot_logs: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    requested_by: str = ""
    reason: str = ""
    record: Path | None = None

    def __post_init__(self) -> None:
        if not self.ids:
            raise ParameterError("ids", "erase", allowed="at least one contact id", got="none")
        if not (self.states or self.hot_logs or self.paths):
            allowed = "at least one of --state, --hot-log and --log"
            raise ParameterError("places", "erase", allowed=allowed, got="none", hint="say where to erase")


def erase(request: EraseRequest, advance: Advance | None = None) -> EraseOutput:
    """Erase persons from every given place.

    Raises:
        ConfigError: a place is under a contact key that is not known; nothing was removed.
        DataError: a place that does not exist; nothing was removed.
        ParameterError: the record would name a person.
        StorageError: a store refused, or the record cannot be written; run it again.
    """
    if request.record is not None and request.record.exists():
        hint = "a record of an act is never overwritten: name another file"
        raise ParameterError("record", "erase", allowed="a name that is free", got=str(request.record), hint=hint)
    files = sorted(_files(request.paths, _databases((*request.states, *request.hot_logs))))
    with ExitStack() as stack:
        stores = [_Store(url, "state", stack.enter_context(ErasableStore(url))) for url in request.states]
        stores += [
            _Store(url, "hot log", stack.enter_context(ErasableStore(url, log=True))) for url in request.hot_logs
        ]
        footers = _footers(files)
        _require_keys(request, stores, footers)
        persons = persons_of(request.ids, request.keys)
        for name in ("requested_by", "reason"):
            if persons.masked(getattr(request, name)) != getattr(request, name):
                raise ParameterError(name, "erase", allowed="without an id of the person", got="an id")
        return _Run(request, persons, stores, files, footers, advance or (lambda _: None)).whole()


@dataclass(frozen=True)
class _Footer:
    key: str | None
    source: str


@dataclass(frozen=True)
class _Store:
    url: str
    kind: str
    store: ErasableStore

    @property
    def shown(self) -> str:
        return sa.make_url(self.url).render_as_string()


@dataclass
class _Run:
    request: EraseRequest
    persons: Persons
    stores: list[_Store]
    files: list[Path]
    footers: dict[Path, _Footer]
    advance: Advance
    places: list[ErasedPlace] = field(default_factory=list)
    done: int = 0

    def whole(self) -> EraseOutput:
        at = instant_of(self.request.now, owner="erase")
        acts = {one.shown: one.store.begin(self.persons, at, self._record()) for one in self.stores}
        if self._find_decisions():
            kinds = {path: kind_of(path) for path in self.files}
            others = [path for path in self.files if kinds[path] != _LOG]
            logs = [path for path in self.files if kinds[path] == _LOG]
            if not self._each(others):
                # A log says which decisions are the person's; without it the next run could not find them elsewhere.
                for path in logs:
                    self._note(str(path), _LOG, ErasedFile(_LOG, 0, _WAITS))
            elif self._each(logs):
                self._erase_stores(acts)
        output = EraseOutput(
            **self._record(),
            places=tuple(self.places),
            not_given=self._not_given(),
            acts=acts,
            record=None if self.request.record is None else str(self.request.record),
        )
        if self.request.record is not None:
            write_whole(self.request.record, msgspec.json.format(msgspec.json.encode(output), indent=2))
        return output

    def _find_decisions(self) -> bool:
        """Whose decisions are theirs; false where a place cannot be read, so that nothing may be removed yet."""
        clean = True
        for one in self.stores:
            self.persons = self.persons.with_decisions(one.store.decisions(self.persons))
        for path in self.files:
            try:
                self.persons = self.persons.with_decisions(decisions_in(path, self.persons))
            except DataError as error:
                clean = False
                self._note(str(path), "other", ErasedFile("other", 0, f"{error.message}; nothing was removed anywhere"))
        return clean

    def _each(self, paths: Iterable[Path]) -> bool:
        clean = True
        for path in paths:
            try:
                found = erase_from(path, self.persons)
            except TactfulError as error:
                found = ErasedFile("other", 0, error.message)
            self.done += 1
            self.advance(1.0)
            clean = clean and not found.left
            if found.removed or found.left:
                self._note(str(path), found.kind, found)
        return clean

    def _erase_stores(self, acts: dict[str, str]) -> None:
        removed = {one.shown: one.store.erase(self.persons) for one in self.stores}
        for one in self.stores:
            rows = sum(removed[one.shown].values())
            named = one.store.left(self.persons)
            left = f"{', '.join(named)} of other contacts still name a person: correct these rows" if named else ""
            self._note(one.shown, one.kind, ErasedFile(one.kind, rows, left), said="" if rows else "not found")
        for one in self.stores:
            act, by_table = acts[one.shown], removed[one.shown]
            scrub = bool(by_table) or one.store.interrupted(act)
            record = self._record()
            one.store.finish(act, record | {"rows": by_table}, scrub=scrub, clean=record["clean"])

    def _note(self, place: str, kind: str, found: ErasedFile, said: str = "") -> None:
        text = self.persons.masked(found.left or said)
        masked = self.persons.masked(place)
        self.places.append(ErasedPlace(place=masked, kind=kind, removed=found.removed, clean=not found.left, note=text))

    def _record(self) -> dict[str, Any]:
        """What is kept of the act: nothing of the persons, nor of where they were."""
        removed = sum(place.removed for place in self.places)
        return {
            "persons": len(set(self.request.ids)),
            "found": removed > 0,
            "clean": all(place.clean for place in self.places),
            "removed": removed,
            "files": len(self.files),
            "at": self.request.now.isoformat(),
            "requested_by": self.request.requested_by,
            "reason": self.request.reason,
            "tool": f"tactful {version('tactful')}",
        }

    def _not_given(self) -> tuple[str, ...]:
        given = {str(path) for path in self.files} | {path.name for path in self.files}
        named = {footer.source for footer in self.footers.values() if footer.source}
        return tuple(sorted(self.persons.masked(name) for name in named if name not in given))


def _databases(urls: Iterable[str]) -> set[Path]:
    """Files of the given stores, which are erased from as databases."""
    files = [file_of(url, owner="erase") for url in urls]
    return {Path(f"{file.resolve()}{ending}") for file in files if file is not None for ending in _DATABASE_ENDINGS}


def _files(paths: Sequence[Path], databases: set[Path]) -> Iterator[Path]:
    """Every file once, those of folders included; what killed writers left behind is removed."""
    seen = set(databases)
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist", hint="nothing was removed; check the name")
        for file in [path] if path.is_file() else _walk(path):
            if file.name.startswith(".") and file.name.endswith(".part"):
                if remove_leftover(file):
                    continue
                raise StorageError(f"another process is writing {file}", hint="wait for it, then run this again")
            where = file.resolve()
            if where not in seen and file.is_file() and file.name != KEY_FILE:
                seen.add(where)
                yield file


def _walk(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in names:
            yield Path(root, name)


def _footers(files: Iterable[Path]) -> dict[Path, _Footer]:
    found = {}
    for path in files:
        try:
            if kind_of(path) != _LOG:
                continue
            meta = LogReader(path).meta
        except DataError:
            # Damaged, without rows, or without a footer of ours: it names no key.
            continue
        found[path] = _Footer(None if meta.contact_key is msgspec.UNSET else meta.contact_key, meta.source)
    return found


def _require_keys(request: EraseRequest, stores: Sequence[_Store], footers: dict[Path, _Footer]) -> None:
    """Refuse places whose contacts are under a key that is not known: there the persons would not be found."""
    if all(map(is_pseudonym, request.ids)):
        return
    known = {fingerprint(key) for key in request.keys}
    marks = {one.shown: one.store.key_fingerprint() for one in stores}
    marks |= {str(path): footer.key for path, footer in footers.items()}
    for place, mark in marks.items():
        if mark is not None and mark not in known:
            raise ConfigError(
                f"{place} is under the contact key with fingerprint {mark}, which is not among those given",
                hint=f"give it with --contact-key-file, put it beside as {KEY_FILE}, or name the persons by pseudonym",
            )


def key_folders(states: Iterable[str], paths: Iterable[Path]) -> list[Path]:
    """Folders beside the places, in which a `contact.key` may lie."""
    files = [file_of(url, owner="erase") for url in states]
    folders = [file.parent for file in files if file is not None]
    for path in paths:
        folders += [path, path.parent] if path.is_dir() else [path.parent]
    return list(dict.fromkeys(folders))
