"""Batches of contacts: rows are taken with their sends, and what does not fit together is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch, Events, order_sends, plain_contacts
from engine.errors import DataError, ParameterError
from engine.files.ids import SeenHashes
from engine.guardrails.specimens import specimen_contacts
from engine.types import NOT_AN_INSTANT

CATALOG = Catalog(name="t", channels=("email", "sms"), hours=(9, "now"), arms=(Arm(id="a", approved=True),))
BATCH = specimen_contacts(CATALOG, 40, 1_790_000_000_000_000)


def sends(batch: ContactBatch, row: int) -> list[tuple[int, int, int]]:
    at = slice(batch.sent_offsets[row], batch.sent_offsets[row + 1])
    return list(
        zip(batch.sent_at[at].tolist(), batch.sent_channel[at].tolist(), batch.sent_purpose[at].tolist(), strict=True)
    )


@given(rows=st.lists(st.integers(0, 39), max_size=60))
def test_take_keeps_every_row_whole(rows: list[int]) -> None:
    """Any rows in any order, also repeated ones and none."""
    taken = BATCH.take(np.array(rows, dtype=np.int64))
    assert taken.n == len(rows)
    for position, row in enumerate(rows):
        assert sends(taken, position) == sends(BATCH, row)
        assert taken.contact_id[position] == BATCH.contact_id[row]
        assert taken.zone_code[position] == BATCH.zone_code[row]
        assert (taken.consent[position] == BATCH.consent[row]).all()


def test_take_slices_and_masks() -> None:
    mask = np.arange(40) % 3 == 0
    assert BATCH.take(mask).contact_id.tolist() == BATCH.contact_id[mask].tolist()
    assert sends(BATCH.take(slice(5, 9)), 0) == sends(BATCH, 5)


def test_alone_keeps_the_zone() -> None:
    for row in range(BATCH.n):
        alone = BATCH.alone(row)
        zone = None if BATCH.zone_code[row] < 0 else BATCH.zones[BATCH.zone_code[row]]
        assert (None if alone.zone_code[0] < 0 else alone.zones[alone.zone_code[0]]) == zone


@pytest.mark.parametrize("name", ["localtime", "Factory", "GMT+2", "Etc/GMT+2", "Europe/Nowhere"])
def test_a_batch_has_zones_of_people(name: str) -> None:
    with pytest.raises(ParameterError, match="must be zones of people"):
        plain_contacts(np.array(["a"], dtype=object), CATALOG, zones=(name,))


def test_a_send_or_an_event_without_an_instant_is_refused() -> None:
    """It would look older than every window, and count for no cap."""
    never = np.array([NOT_AN_INSTANT])
    one = np.zeros(1, dtype=np.int32)
    sent = {"sent_offsets": np.array([0, 1]), "sent_at": never, "sent_channel": one, "sent_purpose": one}
    with pytest.raises(DataError, match="has no instant"):
        plain_contacts(np.array(["a"], dtype=object), CATALOG, **sent)
    with pytest.raises(DataError, match="has no instant"):
        Events(np.array([0, 1]), never, one, one, one, ("x",), np.array([True]))


def test_order_sends_sorts_within_contacts_only() -> None:
    at, channel = order_sends(np.array([0, 2, 3]), np.array([5, 1, 0]), np.array([0, 1, 2]))
    assert at.tolist() == [1, 5, 0]
    assert channel.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zone_code": np.zeros(3, dtype=np.int32)}, "zone_code"),
        ({"consent": np.zeros((2, 3, 2), dtype=np.int8)}, "consent"),
        ({"sent_offsets": np.array([0, 1, 1])}, "sent_offsets"),
        ({"extra": {"state": np.array(["FL"], dtype=object)}}, "state"),
        ({"colour": 1}, "changes"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        plain_contacts(np.array(["a", "b"], dtype=object), CATALOG, **changes)


def test_unordered_sends_are_refused() -> None:
    columns = {
        "sent_offsets": np.array([0, 2]),
        "sent_at": np.array([5, 1]),
        "sent_channel": np.zeros(2, dtype=np.int32),
        "sent_purpose": np.zeros(2, dtype=np.int32),
    }
    with pytest.raises(DataError, match="oldest first"):
        plain_contacts(np.array(["a"], dtype=object), CATALOG, **columns)


def test_blanked_inputs_are_missing() -> None:
    assert (BATCH.blanked("zone").zone_code == -1).all()
    assert (BATCH.blanked("consent").consent == -1).all()
    assert not BATCH.blanked("sends").history_known.any()
    assert not BATCH.has("plan")


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=20), max_size=20))
def test_seen_hashes_are_a_set(blocks: list[list[int]]) -> None:
    seen, truth = SeenHashes(), set[int]()
    for block in blocks:
        hashes = np.array(sorted(set(block) - truth), dtype=np.uint64)
        assert seen.known(np.array(block, dtype=np.uint64)).tolist() == [one in truth for one in block]
        seen.add(hashes)
        truth |= set(block)
    assert len(seen) == len(truth)
