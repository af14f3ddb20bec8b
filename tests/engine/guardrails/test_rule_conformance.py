"""Every shipped rule passes the conformance suite, and the suite catches rules that break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import yaml

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.errors import ConfigError, EligibilityError
from engine.guardrails.check import INSTANTS, check_rule
from engine.guardrails.judging import findings, judge, removed
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack, pack_from
from engine.guardrails.registry import make_rule, shipped_rules
from engine.guardrails.rule import Cell, Finding, Scene, Verdict
from engine.guardrails.specimens import specimen_contacts
from engine.time.localtime import instant_of
from engine.types import PURPOSES
from tests.engine.guardrails import foreign_rules

CATALOG = Catalog(
    name="small",
    channels=("email", "sms"),
    hours=(0, 2, 9, 19, 20, "now"),
    arms=(
        Arm(id="a", approved=True),
        Arm(id="b", approved=True, purpose="transactional"),
        Arm(id="c"),
        Arm(id="d", approved=True, locale="en", channels=("sms",)),
        Arm(id="e", approved=True, valid_from="2026-03-09T00:00:00Z", valid_until="2026-11-02T12:00:00+02:00"),
        Arm(id="f", approved=True, valid_from="2027-01-01T00:00:00Z"),
    ),
)
ENTRIES = load_pack().rules
ODD = {
    "capped at zero": (
        "frequency",
        {"caps": [{"max": 0, "window_s": 1, "channels": ["sms"]}, {"max": 2, "window_s": 9}]},
    ),
    "transactional too": (
        "frequency",
        {"caps": [{"max": 1, "window_s": 7}], "applies_to": list(PURPOSES), "counts": list(PURPOSES)},
    ),
    "across midnight": ("quiet_hours", {"windows": {"sms": {"sat": ["22:00-06:30"]}}, "applies_to": list(PURPOSES)}),
}


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_shipped_rules_conform(entry: object) -> None:
    check_rule(make_rule(entry.rule, entry.params), CATALOG)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ODD)
def test_odd_parameters_conform(name: str) -> None:
    check_rule(make_rule(*ODD[name]), CATALOG)


def test_every_shipped_rule_is_in_a_shipped_pack(root: Path) -> None:
    folder = root / "conf" / "guardrails"
    packs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.rglob("*.yaml")]
    assert {entry["rule"] for pack in packs for entry in pack["rules"]} == set(shipped_rules())


@dataclass(frozen=True)
class Sound:
    """Removes e-mails of contacts whose `plan` is FL: a rule with an input of its own."""

    reads: ClassVar[tuple[str, ...]] = ("plan",)
    applies_to: ClassVar[tuple[str, ...]] = PURPOSES

    def verdict(self, scene: Scene) -> Verdict:
        florida = scene.contacts.extra["plan"] == "FL"
        email = np.array([channel == "email" for channel in scene.catalog.channels])
        return Verdict(channel_arm=(florida[:, None] & email)[:, :, None])

    def explain(self, scene: Scene, row: int, cell: Cell) -> Finding:
        return Finding(scene.contacts.extra["plan"][row], "not FL", "no e-mail to this plan")


def with_plans(catalog: Catalog, n: int, now_at: int) -> ContactBatch:
    states = np.array(["FL", "NY"], dtype=object)[np.arange(n) % 2]
    return replace(specimen_contacts(catalog, n, now_at), extra={"plan": states})


def test_a_rule_of_ones_own_conforms() -> None:
    check_rule(Sound(), CATALOG, with_plans)
    scene = Scene(CATALOG, specimen_contacts(CATALOG, 1, 10**15), 10**15, 0)
    found = findings(Sound(), scene)
    assert len(found) == CATALOG.k - 1  # the contacts carry no plan: everything is removed
    assert {finding.observed for _, finding in found} == {"missing"}


def test_rows_without_an_input_are_removed_before_the_rule_sees_them() -> None:
    """The second contact has no plan: nothing is sent; the third lives elsewhere; a numeric column lacks by NaN."""
    states = np.array(["FL", None, "NY"], dtype=object)
    contacts = replace(
        specimen_contacts(CATALOG, 3, 10**15), extra={"plan": states, "score": np.array([1, np.nan, 2.0])}
    )
    scene = Scene(CATALOG, contacts, 10**15, 0)
    per_contact = removed(judge(Sound(), scene), 3, CATALOG).dense()[:, 1:].sum(axis=1)
    assert per_contact.tolist() == [36, 0, 72]  # SMS only; nothing; everything
    scored = type("Scored", (Sound,), {"reads": ("score",), "verdict": _sees_numbers_only})
    assert removed(judge(scored(), scene), 3, CATALOG).dense()[:, 1:].any(axis=1).tolist() == [True, False, True]
    assert len(findings(Sound(), replace(scene, contacts=contacts.take(np.array([1]))))) == 72


def _sees_numbers_only(self: Sound, scene: Scene) -> Verdict:
    closed = scene.contacts.extra["score"] != np.round(scene.contacts.extra["score"])  # NaN would be unequal
    return Verdict(channel_hour=closed[:, None, None, None] & np.ones((1, 2, 2, 6), dtype=np.bool_))


def _wrong_dtype(self: Sound, scene: Scene) -> Verdict:
    return Verdict(channel_arm=np.zeros((scene.contacts.n, 2, 6), dtype=np.int8))


def _wrong_shape(self: Sound, scene: Scene) -> Verdict:
    return Verdict(channel_arm=np.zeros((scene.contacts.n, 3, 6), dtype=np.bool_))


def _no_row_axis(self: Sound, scene: Scene) -> Verdict:
    return Verdict(channel_hour=np.zeros((1, 2, 2, 6), dtype=np.bool_))


def _by_position(self: Sound, scene: Scene) -> Verdict:
    return Verdict(channel_arm=(np.arange(scene.contacts.n) % 2 == 0)[:, None, None])


def _changes_input(self: Sound, scene: Scene) -> Verdict:
    scene.contacts.suppressed[:] = 0
    return Verdict()


def _changes_a_column(self: Sound, scene: Scene) -> Verdict:
    scene.contacts.extra["plan"][:] = "FL"  # type: ignore[index]
    return Verdict()


def _adds_a_column(self: Sound, scene: Scene) -> Verdict:
    scene.contacts.extra["more"] = np.zeros(scene.contacts.n)  # type: ignore[index]
    return Verdict()


_calls = iter(range(10**6))


def _fickle(self: Sound, scene: Scene) -> Verdict:
    return Verdict(channel_arm=np.full((scene.contacts.n, 1, 1), next(_calls) % 2 == 0))


def _fails_open(self: Sound, scene: Scene) -> Verdict:
    return Verdict(channel_arm=(scene.contacts.consent[:, :, :1] == 0))


def _no_verdict(self: Sound, scene: Scene) -> object:
    return None


@pytest.mark.parametrize(
    ("verdict", "reads", "message"),
    [
        (_wrong_dtype, ("plan",), "as bool"),
        (_wrong_shape, ("plan",), "of a shape like"),
        (_no_row_axis, ("plan",), "of a shape like"),
        (_by_position, ("plan",), "one by one"),
        (_changes_input, ("plan",), "must not change its input suppressed"),
        (_changes_a_column, ("plan",), "must not change its input extra.plan"),
        (_adds_a_column, ("plan",), "must not add to its inputs"),
        (_fickle, ("plan",), "same verdict twice"),
        (_fails_open, ("consent",), "where consent is missing"),
        (_no_verdict, ("plan",), "return a Verdict"),
    ],
)
def test_broken_verdicts_are_caught(verdict: Callable[..., object], reads: tuple[str, ...], message: str) -> None:
    broken = type("Broken", (Sound,), {"verdict": verdict, "reads": reads})
    with pytest.raises(EligibilityError, match=message):
        check_rule(broken(), CATALOG, with_plans)


@pytest.mark.parametrize(
    ("finding", "message"),
    [
        (Finding("FL", "not FL", ""), "must give a reason"),
        (Finding("FL", "not FL", "because", 5), "after now"),
        (Finding("FL", "not FL", "because", 4 * 10**15), "but removes it there"),
    ],
)
def test_broken_findings_are_caught(finding: Finding, message: str) -> None:
    broken = type("Broken", (Sound,), {"explain": lambda self, scene, row, cell: finding})
    with pytest.raises(EligibilityError, match=message):
        check_rule(broken(), CATALOG, with_plans)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("nonsense", {}, "unknown rule"),
        ("../rule", {}, "unknown rule"),
        ("os:system", {}, "unknown rule"),
        ("consent", {"off": True}, "unknown field"),
        ("frequency", {"caps": [{"max": -1, "window_s": 1}]}, "0 or more"),
        ("frequency", {"caps": [{"max": 1, "window_s": 0}]}, "window_s"),
        ("frequency", {"caps": [{"max": 1, "window_s": 1, "channels": []}]}, "channels"),
        ("frequency", {"caps": [{"window_s": 1}]}, "max"),
        ("frequency", {"caps": [], "counts": ["fun"]}, "counts"),
        ("quiet_hours", {"windows": {"*": {"noday": ["09:00-20:00"]}}}, "days"),
        ("quiet_hours", {"windows": {"*": {"mon": ["9-20"]}}}, "window"),
        ("quiet_hours", {"windows": {"*": {"mon": ["09:00-09:00"]}}}, "window"),
        ("quiet_hours", {"windows": {}, "applies_to": ["fun"]}, "applies_to"),
    ],
)
def test_rules_that_cannot_be_made(name: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_rule(name, params)


FOREIGN = "tests.engine.guardrails.foreign_rules"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{FOREIGN}:makes_a_rule", "no class but a function"),
        (f"{FOREIGN}:INSTANCE", "no class but a function"),
        (f"{FOREIGN}:called", "no class but a list"),
        (f"{FOREIGN}:os", "no class but a module"),
        (f"{FOREIGN}:NotARule", "no rule: it lacks reads, applies_to, verdict, explain"),
        (f"{FOREIGN}:Called", "no rule"),
        (f"{FOREIGN}:ConsentRule", "a class of engine.guardrails.rules.consent, which is imported there"),
        (f"{FOREIGN}:_calls", "public modules"),
        (f"{FOREIGN}.os:system", "cannot be imported"),
        (f"{FOREIGN}.nothing:Rule", "cannot be imported"),
        ("tests.__main__:Rule", "public modules"),
    ],
)
def test_only_a_rules_class_of_the_package_is_ever_made(name: str, message: str) -> None:
    foreign_rules.called.clear()
    with pytest.raises(ConfigError, match=message):
        make_rule(name, {}, packages=("tests",))
    assert foreign_rules.called == []


@pytest.mark.parametrize("module", ["os.path", "concurrent.futures.nothing"])
def test_a_module_under_another_name_is_refused(module: str) -> None:
    with pytest.raises(ConfigError, match=r"leads into|cannot be imported"):
        make_rule(f"{module}:Rule", {}, packages=(module.partition(".")[0],))


@pytest.mark.parametrize("quiet", [True, False])
def test_a_foreign_rule_changes_nothing_for_the_others(quiet: bool) -> None:
    """It is judged first and grants all consents; the consent rule and the caller see what was given."""
    entry = {"kind": "eng", "jurisdiction": "any", "source": "a test", "checked_on": "2026-11-22"}
    consent = {"id": "consent", "rule": "consent", **entry}
    foreign = {"id": "W", "rule": f"{FOREIGN}:Writes", "params": {"quiet": quiet}, **entry}
    now_at = instant_of(INSTANTS[0])
    contacts, at = specimen_contacts(CATALOG, 60, now_at), INSTANTS[0]
    kept = contacts.consent.copy()
    plain, _ = Guardrails(pack_from({"name": "p", "version": "1", "rules": [consent]}), CATALOG).eligibility(
        contacts, at
    )
    pack = pack_from({"name": "p", "version": "1", "rules": [foreign, consent]})
    if quiet:
        found, _ = Guardrails(pack, CATALOG, ("tests",)).eligibility(contacts, at)
        assert (found.dense() == plain.dense()).all()
    else:
        with pytest.raises(ConfigError, match="`inputs` of rule W must be left as they are"):
            Guardrails(pack, CATALOG, ("tests",))
    assert np.array_equal(contacts.consent, kept)
    assert all("topic" not in arm.attributes or arm.attributes["topic"] != "written" for arm in CATALOG.arms)


def test_rules_from_packages_must_exist_and_be_rules() -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        make_rule("engine.nothing:Rule", {}, packages=("engine",))
    with pytest.raises(ConfigError, match="is no rule"):
        make_rule("engine.guardrails.rules.frequency:Cap", {"max": 1, "window_s": 1}, packages=("engine",))
    made = make_rule("engine.guardrails.rules.consent:ConsentRule", {}, packages=("engine",))
    assert made.reads == ("consent",)
