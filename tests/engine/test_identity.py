"""Keyed hashes against a SipHash-2-4 written out here, and their distribution."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.errors import DataError
from engine.identity import keyed_hash, pseudonyms, uniforms
from engine.types import ObjectArray

MASK = 2**64 - 1


def objects(*strings: object) -> ObjectArray:
    array = np.empty(len(strings), dtype=object)
    array[:] = strings
    return array


def siphash_2_4(key: bytes, message: bytes) -> int:
    """SipHash-2-4 as in Aumasson & Bernstein 2012, section 2."""
    k0, k1 = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(x: int, bits: int) -> int:
        return (x << bits | x >> 64 - bits) & MASK

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & MASK
            v[2] = (v[2] + v[3]) & MASK
            v[1] = rotate(v[1], 13) ^ v[0]
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[1]) & MASK
            v[0] = (v[0] + v[3]) & MASK
            v[1] = rotate(v[1], 17) ^ v[2]
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = rotate(v[2], 32)

    whole = len(message) - len(message) % 8
    words = [message[i : i + 8] for i in range(0, whole, 8)]
    words.append(message[whole:].ljust(7, b"\0") + bytes([len(message) & 0xFF]))
    for word in words:
        number = int.from_bytes(word, "little")
        v[3] ^= number
        rounds(2)
        v[0] ^= number
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def splitmix(x: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def test_the_reference_gives_the_papers_vector() -> None:
    """Appendix A of the paper: key 00..0f, message 00..0e -> a129ca6149be45e5."""
    assert siphash_2_4(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_keyed_hash_is_siphash_and_a_mix(text: str, key: str) -> None:
    sip_key = hashlib.sha256(key.encode()).hexdigest()[:16].encode()
    assert int(keyed_hash(objects(text), key)[0]) == splitmix(siphash_2_4(sip_key, text.encode()))


@given(st.lists(st.text("ab1", min_size=1), min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_neither_order_nor_blocks_matter(ids: list[str], random: object) -> None:
    whole = uniforms(objects(*ids), 3)
    np.testing.assert_array_equal(np.concatenate([uniforms(objects(i), 3) for i in ids]), whole)
    np.testing.assert_array_equal(uniforms(objects(*ids[::-1]), 3), whole[::-1])


def test_uniforms_are_uniform_and_free_of_the_seed() -> None:
    """Chi-square over 100 cells, fixed ids: the p-value is a constant of this test; so is the correlation of seeds."""
    ids = objects(*(f"decision-{i}" for i in range(100_000)))
    first, second = uniforms(ids, 1), uniforms(ids, 2)
    for sample in (first, second):
        assert sample.min() >= 0.0
        assert sample.max() < 1.0
        counts = np.histogram(sample, bins=100, range=(0, 1))[0]
        assert stats.chisquare(counts).pvalue > 0.001
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(ids))
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 4 / np.sqrt(len(ids))


def test_pseudonyms_are_128_bits_in_hex_and_depend_on_the_key() -> None:
    ids = objects("ann@example.org", "bob@example.org")
    made = pseudonyms(ids, "salt")
    high, low = keyed_hash(ids, "salt/high"), keyed_hash(ids, "salt/low")
    assert made.tolist() == [f"{int(h):016x}{int(x):016x}" for h, x in zip(high, low, strict=True)]
    assert set(made).isdisjoint(pseudonyms(ids, "pepper"))
    assert len(pseudonyms(objects(), "salt")) == 0
    assert len(uniforms(objects(), 1)) == 0


@pytest.mark.parametrize("bad", [None, 1, 1.5, float("nan"), b"bytes", ("a",), True])
def test_an_id_that_is_no_string_is_refused(bad: object) -> None:
    with pytest.raises(DataError, match=r"must be a string.*row 1"):
        keyed_hash(objects("a", bad), "key")


def test_empty_and_unencodable_ids_are_refused() -> None:
    with pytest.raises(DataError, match=r"row 1 is \(2 such rows\)"):
        keyed_hash(objects("a", "", ""), "key")
    with pytest.raises(DataError, match="UTF-8"):
        keyed_hash(objects("a", "\ud800"), "key")
