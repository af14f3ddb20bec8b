"""Whether something still names a person, however a text spells an id: encodings, escapes, doubled quotes, accents.

A text is searched as it stands and with its escapes undone (JSON, CSV, HTML, addresses), so that every value of a JSON
document and every cell of a CSV is looked at, also those inside other values. What cannot be looked into is not clean.
"""

from __future__ import annotations

import codecs
import gzip
import html
import re
import unicodedata
import urllib.parse
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final

from engine.erasure.persons import Persons
from engine.files.stream import GZIP

NAMED: Final = "it names a person, and is no file that can be rewritten here (a database is given by its URL)"
PACKED: Final = "it is an archive or packed, so nobody can see whom it names: unpack it and give what was in it"
NO_TEXT: Final = "its text cannot be decoded, so nobody can see whom it names: write it anew as UTF-8"

_CHUNK: Final = 1 << 20
_PACKED: Final = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
    *(b"\x04\x22\x4d\x18", b"\xd0\xcf\x11\xe0", b"%PDF", GZIP),
)
# The longer marks first: that of UTF-32 starts like that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE: Final = tuple(encoding for _, encoding in _MARKS)
# What programs in use write besides Unicode; an ASCII id is the same bytes in all of them.
_OLD: Final = (
    *("latin-1", "cp1252", "iso8859-15", "cp1250", "iso8859-2", "cp1251", "iso8859-5", "koi8-r", "cp1253", "cp1254"),
    *("cp1255", "cp1256", "cp1257", "cp437", "cp850", "mac-roman", "shift_jis", "euc-jp", "gb18030", "big5", "euc-kr"),
)
_TEXTS: Final = (
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".html", ".htm", ".xml", ".yaml", ".yml", ".md", ".log"),
)
_ROUNDS: Final = 3  # JSON text in JSON text in a cell of a CSV
_LONGEST_ESCAPE: Final = 64  # bytes of one character, escaped twice, in UTF-32
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\"'\\/]))")


def names_in(text: str, persons: Persons) -> bool:
    """Whether a text names a person, as it stands or with its escapes undone."""
    names = _composed(persons.telling)
    return any(name in reading for reading in _readings(text) for name in names)


def old_spellings(name: str) -> frozenset[str]:
    """A name as it looks where bytes of an old encoding are read as UTF-8 with `surrogateescape`."""
    return frozenset(one.decode("utf-8", "surrogateescape") for one in _encoded(name, _OLD))


def bytes_name(path: Path, persons: Persons) -> bool:
    """Whether the bytes of a file hold a name as they stand; of a Parquet, whose texts are packed.

    Raises:
        OSError: it cannot be read.
    """
    overlap = _LONGEST_ESCAPE * max(map(len, persons.telling), default=0)
    held = b""
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            held = held[-overlap:] + part
            if _bytes_name(held, persons):
                return True
    return False


def left_in_bytes(path: Path, persons: Persons) -> str:
    """Why a file that is no Parquet counts as naming a person, or "".

    Raises:
        OSError, EOFError: it cannot be read, or is a damaged gzip file.
    """
    if not persons.telling:
        return ""
    with path.open("rb") as plain:
        opened: Any = gzip.open if plain.read(len(GZIP)) == GZIP else open
    with opened(path, "rb") as file:
        head = file.read(8)
        file.seek(0)
        if head.startswith(_PACKED) and not _is_plain_arrays(path):
            return PACKED
        encoding = next((found for mark, found in _MARKS if head.startswith(mark)), "utf-8")
        is_text = path.name.lower().removesuffix(".gz").endswith(_TEXTS)
        return _left_in_stream(file, encoding, is_text, persons)


def _is_plain_arrays(path: Path) -> bool:
    """Arrays of a trained policy: an archive whose parts stand in it as they are."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(part.compress_type == zipfile.ZIP_STORED for part in archive.infolist())


def _left_in_stream(file: IO[bytes], encoding: str, is_text: bool, persons: Persons) -> str:
    strict = codecs.getincrementaldecoder(encoding)()
    # Bytes that are no UTF-8 hide no id of ASCII: it is the same in every encoding without zero bytes.
    readable, hides = True, encoding != "utf-8" or not all(map(str.isascii, persons.telling))
    overlap = _LONGEST_ESCAPE * max(map(len, persons.telling))
    held = b""
    while part := file.read(_CHUNK):
        held += part
        if _bytes_name(held, persons) or names_in(_decoded(held, encoding), persons):
            return NAMED
        held = held[-overlap:]
        if encoding == "utf-8" and b"\0" in part:
            readable, hides = False, True
        try:
            strict.decode(part)
        except UnicodeDecodeError:
            readable = False
    try:
        strict.decode(b"", final=True)
    except UnicodeDecodeError:
        readable = False
    return NO_TEXT if is_text and hides and not readable else ""


def _decoded(raw: bytes, encoding: str) -> str:
    return raw.decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")


def _bytes_name(raw: bytes, persons: Persons) -> bool:
    """Whether bytes hold a name in any encoding but that of the text itself."""
    narrow, wide = _needles(persons.telling)
    return any(name in raw for name in narrow) or (b"\0" in raw and any(name in raw for name in wide))


@lru_cache(maxsize=8)
def _needles(names: frozenset[str]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """The names as bytes of encodings without zero bytes, and of those with them."""
    narrow = frozenset(one for name in names for one in _encoded(name, ("utf-8", *_OLD)))
    return narrow, frozenset(one for name in names for one in _encoded(name, _WIDE))


def _encoded(name: str, encodings: tuple[str, ...]) -> Iterator[bytes]:
    for form in {name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)}:
        for encoding in encodings:
            try:
                yield form.encode(encoding)
            except UnicodeEncodeError:
                continue


@lru_cache(maxsize=8)
def _composed(names: frozenset[str]) -> frozenset[str]:
    return frozenset(unicodedata.normalize("NFC", name) for name in names)


def _readings(text: str) -> Iterator[str]:
    """The text, and what it becomes where escapes of each kind are undone, each again."""
    seen, fresh = {text}, [text]
    for _ in range(_ROUNDS + 1):
        for one in fresh:
            yield one if one.isascii() else unicodedata.normalize("NFC", one)
        fresh = list({undone for one in fresh for undone in _undone(one)} - seen)
        seen.update(fresh)


def _undone(text: str) -> Iterator[str]:
    if '""' in text:
        yield text.replace('""', '"')
    if "\\" in text:
        yield _joined(_ESCAPE.sub(_character, text))
    if "&" in text:
        yield html.unescape(text)
    if "%" in text:
        yield urllib.parse.unquote(text, errors="surrogateescape")


def _character(found: re.Match[str]) -> str:
    digits = found[1] or found[2]
    return chr(int(digits, 16)) if digits else found[3]


def _joined(text: str) -> str:
    """A character beyond 16 bits is escaped as two halves."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
