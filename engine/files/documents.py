"""JSON and yaml that somebody gave, decoded within limits: depth, size, repeated keys, expansion of aliases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final, NoReturn

import yaml

DEEPEST: Final = 64
"""Levels of lists and tables inside each other."""
MOST_NODES: Final = 50_000
"""Values of a yaml document, each alias counted with everything that it stands for."""
LONGEST_YAML: Final = 1 << 20
"""Characters of a yaml document."""


_MERGE: Final = "tag:yaml.org,2002:merge"
_LARGEST_INTEGER: Final = 2**64


class Number(str):
    """A number of a JSON document as its own digits, so that it is told from a text that looks like one."""

    __slots__ = ()


def decode_json(text: str | bytes, *, digits: bool = False) -> Any:
    """Decode one JSON document.

    Args:
        text: the document; bytes are UTF-8.
        digits: keep numbers as `Number`, digit by digit; NaN and Infinity too, for who reads the cell to refuse.

    Raises:
        ValueError: no JSON, a key twice in one object, NaN or Infinity, a number too long, deeper than `DEEPEST`, or
            half of a surrogate pair.
    """
    if isinstance(text, bytes):
        text = text.decode()
    number = Number if digits else None
    try:
        found = json.loads(
            text, object_pairs_hook=_table, parse_float=number, parse_int=number, parse_constant=number or _no_constant
        )
    except RecursionError as error:
        raise ValueError(f"deeper than {DEEPEST} levels") from error
    # Counting brackets is quick, and only many of them can be deep.
    if text.count("[") + text.count("{") > DEEPEST and _too_deep(found):
        raise ValueError(f"deeper than {DEEPEST} levels")
    if "\\u" in text:
        # An escaped half of a surrogate pair is JSON, but no text that a file can hold.
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"key {twice!r} is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return False
    return True


def _inner(value: Any) -> Iterable[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in inner if isinstance(one, (dict, list))]


class YamlLimitError(yaml.YAMLError):
    """A yaml document beyond the limits."""


def load_yaml(document: str | bytes | IO[str]) -> Any:
    """Decode a yaml document of plain values; a key that is given twice is an error.

    Raises:
        yaml.YAMLError: no yaml, or beyond the limits (size, depth, aliases, numbers too long).
    """
    text = document if isinstance(document, (str, bytes)) else document.read()
    if len(text) > LONGEST_YAML:
        raise YamlLimitError(f"longer than {LONGEST_YAML} characters")
    try:
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader))
        return yaml.load(text, Loader=UniqueKeys)  # noqa: S506 (a subclass of SafeLoader)
    except yaml.YAMLError:
        raise
    except (ValueError, OverflowError, RecursionError, TypeError) as error:
        # A number of thousands of digits, a date that no calendar has, a list as a key.
        raise YamlLimitError(f"a value that cannot be read: {error}") from error


def _check_events(events: Iterator[yaml.Event]) -> None:
    """Refuse depth before anything recurses, and aliases before anything is expanded."""
    sizes: dict[str, int] = {}
    stack: list[list[Any]] = []
    total = 0
    for event in events:
        size = 0
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append([event.anchor, 1])
            if len(stack) > DEEPEST:
                raise YamlLimitError(f"deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = stack.pop()
            sizes[anchor or ""] = size
        elif isinstance(event, yaml.ScalarEvent):
            size = sizes[event.anchor or ""] = 1
        elif isinstance(event, yaml.AliasEvent):
            size = sizes.get(event.anchor or "", MOST_NODES)
        if stack:
            stack[-1][1] += size
            total = stack[-1][1]
        if total > MOST_NODES:
            raise YamlLimitError(f"more than {MOST_NODES} values, aliases counted with what they stand for")


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is given twice: yaml itself would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float)) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            if isinstance(key, (str, int, float)):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if abs(value) >= _LARGEST_INTEGER:
            raise yaml.constructor.ConstructorError(None, None, "an integer of more than 64 bits", node.start_mark)
        return value


UniqueKeys.add_constructor("tag:yaml.org,2002:int", UniqueKeys.construct_yaml_int)
