"""The contact key of a command: where it is looked for, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from engine.contacts.key import FILE_VARIABLE, KEY_VARIABLE, SIMULATED_KEY, ContactKey, find_key, given_key
from engine.errors import StorageError
from engine.storage.given import Given
from experiments.cli.console import errors
from experiments.outputs import KeyOutput

KeyFile = Annotated[
    Path | None,
    typer.Option("--contact-key-file", help=f"File that holds the contact key; else {KEY_VARIABLE} is looked at."),
]

FIXED_KEY = "contact key: a public one (the contacts are simulated); real contacts get a secret one"


def key_beside(out: Path, file: Path | None, *, owner: str) -> ContactKey:
    """The key of a command that writes pseudonyms into a file; a new one is kept in that file's folder.

    Raises:
        ConfigError, StorageError: as of `engine.contacts.key.find_key`.
    """
    return announced(find_key(os.environ, owner=owner, file=file, beside=[out.parent], create_in=out.parent))


def key_of_store(url: str, file: Path | None, *, owner: str, create: bool = False) -> ContactKey:
    """The key of a store of contact state; a new one is kept beside an SQLite file, a server has no such place.

    Args:
        url: URL of the store.
        file: file that the user named.
        owner: the command, named in errors.
        create: whether the store may be new.

    Raises:
        ConfigError, StorageError: as of `engine.contacts.key.find_key`.
        DataError: there is no store and none may be made.
    """
    from engine.state.store import SqlState
    from engine.storage.database import file_of

    path = file_of(url, owner=owner)
    expected = None
    if create and path is not None and not path.parent.is_dir():
        # Not made, as that of an output is: a mistyped URL would make another store.
        raise StorageError(f"the folder {path.parent} does not exist", hint="check the URL, or make the folder")
    if not create or (path is not None and path.exists()):
        with SqlState(url) if create else SqlState.existing(url) as store:
            expected = store.key_fingerprint()
    folder = None if path is None else path.parent
    beside = [] if folder is None else [folder]
    return announced(find_key(os.environ, owner=owner, file=file, beside=beside, create_in=folder, expected=expected))


def key_of_log(log: Given, out: Path, file: Path | None, *, owner: str) -> ContactKey:
    """The key under which a log, of one file or several, was written; never a new one.

    Raises:
        ConfigError: as of `engine.contacts.key.find_key`.
        LogFormatError: no log.
    """
    from engine.log.parquet import LogReader

    reader = LogReader(log)
    mark = reader.meta.contact_key
    expected = None if mark is msgspec.UNSET else mark
    beside = [*dict.fromkeys(path.parent for path in reader.paths), out.parent]
    return announced(find_key(os.environ, owner=owner, file=file, beside=beside, expected=expected))


def key_if_given(file: Path | None, *, owner: str) -> ContactKey | None:
    """The key that the user gave, to be compared with that of a log; None where none was given.

    Raises:
        ConfigError: as of `engine.contacts.key.given_key`.
    """
    key = given_key(os.environ, owner=owner, file=file)
    return None if key is None else announced(key)


def key_of_simulation() -> str:
    """The key of simulated people: the environment's, else a fixed one, so that the same seed gives the same bytes."""
    return os.environ.get(KEY_VARIABLE) or SIMULATED_KEY


def announced(key: ContactKey) -> ContactKey:
    """The key, after its warnings and the place of a new one stand on standard error."""
    for warning in key.warnings:
        errors.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if key.created:
        text = (
            f"made a new contact key: {key.file}. Keep it safe and secret: without it no contact is known again. "
            f"Give it to runs elsewhere with --contact-key-file or {FILE_VARIABLE}"
        )
        errors.print(text, markup=False, highlight=False, soft_wrap=True)
    return key


def key_output(key: ContactKey) -> KeyOutput:
    """What `--json` says of the key; the key itself is not among it."""
    file = None if key.file is None else str(key.file)
    return KeyOutput(
        source=key.source, file=file, created=key.created, fingerprint=key.fingerprint, warnings=key.warnings
    )


def key_line(key: ContactKey) -> str:
    """What the screen says of the key."""
    where = f"environment variable {KEY_VARIABLE}" if key.file is None else str(key.file)
    return f"contact key: {where}{', made by this run' if key.created else ''} (fingerprint {key.fingerprint})"
