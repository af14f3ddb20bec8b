"""Every error that Tactful raises on purpose, with the exit code that the command line returns for it.

TactfulError                     1   itself: an error that is none of these, a defect
|-- ParameterError (ValueError)  2   an argument outside its allowed range
|-- ConfigError                  4   a yaml or an override that cannot be used
|-- DataError                    3   rows, files or columns that cannot be used
|   |-- LogFormatError           3   a file that is no log of ours, empty or truncated
|   |   `-- MisnamedActionError  3   rows whose actions do not belong to the catalog of their file
|   `-- MissingPropensityError   3   an exact estimate asked of a log without propensities
|-- EligibilityError             6   an empty eligible set, or a guardrail layer that must not start
|-- LearnError                   7   training failed; the policy stays what it was
|-- ArtefactError                7   a trained folder that is damaged, foreign or fails parity
|-- StorageError                 5   the store did not accept a write; nothing counts as written
|-- GateError                    8   a gate refused; what is live stays live
`-- UnsettledError               9   sends were taken and nobody has said whether they left
"""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar, Final

_LONGEST_VALUE: Final = 300
_LONGEST_MESSAGE: Final = 4000
# Scalars and arrays as numpy writes them: np.float64(3.0), np.str_('x'), np.True_, array([1, 2], dtype=int32).
_QUOTED: Final = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^()'"])*"""
_SCALAR: Final = re.compile(
    rf"\bnp\.(?:\w*(?:int|float|long|complex)\w*|bool_?|str_|bytes_|datetime64|timedelta64|half|single|double)"
    rf"\(({_QUOTED})\)"
)
_TRUTH: Final = re.compile(r"\bnp\.(True|False)_")
_ARRAY: Final = re.compile(rf"\barray\((\[{_QUOTED}\])(?:, (?:dtype|shape)=[^()]*(?:\([^()]*\))?)*\)")

_NUMBERED: Final = re.compile(r"\[errno -?\d+\]", re.IGNORECASE)
_PART: Final = re.compile(r"(?<![^/'\"\s(`])\.([^/\n]+?)\.\d+-\d+\.(?:part|old)\b")

# The names that msgspec has for types, in words.
_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "keys with values",
}


def plain(text: str) -> str:
    """The text with the values that numpy wraps in it as a person writes them: 3.0 for np.float64(3.0)."""
    if "np." in text:
        text = _TRUTH.sub(r"\1", _SCALAR.sub(r"\1", text))
    return _ARRAY.sub(r"\1", text) if "array(" in text else text


def shown(value: Any) -> str:
    """A value in an error: its `repr`, plain and of bounded length."""
    try:
        text = plain(repr(value))
    except ValueError:
        # Python refuses to write out an integer of thousands of digits.
        text = f"<{type(value).__name__} too long to show>"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def reason_of(error: BaseException) -> str:
    """What an error of the system or of a library says, without numbers of errors and temporary names of files."""
    text = str(error)
    if isinstance(error, OSError):
        text = error.strerror or text
        if error.errno is not None and _NUMBERED.search(text):
            # A library that repeats the system's words after words of its own.
            text = os.strerror(error.errno)
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        # Of yaml, which calls every text that it is given "<unicode string>".
        text = f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', None) or text}"
    return placed(types_in_words(text) if text.startswith("Expected `") else text)


def types_in_words(expected: str) -> str:
    """Msgspec's words for what it wants: "`int | null` >= 1" is "a whole number or null >= 1"."""
    return re.sub(
        r"`(.*?)`", lambda found: " or ".join(_WORDS.get(one, one) for one in found[1].split(" | ")), expected
    )


def placed(text: str) -> str:
    """The text with files that are being written under the names that they will have (`engine.storage.parts`)."""
    return _PART.sub(r"\1", text)


class TactfulError(Exception):
    """Base of the tree: a message, and a hint that says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        message = plain(message)
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}..."
        super().__init__(message)
        self.message = message
        self.hint = plain(hint)

    def rename(self, name: str, known: str) -> None:
        """Say the name that the user knows for one that the program made up."""
        self.message, self.hint = self.message.replace(name, known), self.hint.replace(name, known)
        self.args = (self.message,)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the error says: not every kind can be made again from its own arguments."""
        return _as_it_was, (type(self), self.args), self.__dict__

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


def _as_it_was(kind: type[TactfulError], args: tuple[Any, ...]) -> TactfulError:
    return kind.__new__(kind, *args)


class ParameterError(TactfulError, ValueError):
    """An argument outside its allowed range, in one template.

    Args:
        parameter: the argument's name, as the caller wrote it.
        owner: the class, function or command that takes it.
        allowed: the allowed values in words ("in [0, 1]").
        got: what was given; `shown`.
        hint: what to do about it.
    """

    exit_code = 2

    def __init__(self, parameter: str, owner: str, *, allowed: str, got: Any, hint: str = "") -> None:
        super().__init__(f"`{parameter}` of {owner} must be {allowed}, got {shown(got)}", hint=hint)
        self.parameter = parameter


class ConfigError(TactfulError):
    """A yaml file or an override that cannot be used."""

    exit_code = 4


class DataError(TactfulError):
    """Rows, files or columns that cannot be used."""

    exit_code = 3


class LogFormatError(DataError):
    """A file that is no log of ours: empty, truncated, or without the log's metadata."""


class MisnamedActionError(LogFormatError):
    """Rows whose actions do not belong to the catalog of their file: the index would be read as another action."""


class MissingPropensityError(DataError):
    """An exact estimate was asked of a log without propensities."""


class EligibilityError(TactfulError):
    """An empty eligible set, or a guardrail layer that must not start."""

    exit_code = 6


class LearnError(TactfulError):
    """Training failed; the policy stays what it was."""

    exit_code = 7


class ArtefactError(TactfulError):
    """A trained folder that is damaged, foreign, or fails its parity check."""

    exit_code = 7


class StorageError(TactfulError):
    """The store did not accept a write; nothing counts as written."""

    exit_code = 5


class GateError(TactfulError):
    """A gate refused; what is live stays live."""

    exit_code = 8


class UnsettledError(TactfulError):
    """Sends were taken and nobody has said whether they left; all else of the call was done."""

    exit_code = 9
