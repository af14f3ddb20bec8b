"""Opt-outs as people write them, and what is none although it looks like one: two collections, in both directions."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.optout.classify import LONGEST, classify
from engine.optout.own_text import READ, own_text

HERE = Path(__file__).parent


def _replies(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").split("\n")
    return [
        re.sub(r"\\(n|r|u[0-9a-f]{4})", lambda found: _sign(found[1]), line)
        for line in lines
        if line and not line.startswith("# ")
    ]


def _sign(name: str) -> str:
    return {"n": "\n", "r": "\r"}.get(name) or chr(int(name[1:], 16))


STOPS = _replies("opt_out_replies.txt")
OTHERS = _replies("other_replies.txt")


def test_no_opt_out_is_missed_and_most_are_certain() -> None:
    """Recall is 1: whatever is not said outright is at least in doubt."""
    read = {text: classify(text) for text in STOPS}
    assert len(read) >= 400
    assert [text for text, found in read.items() if found.verdict not in ("stop", "doubt")] == []
    assert Counter(found.verdict for found in read.values())["stop"] >= 0.85 * len(read)


def test_nothing_else_is_a_stop_and_little_is_in_doubt() -> None:
    read = {text: classify(text.removeprefix("?? ")).verdict for text in OTHERS}
    assert len(read) >= 400
    assert [text for text, verdict in read.items() if verdict == "stop"] == []
    doubtful = [text for text, verdict in read.items() if verdict == "doubt" and not text.startswith("?? ")]
    assert len(doubtful) <= 0.01 * len(read), doubtful


def test_replies_that_were_missed_and_false_alarms(shared_data: Path) -> None:
    faults = shared_data / "faults"
    for line in filter(None, (faults / "optout_missed.txt").read_text(encoding="utf-8").split("\n")):
        assert classify(line).verdict in ("stop", "doubt"), line
    for line in filter(None, (faults / "optout_false_alarms.jsonl").read_text(encoding="utf-8").split("\n")):
        assert classify(json.loads(line)).verdict == "none", line


def _one_letter_off(word: str) -> set[str]:
    letters = string.ascii_lowercase
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    inserted = {before + letter + after for before, after in cuts for letter in letters}
    changed = {before + letter + after[1:] for before, after in cuts if after for letter in letters}
    dropped = {before + after[1:] for before, after in cuts if after}
    swapped = {before + after[1] + after[0] + after[2:] for before, after in cuts if len(after) > 1}
    return inserted | changed | dropped | swapped


# One letter from a word of law, but replies of their own.
_OWN = {"shop", "step", "top", "quiet", "quite"}


@pytest.mark.parametrize(
    "keyword", ["stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe", "stopall", "optout"]
)
def test_a_slip_of_one_letter_hides_no_word_of_the_law(keyword: str) -> None:
    missed = {word for word in _one_letter_off(keyword) if classify(word).verdict not in ("stop", "doubt")}
    assert missed - {"opt but"} <= _OWN


@pytest.mark.parametrize(
    ("reply", "verdict", "how"),
    [
        ("STOP2END", "stop", "misspelling"),
        ("no more plz", "stop", "phrase"),
        ("un-sub", "stop", "keyword"),
        ("\U0001f6d1", "stop", "sign"),
        ("\U0001f6ab", "doubt", "sign"),
        ("შეწყვეტა", "doubt", "unknown"),
        ("Kérem ne küldjenek többet", "doubt", "unknown"),
        ("when will this stop", "doubt", "mentioned"),
        ("if you don't stop texting I will tell my lawyer", "doubt", "mentioned"),
        ("", "doubt", "empty"),
        (" \u200b\n", "doubt", "empty"),
        ("> Our sale", "doubt", "empty"),
        ("Hello\n-- \nplease stop", "doubt", "below"),
        ("Sent from my iPhone stop", "doubt", "below"),
        ("Loved \u201cOur sale and then stop", "doubt", "below"),
        ("the shop " * LONGEST, "doubt", "long"),
    ],
)
def test_why_a_reply_closes(reply: str, verdict: str, how: str) -> None:
    found = classify(reply)
    assert (found.verdict, found.how) == (verdict, how)


def test_a_reaction_alone_is_no_opt_out_and_one_with_words_is_read() -> None:
    reaction = "Emphasized \u201cSale. Reply STOP to end\u201d"
    assert classify(reaction).verdict == "none"
    assert classify(f"{reaction}\nSTOP").verdict == "stop"
    assert own_text(f"{reaction} stop").text == "stop"


def test_a_long_quotation_leaves_no_doubt_but_an_answer_below_it_does() -> None:
    """What is cut off is the quotation; its last line may still be an answer."""
    reply = "Thanks!\n\n-----Original Message-----\nFrom: Shop\n" + "Our summer sale.\n" * 5000
    assert classify(reply).verdict == "none"
    assert classify(reply + "Unsubscribe here").verdict == "none"
    assert classify(reply + "please stop").verdict == "doubt"
    assert classify("> Our summer sale.\n" * 5000 + "thanks").verdict == "doubt"


def test_an_answer_below_marked_lines_is_the_persons() -> None:
    assert own_text("> Sale. Unsubscribe\nthanks\n> more").text == "thanks"
    assert classify("On Mon, 1 Jun 2026 Shop wrote:\n> Sale\n\nplease stop").verdict == "stop"


@given(st.text(alphabet="<>\u201c\u201d\"'|-_=:. \nOnwrote1@&;divstop", max_size=400))
def test_taking_a_reply_apart_invents_nothing(reply: str) -> None:
    """Only white space and signs may be new; and it never fails."""
    own = own_text(reply)
    assert len(own.text) <= len(reply) + reply.count("<") + reply.count("\n") + 2
    assert classify(reply) == classify(reply)


@given(st.sampled_from(["stop", "unsubscribe", "opt out"]), st.sampled_from(["> Sale\n> Unsubscribe", "-- \nJane"]))
def test_what_stands_below_hides_no_stop(keyword: str, below: str) -> None:
    for text in (keyword, keyword.upper(), f"{keyword}!", f"please {keyword}"):
        assert classify(f"{text}\n\n{below}").verdict == "stop"


@pytest.mark.parametrize("piece", ["\u201c", "<", "<div ", "On 1 @ ", "On 1\n", "&lt;", "a\n\n", "dont want to ", '"'])
def test_the_work_of_a_reply_is_bounded(piece: str) -> None:
    """A reply of megabytes is read like one of as many characters as are looked at, and is not let through."""
    reply = piece * (4 * READ)
    assert own_text(reply).cut
    assert len(own_text(reply).text) <= READ + reply[:READ].count("<") + 1
    assert classify(reply).verdict in ("stop", "doubt")
