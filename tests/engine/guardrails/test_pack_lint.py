"""Lint: a clean pack is clean, and each kind of flaw is found where it is."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

import pytest

from engine.catalog import Arm, Catalog
from engine.guardrails.lint.flaws import Flaw
from engine.guardrails.lint.legal import legal_reference
from engine.guardrails.lint.pack import lint_pack
from engine.guardrails.pack import RuleEntry, read_pack

TODAY = dt.date(2026, 11, 22)
CATALOG = Catalog(name="small", channels=("email", "sms"), hours=(9, 12), arms=(Arm(id="a", approved=True),))
WHENCE = {"kind": "eng", "jurisdiction": "any", "source": "ours", "checked_on": TODAY}
CONSENT = {"id": "C1", "rule": "consent", **WHENCE}


def entry(name: str, params: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": "X1", "rule": name, "params": params, **WHENCE, **changes}


def caps(*pairs: tuple[int | None, int], **scope: Any) -> dict[str, Any]:
    return entry("frequency", {"caps": [{"max": most, "window_s": window, **scope} for most, window in pairs]})


def hours(windows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return entry("quiet_hours", {"windows": windows}, **changes)


def lint(*rules: Any, **options: Any) -> tuple[Flaw, ...]:
    data = {"name": "p", "version": "1", "rules": [CONSENT, *rules]}
    return lint_pack(data, today=TODAY, **options)


def codes(flaws: tuple[Flaw, ...]) -> list[tuple[str, str]]:
    return [(flaw.level, flaw.code) for flaw in flaws]


def test_the_default_pack_is_clean() -> None:
    assert lint_pack(read_pack(), today=TODAY, catalog=None) == ()


def test_a_legal_entry_never_contradicts_its_own_reference() -> None:
    reference = legal_reference()
    assert {"C1", "K1"} <= {one.id for one in reference}
    assert not [flaw for flaw in lint_pack(read_pack(), today=TODAY, reference=reference) if flaw.level == "error"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "shape"),
        ([], "shape"),
        ({"name": "p", "version": "1"}, "shape"),
        ({"name": "p", "version": "1", "rules": []}, "empty"),
        ({"name": "p", "version": "1", "rules": ["C1"]}, "shape"),
        ({"name": "p", "version": "1", "rules": [{**CONSENT, "rule": "suppression"}]}, "consent"),
        ({"name": "p", "version": "1", "rules": [CONSENT, CONSENT]}, "duplicate"),
        ({"name": "p", "version": 1, "rules": [CONSENT]}, "shape"),
    ],
)
def test_what_is_no_pack_is_found(data: Any, code: str) -> None:
    assert ("error", code) in codes(lint_pack(data, today=TODAY))


def test_unknown_keys_are_all_found_with_the_nearest_name() -> None:
    wrong = copy.deepcopy(caps((1, 60)))
    wrong["confidense"] = "V"
    wrong["params"]["caps"][0]["channel"] = ["email"]
    flaws = lint(wrong)
    assert codes(flaws) == [("error", "unknown-key")] * 2
    assert {flaw.where for flaw in flaws} == {"X1", "X1.params.caps[0]"}
    assert {flaw.hint.split("?")[0] for flaw in flaws} == {"did you mean 'confidence'", "did you mean 'channels'"}


def test_unknown_rules_are_found_with_the_nearest_name() -> None:
    (flaw,) = lint(entry("freqency", {}))
    assert (flaw.code, flaw.where) == ("unknown-rule", "X1")
    assert flaw.hint.startswith("did you mean 'frequency'?")


def test_one_flaw_does_not_hide_the_next() -> None:
    wrong = {**caps((5, 60), (1, 3600)), "on_missing": "allow", "source": " ", "colour": 1}
    assert {code for _, code in codes(lint(wrong))} == {"unknown-key", "on-missing", "provenance", "contradiction"}


@pytest.mark.parametrize("key", ["kind", "jurisdiction", "source", "checked_on"])
def test_missing_provenance_is_an_error(key: str) -> None:
    wrong = {name: value for name, value in caps((1, 60)).items() if name != key}
    (flaw,) = lint(wrong)
    assert (flaw.level, flaw.code, flaw.text) == ("error", "provenance", f"`{key}` is missing")


@pytest.mark.parametrize(
    ("checked_on", "found"),
    [(TODAY, 0), (TODAY + dt.timedelta(days=1), 1), (TODAY - dt.timedelta(days=365), 0), (dt.date(2025, 11, 21), 1)],
)
def test_dates_of_the_future_and_older_than_a_year_are_warnings(checked_on: dt.date, found: int) -> None:
    flaws = lint({**caps((1, 60)), "checked_on": checked_on})
    assert codes(flaws) == [("warning", "provenance")] * found


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (caps((3, 86_400), (2, 604_800)), "contradiction"),
        (caps((-1, 86_400)), "params"),
        (hours({"sms": {}}), "never-opens"),
        (hours({"sms": {"mon": []}}), "never-opens"),
        (hours({"sms": {"daily": ["09:00-09:05"]}}), "never-opens"),
        (hours({"sms": {"daily": ["25:00-26:00"]}}), "params"),
        (caps((None, 60)), "never-fires"),
        (caps((1, 60), channels=["fax"]), "never-fires"),
        (entry("frequency", {"caps": [{"max": 1, "window_s": 60}], "applies_to": ["transactional"]}), "never-fires"),
    ],
)
def test_contradictions_and_rules_that_never_fire_are_errors(rule: dict[str, Any], code: str) -> None:
    assert codes(lint(rule, catalog=CATALOG)) == [("error", code)]


@pytest.mark.parametrize(
    "rule",
    [
        caps((2, 86_400), (3, 604_800)),
        caps((0, 86_400), (3, 604_800)),
        hours({"sms": {"daily": ["09:00-09:11"]}}),
        hours({"sms": {"sun": ["23:55-00:06"]}}),
    ],
)
def test_what_holds_together_is_clean(rule: dict[str, Any]) -> None:
    assert lint(rule, catalog=CATALOG) == ()


def test_a_null_beside_numbers_is_a_warning() -> None:
    assert codes(lint(caps((1, 60), (None, 3600)))) == [("warning", "never-fires")]


def test_caps_of_two_entries_are_held_against_each_other() -> None:
    (flaw,) = lint(caps((9, 86_400), channels=["sms"]), {**caps((3, 604_800)), "id": "X2"})
    assert (flaw.where, flaw.code) == ("X1", "contradiction")
    assert "9 per 1 d on sms can never be reached: X2 allows 3 per 7 d on all channels" in flaw.text
    assert lint(caps((9, 86_400)), {**caps((3, 604_800), channels=["sms"]), "id": "X2"}) == ()


def test_hours_that_open_each_but_never_together_are_found() -> None:
    morning = hours({"*": {"daily": ["08:00-12:00"]}})
    evening = hours({"*": {"daily": ["08:00-20:00"]}, "sms": {"daily": ["12:00-20:00"]}}, id="X2")
    (flaw,) = lint(morning, evening)
    assert (flaw.code, flaw.where) == ("never-opens", "X1, X2")
    assert "never open together on sms" in flaw.text
    assert lint(morning, hours({"*": {"daily": ["11:00-20:00"]}}, id="X2")) == ()


def law(rule: dict[str, Any]) -> RuleEntry:
    return RuleEntry(**{**rule, "id": "LAW", "kind": "legal", "confidence": "V"})


@pytest.mark.parametrize(
    ("rule", "reference", "looser"),
    [
        (hours({"*": {"daily": ["09:00-20:00"]}}), hours({"*": {"daily": ["08:00-20:00"]}}), False),
        (hours({"*": {"daily": ["08:00-20:00"]}}), hours({"*": {"daily": ["08:00-20:00"]}}), False),
        (hours({"*": {"daily": ["08:00-20:15"]}}), hours({"*": {"daily": ["08:00-20:00"]}}), True),
        (hours({"*": {"daily": ["09:00-20:00"]}}), hours({"*": {"mon-sat": ["09:00-20:00"]}}), True),
        (caps((3, 86_400)), caps((3, 86_400)), False),
        (caps((2, 604_800)), caps((3, 86_400)), False),
        (caps((5, 86_400)), caps((3, 86_400)), True),
        (caps((3, 3_600 * 12)), caps((3, 86_400)), True),
    ],
)
def test_looser_than_the_law_is_an_error_with_an_example(
    rule: dict[str, Any], reference: dict[str, Any], looser: bool
) -> None:
    flaws = lint(rule, reference=(law(reference),))
    assert codes(flaws) == [("error", "looser-than-law")] * looser
    assert all("LAW" in flaw.text and " to a contact " in flaw.text for flaw in flaws)


def test_a_law_without_any_rule_is_a_warning_of_the_whole_pack_only() -> None:
    reference = (law(caps((3, 86_400))),)
    assert codes(lint(reference=reference)) == [("warning", "law-missing")]
    data = {"rules": [hours({"*": {"daily": ["09:00-20:00"]}})]}
    assert lint_pack(data, today=TODAY, reference=reference, part=True) == ()


def test_places_that_do_not_exist_are_found() -> None:
    flaws = lint(entry("emergency", {"states": ["FL", "Florida", "XX"]}))
    assert codes(flaws) == [("error", "never-fires")] * 2


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (entry("volume", {"max_per_day": 9, "max_per_7d": 5}), "contradiction"),
        (entry("volume", {"max_per_day": None, "max_per_7d": None}), "never-fires"),
        (entry("volume", {"max_per_day": 5, "max_per_7d": None}), ""),
        (entry("volume", {"max_per_day": 5, "max_per_7d": 5}), ""),
    ],
)
def test_limits_per_span(rule: dict[str, Any], code: str) -> None:
    assert codes(lint(rule)) == [("error", code)] * bool(code)


def state_hours(state: str, *windows: str) -> dict[str, Any]:
    law = {"id": "L", "country": "US", "states": [state], "windows": {"daily": list(windows)}, "source": "s"}
    return entry("state_hours", {"hours": [law]}, id="Q2")


def test_hours_wider_than_a_states_are_looser_than_its_law() -> None:
    reference = (law(state_hours("FL", "08:00-20:00")),)
    wide = hours({"*": {"daily": ["08:00-21:00"]}})
    (flaw,) = lint(wide, state_hours("TX", "09:00-20:00"), reference=reference)
    assert (flaw.code, flaw.where) == ("looser-than-law", "Q2")
    assert "sms" in flaw.text
    assert flaw.text.endswith("a contact of FL")
    assert lint(hours({"*": {"daily": ["08:00-20:00"]}}), state_hours("TX", "09:00-20:00"), reference=reference) == ()


def test_hours_that_a_state_and_the_pack_never_share_are_found_with_the_state() -> None:
    (flaw,) = lint(hours({"*": {"daily": ["08:00-12:00"]}}), state_hours("FL", "12:00-20:00"))
    assert (flaw.code, flaw.where) == ("never-opens", "X1, Q2")
    assert "on sms for contacts of FL" in flaw.text


def test_a_higher_cap_per_topic_than_a_states_is_looser_than_its_law() -> None:
    reference = (law(entry("topic_cap", {"max": 3, "window_s": 86_400, "states": ["FL", "OK"]})),)
    (flaw,) = lint(entry("topic_cap", {"max": 4, "window_s": 86_400, "states": ["FL", "OK"]}), reference=reference)
    assert flaw.code == "looser-than-law"
    assert "to a contact of FL with 3 sends 1 h ago on email" in flaw.text
    assert lint(entry("topic_cap", {"max": 3, "window_s": 86_400}), reference=reference) == ()
    assert lint(caps((3, 86_400)), reference=reference) == ()


@pytest.mark.slow
def test_each_shipped_legal_entry_is_missed_where_nothing_else_holds_it() -> None:
    """Of entries that no default number covers: taking the law out of a pack of laws is seen."""
    reference = legal_reference()
    data = {"name": "laws", "version": "1"}
    seen = {}
    for law in reference:
        others = [one for one in reference if (one.rule, one.params) != (law.rule, law.params)]
        rules = [{**entry_of(one), "id": f"{one.id}-{position}"} for position, one in enumerate(others)]
        flaws = lint_pack({**data, "rules": rules}, today=TODAY, reference=reference)
        seen[law.id] = any(flaw.code in {"looser-than-law", "law-missing"} for flaw in flaws)
    # An emergency that nobody declared removes nothing yet.
    assert {name for name, missed in seen.items() if not missed} <= {"O13"}


def entry_of(law: RuleEntry) -> dict[str, Any]:
    return {name: getattr(law, name) for name in RuleEntry.__struct_fields__}
