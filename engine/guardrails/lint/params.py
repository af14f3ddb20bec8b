"""The parameters of any rule as a tree: what lint may say of them by their names alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "daily")


def mappings(params: Any, path: str = "params") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, mapping) of every mapping in the parameters, the outermost first."""
    if isinstance(params, Mapping):
        yield path, params
        for key, value in params.items():
            yield from mappings(value, f"{path}.{key}")
    elif isinstance(params, list | tuple):
        for position, value in enumerate(params):
            yield from mappings(value, f"{path}[{position}]")


def named(params: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(path, names) wherever one of the keys holds a name or a list of names."""
    for path, mapping in mappings(params):
        for key in keys:
            value = mapping.get(key)
            if isinstance(value, str):
                yield f"{path}.{key}", (value,)
            elif isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
                yield f"{path}.{key}", tuple(value)


def weeks(params: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, days -> windows) of every weekly table in the parameters."""
    for path, mapping in mappings(params):
        keys = [str(key) for key in mapping]
        # An empty table of a channel says that the channel is closed for good; an empty mapping elsewhere says nothing.
        by_day = all(key.split("-")[0] in DAYS for key in keys)
        if (keys or ".windows." in path) and by_day and not any(map(_is_mapping, mapping.values())):
            yield path, mapping


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)
