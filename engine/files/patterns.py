"""Regular expressions that a user wrote, run by an engine whose time grows with the text alone (RE2).

Python's own engine takes years over `(a+)+$` and thirty letters. RE2 knows neither look-around nor back-references.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import ParameterError

_PROBE = pa.array([""])


def check_one_group(pattern: str, *, owner: str) -> None:
    """Refuse a pattern that RE2 does not take, or that has another number of groups than one.

    Raises:
        ParameterError: says what RE2 says.
    """
    try:
        pc.match_substring_regex(_PROBE, pattern)
        pc.replace_substring_regex(_PROBE, pattern, r"\1")
    except pa.ArrowInvalid as error:
        if "Rewrite" in str(error):
            raise ParameterError("pattern", owner, allowed="with exactly one group", got=pattern) from error
        raise ParameterError("pattern", owner, allowed=f"a regular expression ({error})", got=pattern) from error
    try:
        pc.replace_substring_regex(_PROBE, pattern, r"\2")
    except pa.ArrowInvalid:
        return
    raise ParameterError("pattern", owner, allowed="with exactly one group", got=pattern)


def first_groups(pattern: str, texts: Sequence[str]) -> list[str]:
    """The group of each text that a pattern of one group matches in full, in order."""
    whole = f"^(?:{pattern})$"
    column = pa.array(texts, pa.string())
    matching = column.filter(pc.match_substring_regex(column, whole))
    groups: list[str] = pc.replace_substring_regex(matching, whole, r"\1").to_pylist()
    return groups
