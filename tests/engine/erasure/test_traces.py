"""Whether something names a person is told in every encoding and under every escape; strangers are nobody."""

from __future__ import annotations

import gzip
import json
import unicodedata
import urllib.parse
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine.erasure.persons import persons_of
from engine.erasure.traces import NAMED, NO_TEXT, PACKED, left_in_bytes, names_in

WHO, OTHER = 'jürgen"k\U0001f600', "jürgen-other"
PERSONS = persons_of([WHO], [])
ASCII = persons_of(["anna.rossi"], [])
ESCAPED = json.dumps({"note": f"friend of {WHO}"})


@pytest.mark.parametrize(
    "text",
    [
        *(WHO, unicodedata.normalize("NFD", WHO), ESCAPED, ESCAPED.upper().replace("\\U", "\\u").lower()),
        json.dumps([1, {"a": [json.dumps({"b": [WHO]})]}]),
        '"' + ESCAPED.replace('"', '""') + '"',
        '"a","' + WHO.replace('"', '""') + '"',
        f"to={urllib.parse.quote(WHO)}",
        "<p>j&uuml;rgen&quot;k&#128512;</p>",
    ],
)
def test_every_spelling_is_found(text: str) -> None:
    assert names_in(f"before {text} behind", PERSONS)
    assert not names_in(text, persons_of([OTHER], []))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-32-be"])
@pytest.mark.parametrize("start", [0, (1 << 20) - 9, (1 << 18) - 3])
def test_every_unicode_encoding_is_found_also_across_blocks(encoding: str, start: int, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(("x" * start + WHO + "y" * 99).encode(encoding))
    assert left_in_bytes(path, PERSONS) == NAMED
    if encoding in ("utf-16", "utf-32"):
        path.write_bytes(("x" * start + ESCAPED + "y" * 99).encode(encoding))
        assert left_in_bytes(path, PERSONS) == NAMED
        path.write_bytes(f"contact_id\n{OTHER}\n".encode(encoding))
        assert left_in_bytes(path, PERSONS) == ""


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp850", "mac-roman"])
def test_old_encodings_are_found(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "data.dat"
    path.write_bytes("x jürgen y".encode(encoding))
    assert left_in_bytes(path, persons_of(["jürgen"], [])) == NAMED
    assert left_in_bytes(path, PERSONS) == ""


def test_what_cannot_be_looked_into_is_not_clean(tmp_path: Path) -> None:
    latin, wide, damaged = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    latin.write_bytes("contact_id\nmüller\n".encode("latin-1"))
    wide.write_bytes("contact_id\nmuller\n".encode("utf-16-le"))
    damaged.write_bytes("contact_id\nmuller\n".encode("utf-16")[:-1])
    assert [left_in_bytes(path, PERSONS) for path in (latin, wide, damaged)] == [NO_TEXT] * 3
    # An id of ASCII is the same bytes in every old encoding.
    assert [left_in_bytes(path, ASCII) for path in (latin, wide, damaged)] == ["", NO_TEXT, NO_TEXT]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", f"contact_id\n{WHO}\n")
    (tmp_path / "twice.csv.gz").write_bytes(gzip.compress(gzip.compress(b"contact_id\n")))
    assert {left_in_bytes(tmp_path / name, ASCII) for name in ("a.zip", "twice.csv.gz")} == {PACKED}


def test_arrays_of_a_policy_are_clean(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", weights=np.arange(9))
    np.savez_compressed(tmp_path / "packed.npz", weights=np.arange(9))
    assert left_in_bytes(tmp_path / "plain.npz", PERSONS) == ""
    assert left_in_bytes(tmp_path / "packed.npz", PERSONS) == PACKED
