"""Replies: every labelled one is read as it should be, in both directions, and nothing breaks the reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.optout.classify import Reading, classify
from engine.optout.lists import lists_from, load_lists
from engine.optout.words import edits, words_of

PHRASES = Path(__file__).with_name("phrases.txt")
ROWS = [
    line.split("\t", 1) for line in PHRASES.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")
]


def test_the_table_holds_both_directions() -> None:
    labels = [label for label, _ in ROWS]
    assert len(ROWS) >= 150
    assert min(labels.count("stop"), labels.count("none")) >= 75


def test_precision_and_recall(capsys: pytest.CaptureFixture[str]) -> None:
    """On a table that was also used to write the lists: an upper bound, not an estimate for replies to come."""
    read = [(label, classify(text).verdict) for label, text in ROWS]
    hits = sum(label == verdict == "stop" for label, verdict in read)
    said, meant = (sum(pair[side] == "stop" for pair in read) for side in (1, 0))
    with capsys.disabled():
        print(f"\nopt-out: precision {hits / said:.3f}, recall {hits / meant:.3f} on {len(read)} replies")
    assert hits == meant
    assert hits >= 0.98 * said


@pytest.mark.parametrize(("label", "text"), ROWS, ids=[text[:40] for _, text in ROWS])
def test_every_labelled_reply(label: str, text: str) -> None:
    assert classify(text).verdict == label


@pytest.mark.parametrize(
    ("text", "evidence", "how"),
    [
        ("STOP", "stop", "keyword"),
        ("Please STOP texting me", "please stop", "phrase"),
        ("stpo", "stop", "misspelling"),
        ("stop or I will complain", "stop", "leading"),
        ("do not ever text me", "do not ever text", "phrase"),
        ("HELP", "help", "keyword"),
        ("start", "start", "keyword"),
        ("hello", "", ""),
    ],
)
def test_the_evidence_is_named(text: str, evidence: str, how: str) -> None:
    reading = classify(text)
    assert (reading.evidence, reading.how) == (evidence, how)


@pytest.mark.parametrize(
    "text", ["yes stop", "start? no, stop", "YES STOP", "unstop stop", "yes please", "start me up"]
)
def test_only_a_single_word_subscribes_again(text: str) -> None:
    assert classify(text).verdict != "start"


@pytest.mark.parametrize(
    "keyword",
    [
        "stop",
        "quit",
        "end",
        "revoke",
        "opt out",
        "cancel",
        "unsubscribe",
        "stopall",
        "optout",
        "arret",
        "opt-out",
        "remove",
        "td",
    ],
)
@pytest.mark.parametrize(
    "form", ["{}", "{}!", " {} ", "please {}", "{} please", "{}\n", "\u201c{}\u201d", "{}\u200b", "ok {}"]
)
def test_every_keyword_of_law_and_carriers_in_every_dress(keyword: str, form: str) -> None:
    for text in (form.format(keyword), form.format(keyword.upper()), form.format(keyword.title())):
        assert classify(text).verdict == "stop", text


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    """No text breaks the reader, and the same text is read the same way twice."""
    assert classify(text) == classify(text)
    assert classify(text).verdict in {"stop", "doubt", "start", "help", "none"}


@given(
    st.sampled_from(["stop", "unsubscribe", "cancel"]), st.text(alphabet=" \t\n.,!?-_*~\u200b\u00a0\ufeff", max_size=12)
)
def test_what_cannot_be_seen_hides_nothing(keyword: str, around: str) -> None:
    assert classify(around + keyword + around).verdict == "stop"


def test_long_texts_are_read_from_the_beginning() -> None:
    assert classify("stop " + "x" * 1_000_000).verdict == "stop"
    assert classify("x" * 1_000_000) == Reading("doubt", how="long")


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("stop", "stop", 0),
        ("stop", "stpo", 1),
        ("stop", "stp", 1),
        ("stop", "shop", 1),
        ("stop", "start", 3),
        ("", "ab", 2),
    ],
)
def test_edits_by_hand(first: str, second: str, distance: int) -> None:
    assert edits(first, second, 3) == distance
    assert edits(second, first, 3) == distance


def test_words_are_plain() -> None:
    assert words_of("\uff33.\uff34.\uff2f.\uff30, s'il vous PLAÎT!") == ["stop", "sil", "vous", "plait"]


def test_lists_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "lists.yaml"
    path.write_text("sources: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no opt-out lists"):
        load_lists(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_lists(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="unknown field"):
        lists_from({"colour": 1})
