"""Names as people write them: what is the same, what is near, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ParameterError
from engine.names import (
    channel_of,
    codes_of,
    did_you_mean,
    found,
    known_channel,
    known_name,
    known_names,
    may_mean,
    name_key,
    usual_channel,
)

CHANNELS = ("email", "sms", "push")


@pytest.mark.parametrize(
    "written",
    [
        "hard_bounce",
        "HARD_BOUNCE",
        " hard bounce\t",
        "hard-bounce",
        "hard\u2011bounce",
        "hard\u2212bounce",
        "".join(chr(ord(one) + 0xFEE0) for one in "hard_bounce"),
        "hard\u200b_bounce",
        "hard\u00ad_bo\ufe0funce",
        "hard\u00a0bounce\x00",
        "h\u0430rd_b\u043eunce",
        "hardbounce",
    ],
)
def test_case_width_separators_and_hidden_characters_make_no_other_name(written: str) -> None:
    assert found(written, ("hard_bounce", "soft_bounce")) == "hard_bounce"


def test_composed_and_decomposed_letters_are_one_name() -> None:
    assert name_key("cafe\u0301") == name_key("caf\u00e9") != name_key("cafe")


def test_the_very_text_wins_where_two_names_have_one_key() -> None:
    assert found("A", ("a", "A")) == "A"
    assert found("a ", ("a", "A")) is None


def test_a_name_of_separators_alone_keeps_a_key() -> None:
    assert name_key("--") != name_key("__")
    assert name_key("") == ""


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ParameterError, match=r"`kind` of Event must be one of open, click, got 'clik'.*'click'"):
        known_name("clik", ("open", "click"), owner="Event", parameter="kind")
    with pytest.raises(ParameterError, match="got 3"):
        known_name(3, ("open",), owner="Event", parameter="kind")
    assert known_names(["Open", "OPEN", "click"], ("open", "click"), owner="x", parameter="y") == ("open", "click")


@pytest.mark.parametrize(
    ("written", "channel"),
    [
        ("SMS", "sms"),
        ("Text", "sms"),
        ("text message", "sms"),
        ("e-mail", "email"),
        ("E\u2010Mails", "email"),
        ("push-notification", "push"),
        ("mail", None),
        ("kiosk", None),
        ("emial", None),
    ],
)
def test_channels_have_other_names_and_nothing_is_guessed(written: str, channel: str | None) -> None:
    assert channel_of(written, CHANNELS) == channel


def test_a_catalog_may_use_another_name_of_a_channel() -> None:
    assert channel_of("sms", ("Text", "email")) == "Text"
    assert channel_of("txt", ("text", "sms")) is None  # either may be meant
    assert usual_channel("TEXT") == "sms"
    assert usual_channel("Kiosk") == "Kiosk"


def test_a_usual_channel_that_the_catalog_lacks_is_a_channel_and_a_misspelt_one_is_not() -> None:
    assert known_channel("Push", ("email",), owner="rule", parameter="channels") == "push"
    assert known_channel("KIOSK", ("kiosk",), owner="rule", parameter="channels") == "kiosk"
    with pytest.raises(ParameterError, match=r"'emial'.*did you mean 'email'"):
        known_channel("emial", ("email",), owner="rule", parameter="channels")


@pytest.mark.parametrize(
    ("written", "known", "meant"),
    [
        ("Fashion", {"fashion", "food"}, {"fashion"}),
        ("fahsion", {"fashion", "food"}, {"fashion"}),
        ("saleing", {"saleings", "saling"}, {"saleings", "saling"}),
        ("sael", {"sale", "sail"}, {"sale", "sail"}),
        ("coats", {"hats"}, set()),
        ("sale", {"sale", "sail"}, {"sale"}),
        ("week_12", {"week_13"}, set()),
        ("offer a", {"offer_b"}, set()),
        ("a", {"b"}, set()),
        ("garden", {"fashion"}, set()),
    ],
)
def test_what_speaks_against_a_send_is_also_heard_misspelt(written: str, known: set[str], meant: set[str]) -> None:
    assert may_mean(written, known) == meant


def test_codes_tell_none_from_unknown() -> None:
    codes = codes_of([None, "SMS", "smss"], ("email", "sms"), none=-2, unknown=-1)
    assert codes.tolist() == [-2, 1, -1]
    assert codes_of(["text"], ("email", "sms"), none=-2, unknown=-1, meant=channel_of).tolist() == [1]


def test_a_hint_names_the_nearest_or_nothing() -> None:
    assert did_you_mean("EXPIRES", ("expires_at", "at")) == "did you mean 'expires_at'? "
    assert did_you_mean("xyz", ("expires_at",)) == ""


@given(st.text(max_size=40))
def test_a_key_is_stable(text: str) -> None:
    assert name_key(name_key(text)) == name_key(text)
    assert name_key(f" {text}\t\u200b") == name_key(text)
