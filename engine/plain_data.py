"""JSON and yaml as people write them, with every key once: of two values under one key nobody knows which was meant."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any, Final

import msgspec
import yaml

# A key is followed by a colon; a blank between them is rare, and makes keys harder to count.
_SPACED: Final = re.compile(rb'"\s+:')
_decode: Final = msgspec.json.Decoder().decode


class DuplicateKeyError(ValueError):
    """A key that stands twice in one object."""

    def __init__(self, key: object) -> None:
        super().__init__(f"key {key!r} is given twice in one object")


def unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON text, for `json.loads(object_pairs_hook=...)`.

    Raises:
        DuplicateKeyError: a key that stands twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise DuplicateKeyError(next(name for name in names if names.count(name) > 1))
    return found


def read_json(text: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        DuplicateKeyError: a key that stands twice in one object, at any depth.
        msgspec.MsgspecError: no JSON.
    """
    value = _decode(text)
    # The fast decoder keeps the last of two values; as many keys in the text as in what was decoded means none twice.
    if text.count(b'":') != _keys(value) or _SPACED.search(text) is not None:
        json.loads(text, object_pairs_hook=unique_object)
    return value


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_keys(one) for one in value.values() if isinstance(one, dict | list))
    if isinstance(value, list):
        return sum(_keys(one) for one in value if isinstance(one, dict | list))
    return 0


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, which of two values under one key would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = None if key_node.tag == "tag:yaml.org,2002:merge" else self.construct_object(key_node, deep=True)
            if key is not None and isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        "while reading a mapping", node.start_mark, f"key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str) -> Any:
    """The plain data of a yaml (or JSON) text: dicts, lists and scalars.

    Raises:
        yaml.YAMLError: no yaml, or a key that stands twice in one mapping.
    """
    return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a safe loader
