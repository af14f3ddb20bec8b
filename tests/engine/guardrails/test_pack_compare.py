"""Two packs compared in sums are what the two eligible sets say, pair by pair."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from engine.catalog import Arm, Catalog
from engine.eligibility import unpack
from engine.errors import ParameterError
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, load_pack
from engine.guardrails.replay.compare import Comparison, by_axis
from engine.guardrails.specimens import specimen_contacts
from engine.time.localtime import instant_of

CATALOG = Catalog(
    name="p",
    channels=("email", "sms"),
    hours=(2, 9, 19),
    arms=(Arm(id="a", approved=True), Arm(id="b", approved=True, purpose="transactional"), Arm(id="c", approved=True)),
)
NOW = datetime(2026, 7, 15, 13, 37, 11, tzinfo=UTC)
FIRST = load_pack()


def changed(rule: str, **params: object) -> Pack:
    rules = tuple(
        msgspec.structs.replace(one, params=one.params | params) if one.id == rule else one for one in FIRST.rules
    )
    return msgspec.structs.replace(FIRST, rules=rules)


WIDE = {"*": {"daily": ["00:00-24:00"]}}
OTHERS = {
    "looser hours": changed("Q9", windows=WIDE),
    "tighter hours": changed("Q9", windows={"*": {"daily": ["10:00-11:00"]}}),
    "other caps": changed("F4", caps=[{"max": 0, "window_s": 86_400, "channels": ["sms"]}]),
    "no frequency": msgspec.structs.replace(FIRST, rules=tuple(r for r in FIRST.rules if r.rule != "frequency")),
}


@pytest.mark.parametrize("name", OTHERS)
def test_sums_are_what_the_eligible_sets_say(name: str) -> None:
    first, second = Guardrails(FIRST, CATALOG), Guardrails(OTHERS[name], CATALOG)
    contacts = specimen_contacts(CATALOG, 60, instant_of(NOW), seed=3)
    before, after = (one.eligibility(contacts, NOW)[0].dense() for one in (first, second))
    gained, lost = after & ~before, before & ~after
    assert gained.any() or lost.any()

    comparison = Comparison(first, second)
    blocks = [comparison.add(contacts.take(slice(start, start + 25)), NOW) for start in range(0, 60, 25)]
    total = comparison.total
    assert total.contacts == 60
    assert total.gained.tolist() == gained.sum(axis=0).tolist()
    assert total.lost.tolist() == lost.sum(axis=0).tolist()
    assert (total.gainers, total.losers) == (int(gained.any(axis=1).sum()), int(lost.any(axis=1).sum()))
    sends = before[:, 1:].any(axis=1), after[:, 1:].any(axis=1)
    assert (total.held, total.freed) == (int((sends[0] & ~sends[1]).sum()), int((sends[1] & ~sends[0]).sum()))
    for field, expected in (("gained", gained), ("lost", lost)):
        packed = np.concatenate([getattr(block, field) for block in blocks])
        assert np.array_equal(unpack(packed, CATALOG.k), expected)
    assert [str(one) for block in blocks for one in block.contact_id] == list(contacts.contact_id)

    for guardrails, pairs, every, alone in (
        (first, gained, total.gained_by, total.gained_alone),
        (second, lost, total.lost_by, total.lost_alone),
    ):
        counted: Counter[str] = Counter()
        sole: Counter[str] = Counter()
        for row in range(60):
            for action, removals in guardrails.explain(contacts, row, NOW):
                if pairs[row, action]:
                    names = [removal.id for removal in removals]
                    counted.update(names)
                    sole.update(names if len(names) == 1 else [])
        assert +every == counted
        assert +alone == sole


def test_the_same_pack_changes_nothing() -> None:
    comparison = Comparison(Guardrails(FIRST, CATALOG), Guardrails(FIRST, CATALOG))
    comparison.add(specimen_contacts(CATALOG, 30, instant_of(NOW)), NOW)
    total = comparison.total
    assert (total.gainers, total.losers, total.held, total.freed) == (0, 0, 0, 0)
    assert not total.gained_by
    assert not total.lost_by


def test_by_axis_by_hand() -> None:
    """Actions 1..18 hold their own number; arm a is 1, 4, 7 ... and so on."""
    axes = by_axis(CATALOG, np.arange(CATALOG.k))
    assert axes["channel"] == {"email": sum(range(1, 10)), "sms": sum(range(10, 19))}
    assert axes["arm"] == {"a": sum(range(1, 19, 3)), "b": sum(range(2, 19, 3)), "c": sum(range(3, 19, 3))}
    assert axes["hour"]["2"] == 1 + 2 + 3 + 10 + 11 + 12


def test_packs_of_two_catalogs_cannot_be_compared() -> None:
    other = Catalog(name="o", channels=("email",), hours=("now",), arms=CATALOG.arms)
    with pytest.raises(ParameterError, match="catalog"):
        Comparison(Guardrails(FIRST, CATALOG), Guardrails(FIRST, other))


def test_a_cap_of_one_channel_leaves_the_others_alone_where_no_zone_is_known() -> None:
    cap = next(one for one in OTHERS["other caps"].rules if one.id == "F4")
    only_sms = msgspec.structs.replace(OTHERS["other caps"], rules=(FIRST.rules[0], cap))
    guardrails = Guardrails(only_sms, CATALOG)
    contacts = specimen_contacts(CATALOG, 60, instant_of(NOW), seed=3)
    assert (contacts.zone_code < 0).any()
    for row in range(contacts.n):
        for action, removals in guardrails.explain(contacts, row, NOW):
            capped = "F4" in {removal.id for removal in removals}
            name = CATALOG.action_names[action]
            assert capped == (name.startswith("sms") and not name.endswith("b"))
