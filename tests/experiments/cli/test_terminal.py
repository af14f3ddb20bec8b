"""What reaches the terminal: strings of others are shown, and do nothing."""

from __future__ import annotations

import contextlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from engine.errors import DataError
from experiments.cli.console import errors, guarded, show
from experiments.cli.terminal import one_line, printable
from experiments.judge.promotion import RollbackOutput
from experiments.report.words import amount, between, percent, unbroken

NASTY = {
    "an escape sequence": ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    "a title of the window": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "the one-byte form": ("\x9b2J", "\\x9b2J"),
    "a carriage return": ("good\rbad", "good\\x0dbad"),
    "backspaces": ("pay\x08\x08\x08", "pay\\x08\\x08\\x08"),
    "delete": ("a\x7f", "a\\x7f"),
    "another direction": ("gnp\u202etxt.exe", "gnp\\u202etxt.exe"),
    "an isolate": ("\u2066a\u2069", "\\u2066a\\u2069"),
    "invisible letters": ("a\u200bd\ufeffmin", "a\\u200bd\\ufeffmin"),
    "a line separator": ("a\u2028b", "a\\u2028b"),
    "a tag": ("a\U000e0041", "a\\U000e0041"),
    "bytes that were no text": ("a\udcff", "a\\udcff"),
    "colour markup": ("[red]a[/red]", "[red]a[/red]"),
    "a link": ("[link=http://example.org]a[/link]", "[link=http://example.org]a[/link]"),
    "markup that never opened": ("a[/b]", "a[/b]"),
    "a code of an emoji": (":smile:", ":smile:"),
    "letters of every script": ("Zoë 试 عربي \U0001f468\u200d\U0001f469", "Zoë 试 عربي \U0001f468\u200d\U0001f469"),
}
FORBIDDEN = [chr(code) for code in (*range(0x0A), *range(0x0B, 0x20), *range(0x7F, 0xA0))]


def output(**changes: object) -> RollbackOutput:
    return RollbackOutput(**{"live": "l", "version": "v", "previous": "p", "sequence": 1, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NASTY)
def test_strings_are_shown_as_they_are_in_every_place(name: str) -> None:
    raw, shown = NASTY[name]
    table = Table(raw, title=f"T {raw}", caption=f"C {raw}")
    table.add_column(f"H {raw}")
    table.add_row(f"1 {raw}", f"2 {raw}")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        show(output(), [table], [f"line {raw}"], as_json=False)
        errors.print(raw)
        with contextlib.suppress(Exception), guarded(as_json=False):
            raise DataError(raw, hint=raw)
    for text, times in ((out.getvalue(), 7), (err.getvalue(), 3)):
        assert text.count(shown) >= times, text
        assert not any(character in text for character in FORBIDDEN)
        assert not any(0x202A <= ord(character) <= 0x202E for character in text)
    assert f"error: {shown}\nhint: {shown}\n" in err.getvalue()


@pytest.mark.parametrize("name", NASTY)
def test_json_is_exact(name: str) -> None:
    raw, _ = NASTY[name]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show(output(version=raw), [], [], as_json=True)
    assert json.loads(out.getvalue())["version"] == raw
    assert "\x1b" not in out.getvalue()


def test_a_line_end_forges_no_message() -> None:
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.suppress(Exception), guarded(as_json=False):
        raise DataError("no action 'a\nerror: all is well\r\n\thint: go on'")
    assert err.getvalue() == "error: no action 'a error: all is well hint: go on'\n"


def test_our_own_signs_reach_the_terminal_as_they_are() -> None:
    """Only a character of the user's may need an escape; a page gets the joiner that no terminal shows."""
    for unit in ("share", "usd", "count"):
        for text in (amount(-0.25, unit, signed=True), between(-2.5, -0.25, unit, signed=True), percent(0.0004)):
            assert printable(text) == text
    assert printable("a\u2060b") == "a\\u2060b"
    assert unbroken(f"<b>{amount(-0.25, 'usd')}</b>") == "<b>\u2212\u2060$0.250</b>"


@given(st.text())
def test_nothing_but_visible_text_and_joiners(text: str) -> None:
    shown = one_line(text)
    assert "\n" not in shown
    assert all(character.isprintable() or character in "\u200c\u200d" or character.isspace() for character in shown)
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text.strip(" ")
