"""The secret key of the contacts' pseudonyms: where it is looked for, how one is made, and how a wrong one is noticed.

Whoever knows the key can compute a person's pseudonym from the person's id, so a key that stands in a manual hides
nothing. The key is given by the environment or as a file; where neither is there, a random one is made on first use and
kept beside what it protects. A log and a store of contact state carry the fingerprint of their key: under another key
every contact would be a stranger, about whom nothing is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from engine.errors import ConfigError, StorageError
from engine.storage.parts import sync

KEY_VARIABLE: Final = "TACTFUL_CONTACT_KEY"
FILE_VARIABLE: Final = "TACTFUL_CONTACT_KEY_FILE"
ACCEPT_VARIABLE: Final = "TACTFUL_ACCEPT_WEAK_KEY"
KEY_FILE: Final = "contact.key"
SHORTEST: Final = 16
# Keys of simulated people. They stand in the source, so they protect nobody, and no fingerprint of them is kept.
DEMO_KEY: Final = "demo"
SIMULATED_KEY: Final = "tactful"

_RANDOM_BYTES: Final = 32
_LARGEST_FILE: Final = 4096
_FEWEST_DISTINCT: Final = 6
# Parts of keys that people copy from manuals or type to get past a check; each too long to occur in a random key.
_PLACEHOLDERS: Final = (
    *("changeme", "placeholder", "yourkey", "yoursecret", "mysecret", "secretkey", "asecretof", "password", "tactful"),
    *("contactkey", "example", "insert", "12345678", "abcdefgh", "qwerty", "letmein", "replace"),
)
_HOW: Final = f"set {KEY_VARIABLE}, or name a file with --contact-key-file or {FILE_VARIABLE}"


@dataclass(frozen=True)
class ContactKey:
    """A key and where it comes from.

    Attributes:
        text: the key itself; it is in no `repr`, and nothing prints it.
        source: "environment" or "file".
        file: the file; None for the environment.
        created: whether this run made it.
        warnings: sentences that the user must read.
    """

    text: str = field(repr=False)
    source: Literal["environment", "file"]
    file: Path | None = None
    created: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """16 hex digits by which two keys are told apart."""
        return fingerprint(self.text)


def fingerprint(key: str) -> str:
    """16 hex digits of a hash of the key: enough to tell two keys apart, nothing to compute a pseudonym with."""
    return hashlib.sha256(f"fingerprint of a contact key/{key}".encode()).hexdigest()[:16]


def marked(key: str) -> str | msgspec.UnsetType:
    """The fingerprint that a log carries; absent for the public keys of simulated people."""
    return msgspec.UNSET if key in (DEMO_KEY, SIMULATED_KEY) else fingerprint(key)


def require_same(found: str | msgspec.UnsetType | None, key: str, *, where: str) -> None:
    """Refuse a key that is not the one under which a log or a store was written.

    Args:
        found: the fingerprint that stands there; None or absent where none does.
        key: the key at hand.
        where: what carries the fingerprint, for the message.

    Raises:
        ConfigError: another key.
    """
    if found and found != fingerprint(key):
        raise ConfigError(
            f"{where} was written under the contact key with fingerprint {found}, the key given now has "
            f"{fingerprint(key)}",
            hint=f"under another key every contact is a stranger; give the key that was used: {_HOW}",
        )


def find_key(
    environment: Mapping[str, str],
    *,
    owner: str,
    file: Path | None = None,
    beside: Sequence[Path] = (),
    create_in: Path | None = None,
    expected: str | None = None,
) -> ContactKey:
    """The key to use: of the given file, else of the environment, else of `contact.key` in a folder, else a new one.

    Args:
        environment: usually `os.environ`.
        owner: the command, named in errors.
        file: the file that the user named.
        beside: folders in which a `contact.key` may lie, the first one counts; with `expected`, the first that fits.
        create_in: folder for a random key where there is none at all; None makes none.
        expected: fingerprint under which the data at hand were written; no new key can be the right one then.

    Raises:
        ConfigError: no key, a weak key, two that contradict each other, or a file that cannot be read.
        StorageError: a new key cannot be written.
    """
    given = _given(environment, file)
    if given is not None:
        return _strong(given, environment, owner)
    found = [folder / KEY_FILE for folder in dict.fromkeys(beside) if os.path.lexists(folder / KEY_FILE)]
    if found:
        keys = [_read(path) for path in found]
        fitting = [key for key in keys if key.fingerprint == expected]
        return _strong((fitting or keys)[0], environment, owner)
    if create_in is None or expected is not None:
        under = f" with fingerprint {expected}" if expected else ""
        looked = ", ".join(str(folder / KEY_FILE) for folder in dict.fromkeys(beside))
        raise ConfigError(
            f"{owner} needs the contact key{under}, under which the pseudonyms were made; there is none"
            + (f" in {looked}" if looked else ""),
            hint=_HOW,
        )
    return _made(create_in / KEY_FILE)


def given_key(environment: Mapping[str, str], *, owner: str, file: Path | None = None) -> ContactKey | None:
    """The key of the given file or of the environment; None where the user gave none.

    Raises:
        ConfigError: as of `find_key`.
    """
    given = _given(environment, file)
    return None if given is None else _strong(given, environment, owner)


def weakness(key: str) -> str | None:
    """Why a key protects nobody, or None."""
    if key in (DEMO_KEY, SIMULATED_KEY):
        return "it stands in the source of this program"
    if len(key) < SHORTEST:
        return f"it is shorter than {SHORTEST} characters"
    if len(set(key)) < _FEWEST_DISTINCT:
        return f"it has fewer than {_FEWEST_DISTINCT} different characters"
    letters = "".join(character for character in key.casefold() if character.isalnum())
    if any(part in letters for part in _PLACEHOLDERS):
        return "it looks like a placeholder"
    return None


def _given(environment: Mapping[str, str], file: Path | None) -> ContactKey | None:
    if file is not None:
        return _read(file)
    text, named = environment.get(KEY_VARIABLE), environment.get(FILE_VARIABLE)
    by_file = None if named is None else _read(Path(named))
    if text is None:
        return by_file
    key = ContactKey(_checked(text, KEY_VARIABLE), "environment")
    if by_file is not None and by_file.text != key.text:
        raise ConfigError(f"{KEY_VARIABLE} and {FILE_VARIABLE} give different contact keys", hint="unset one of them")
    return key


def _read(path: Path) -> ContactKey:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(
            f"the contact key file {path} cannot be read: {error.strerror or error}", hint=_HOW
        ) from error
    if len(raw) > _LARGEST_FILE:
        raise ConfigError(f"{path} is no contact key file: it has more than {_LARGEST_FILE} bytes", hint=_HOW)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no contact key file: it is no UTF-8 text", hint=_HOW) from error
    warnings: tuple[str, ...] = ()
    if mode & 0o077:
        warnings = (f"others may read the contact key in {path}; take their rights away: chmod 600 {path}",)
    return ContactKey(_checked(text, str(path)), "file", path, warnings=warnings)


def _checked(text: str, where: str) -> str:
    key = text.strip()
    if not key:
        raise ConfigError(f"{where} holds no contact key, it is empty", hint=f"{_HOW}, or unset it")
    if not key.isprintable():
        # A lone surrogate (bytes that were no text) or a second line: nothing that somebody meant as a key.
        raise ConfigError(f"{where} holds no contact key: it must be one line of printable text", hint=_HOW)
    return key


def _strong(key: ContactKey, environment: Mapping[str, str], owner: str) -> ContactKey:
    why = weakness(key.text)
    if why is None:
        return key
    where = KEY_VARIABLE if key.file is None else str(key.file)
    if environment.get(ACCEPT_VARIABLE):
        said = f"the contact key of {where} hides nobody: {why}"
        return ContactKey(key.text, key.source, key.file, warnings=(*key.warnings, said))
    raise ConfigError(
        f"the contact key of {where} is too weak for {owner}: {why}",
        hint="leave it out and a random one is made, or make one: openssl rand -hex 32; to read data that were made "
        f"under this key set {ACCEPT_VARIABLE}=yes",
    )


def _made(path: Path) -> ContactKey:
    """A new random key; of two processes that make one at once, both take the one that was there first."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(_RANDOM_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            created = True
            try:
                # A link appears whole or not at all, and never in place of another file.
                os.link(name, path)
            except FileExistsError:
                created = False
            sync(path.parent)
        finally:
            with contextlib.suppress(OSError):
                Path(name).unlink()
    except OSError as error:
        raise StorageError(
            f"cannot keep a new contact key in {path}: {error.strerror or error}", hint=f"{_HOW}, or free the folder"
        ) from error
    key = _read(path)
    return ContactKey(key.text, "file", path, created=created, warnings=key.warnings)
