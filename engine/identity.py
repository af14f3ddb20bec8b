"""Keyed hashes: pseudonyms of contacts, decision ids, cluster keys, and the one uniform of a decision.

All are SipHash-2-4 (Aumasson & Bernstein 2012), a keyed pseudo-random function, followed by the finaliser of SplitMix64
(a bijection that pandas adds), computed on whole arrays: the same string and key give the same value in any order,
block size and process.
"""

from __future__ import annotations

import hashlib

import numpy as np
from pandas.api.types import infer_dtype
from pandas.util import hash_array

from engine.errors import DataError
from engine.types import FloatArray, IntArray, KeyArray, ObjectArray


def keyed_hash(strings: ObjectArray, key: str) -> KeyArray:
    """(n,) strings -> (n,) uint64 under `key`.

    The SipHash key is the first 16 hex digits of the key's SHA-256, as 16 ASCII bytes.

    Args:
        strings: (n,) non-empty strings that UTF-8 can encode.
        key: any string.

    Raises:
        DataError: an entry is no string, is empty, or holds a lone surrogate.
    """
    values = np.asarray(strings, dtype=object)
    _require_strings(values)
    sip_key = hashlib.sha256(key.encode()).hexdigest()[:16]
    try:
        hashed: KeyArray = hash_array(values, hash_key=sip_key, categorize=False)
    except UnicodeEncodeError as error:
        raise DataError(f"an id cannot be encoded as UTF-8: {error}", hint="re-encode the source as UTF-8") from error
    return hashed


def _require_strings(values: ObjectArray) -> None:
    # The hash below would turn 1 into "1" and None into one shared value, so that unknown contacts became one contact.
    if len(values) and infer_dtype(values, skipna=False) != "string":
        row = next(row for row, value in enumerate(values) if not isinstance(value, str))
        raise DataError(f"an id must be a string, got {values[row]!r} in row {row}", hint="convert the ids to strings")
    empty = values == ""
    if np.any(empty):
        raise DataError(
            f"an id must not be empty, row {int(np.flatnonzero(empty)[0])} is ({int(np.sum(empty))} such rows)",
            hint="give every row an id, or refuse the row",
        )


def pseudonyms(strings: ObjectArray, key: str) -> ObjectArray:
    """(n,) strings -> (n,) 32 hex digits (128 bits) under `key`: contact ids in every record are of this kind."""
    halves = np.empty((len(strings), 2), dtype=">u8")
    halves[:, 0] = keyed_hash(strings, f"{key}/high")
    halves[:, 1] = keyed_hash(strings, f"{key}/low")
    text = halves.tobytes().hex()
    return np.array([text[i : i + 32] for i in range(0, len(text), 32)], dtype=object)


def contact_pseudonyms(contact_ids: ObjectArray, contact_key: str) -> ObjectArray:
    """(n,) the names of contacts in every log, imported ones as well, and in every store of contact state.

    One function and one salt, so that a contact of an imported log is found among those of a live one.
    """
    return pseudonyms(contact_ids, f"contact/{contact_key}")


def uniforms(decision_ids: ObjectArray, seed: int) -> FloatArray:
    """(n,) decision ids -> (n,) floats in [0, 1) with 53 random bits: one uniform per decision, keyed by both."""
    bits = keyed_hash(decision_ids, f"uniform/{seed}") >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def fold_of(keys: KeyArray, folds: int, salt: str) -> IntArray:
    """(n,) uint64 keys -> (n,) fold numbers in [0, folds), the same for a key wherever it stands.

    The keys are mixed again under `salt` (SplitMix64's finaliser, Steele, Lea & Flood 2014), so that two splits by the
    same keys are independent of each other.
    """
    return (unit_of(keys, salt) * folds).astype(np.int64)


def unit_of(keys: KeyArray, salt: str) -> FloatArray:
    """(n,) uint64 keys -> (n,) floats in [0, 1), uniform and fixed by (key, salt)."""
    offset = np.uint64(int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        mixed = np.asarray(keys, dtype=np.uint64) + offset
        shifted = np.empty_like(mixed)
        # In place: a fresh array per operation costs more than the operation.
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None)):
            mixed ^= np.right_shift(mixed, np.uint64(shift), out=shifted)
            if factor is not None:
                mixed *= np.uint64(factor)
    mixed >>= np.uint64(11)
    uniform: FloatArray = mixed.astype(np.float64)
    uniform *= 2.0**-53
    return uniform
