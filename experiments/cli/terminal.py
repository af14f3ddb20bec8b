"""What reaches the terminal: names and values come from files of others, so they may show themselves and do nothing.

An escape sequence could rewrite the lines above it, a line end forge a message of ours, a change of writing direction
show another name than the one that is there, and `[link=...]` is markup to the printing library. JSON is not touched:
it escapes what it must, and its readers want the exact text.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import unicodedata
from typing import Any, Final, NoReturn, TextIO

from rich.console import Console
from rich.text import Text

# Of the invisible characters only the joiners of scripts and emoji belong into a name.
_JOINERS: Final = "\u200c\u200d"
_BREAKS: Final = re.compile(r"[ \t]*(?:\r?\n|\t)[ \t\r\n]*")
_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with every control, invisible and direction character as its escape: "\x1b", "\u202e".

    Args:
        text: any text, wherever it comes from.
        lines: keep line ends.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character, lines) for character in text)


def one_line(text: str) -> str:
    """The text as one line: line ends and tabs become spaces, everything else as of `printable`."""
    return printable(_BREAKS.sub(" ", text).strip(" "))


def _shown(character: str, lines: bool) -> str:
    if character == "\n" and lines:
        return character
    if character in _JOINERS or unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class PlainConsole(Console):
    """A console that shows strings as they are: no markup, no emoji codes, no control characters.

    Every string passes through `render_str`, whether it is printed, a cell of a table, its header or its title.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """See `rich.console.Console.render_str`."""
        options.update(markup=False, emoji=False)
        return super().render_str(printable(text, lines=True), **options)

    def on_broken_pipe(self) -> NoReturn:
        """An error as that of any other stream; the library would leave with 1 and say nothing."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class ErrorConsole(PlainConsole):
    """Standard error: what cannot be said there is not said, and changes no exit code."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def print(self, *objects: Any, **options: Any) -> None:
        """See `rich.console.Console.print`."""
        try:
            super().print(*objects, **options)
        except (OSError, ValueError):
            # Full, closed, or a terminal that is gone.
            return


def forgiving(stream: TextIO | Any) -> None:
    """Let a stream of another encoding than UTF-8 show what it cannot write as escapes, instead of failing."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and stream.encoding.lower().replace("-", "") != "utf8":
        reconfigure(errors="backslashreplace")


def write_json(text: str) -> None:
    """Write one JSON object to standard output in UTF-8, whatever the locale says."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        sys.stdout.flush()
        reconfigure(encoding="utf-8", errors="strict")
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
