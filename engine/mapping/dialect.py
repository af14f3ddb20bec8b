"""Load a mapping yaml: a shipped one by name, or any file by path; every mistake is named with what is allowed."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from engine.errors import ConfigError, ParameterError, reason_of, shown
from engine.files.documents import load_yaml
from engine.files.shipped import shipped_names, yaml_text
from engine.mapping.cells import fraction, text_of
from engine.mapping.expression import Expression, compile_expression
from engine.mapping.instants import check_instants
from engine.mapping.spec import Mapping, Scalar
from engine.names import CHANNEL_WORDS, USUAL_CHANNELS, did_you_mean, found, may_mean

_FOLDER: Final = "mapping"
_HINT: Final = "docs/mapping.md tells every key"
_SHORT: Final = 3


def shipped_mappings() -> tuple[str, ...]:
    """Names of the mappings that ship with Tactful."""
    return shipped_names(_FOLDER)


def load_mapping(name_or_path: str | Path) -> Mapping:
    """Load and check a mapping.

    Args:
        name_or_path: the name of a shipped mapping, or the path of a yaml file.

    Raises:
        ConfigError: no such mapping, no yaml, unknown key, wrong type, or a value that can not be used; the message
            names file, key and value.
    """
    text, source = _read(name_or_path)
    try:
        data = load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is no yaml: {reason_of(error)}", hint=_HINT) from error
    return mapping_from(data, source=source)


def mapping_from(data: Any, *, source: str = "mapping") -> Mapping:
    """Validate plain data as a mapping.

    Args:
        data: what yaml decoded to.
        source: named in errors.

    Raises:
        ConfigError: as `load_mapping`.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: a mapping must be a table of keys, got {shown(data)}", hint=_HINT)
    _check_keys(data, Mapping, source, "")
    try:
        mapping = msgspec.convert(data, Mapping)
    except (msgspec.ValidationError, ParameterError) as error:
        raise ConfigError(f"{source}: {reason_of(error)}", hint=_hint_for(str(error))) from error
    try:
        _check_values(mapping)
    except (ConfigError, ParameterError) as error:
        raise ConfigError(f"{source}: {error.message}", hint=error.hint or _HINT) from error
    return mapping


def expressions(mapping: Mapping) -> dict[str, Expression]:
    """Every expression of a mapping, compiled, by the key that holds it.

    Raises:
        ConfigError: an expression outside the grammar.
    """
    return {key: compile_expression(text, owner=key) for key, text in _expression_texts(mapping)}


def _expression_texts(mapping: Mapping) -> Iterator[tuple[str, str]]:
    if mapping.propensity.expression is not None:
        yield "propensity.expression", mapping.propensity.expression
    if mapping.availability is not None and mapping.availability.expression is not None:
        yield "availability.expression", mapping.availability.expression
    if mapping.eligible is not None:
        for value, text in mapping.eligible.expressions.items():
            yield f"eligible.expressions.{value}", text
    for name, reward in mapping.rewards.items():
        if reward.expression is not None:
            yield f"rewards.{name}.expression", reward.expression


def _check_values(mapping: Mapping) -> None:
    expressions(mapping)
    _check_channel(mapping.catalog.channel.constant)
    if mapping.propensity.constant is not None:
        fraction(mapping.propensity.constant, owner="propensity.constant")
    for name, value in mapping.propensity.per_arm.items():
        fraction(value, owner=f"propensity.per_arm.{name}")
    if mapping.decided_at is not None:
        check_instants(mapping.decided_at)
    if not mapping.rewards:
        raise ConfigError("`rewards` must name at least one metric, got none")


def _check_channel(constant: Scalar | None) -> None:
    """Refuse a channel that the mapping names itself and that is a slip away from a usual one.

    Another name is another channel (`letter`, `web`); so is one of three letters, which is too near to too much.
    """
    name = "" if constant is None else text_of(constant)
    words = tuple(word for group in CHANNEL_WORDS for word in group)
    near = may_mean(name, words) if len(name) > _SHORT else frozenset()
    if near and found(name, words) is None:
        raise ConfigError(
            f"`catalog.channel.constant` must be the name of a channel, got {name!r}, which is one slip away from "
            f"{' and '.join(map(repr, sorted(near)))}",
            hint=f"{did_you_mean(name, words)}usual channels: {', '.join(USUAL_CHANNELS)}; others are called otherwise",
        )


def _read(name_or_path: str | Path) -> tuple[str, str]:
    text = yaml_text(_FOLDER, name_or_path, what="mapping")
    named = str(name_or_path) in shipped_mappings()
    return text, f"mapping {name_or_path!r}" if named else str(name_or_path)


def _check_keys(data: Any, kind: Any, source: str, path: str) -> None:
    """Name unknown keys with the nearest known one, which msgspec's own message lacks."""
    struct = _struct_in(kind)
    if isinstance(data, dict) and struct is not None:
        known = get_type_hints(struct)
        for key, value in data.items():
            if key not in struct.__struct_fields__:
                raise ConfigError(
                    f"{source}: unknown key {key!r}{f' in {path}' if path else ''} (value {value!r}), "
                    f"allowed: {', '.join(struct.__struct_fields__)}",
                    hint=f"{did_you_mean(str(key), struct.__struct_fields__)}{_HINT}",
                )
            _check_keys(value, known[key], source, f"{path}.{key}" if path else key)
    elif isinstance(data, dict) and get_origin(kind) is dict:
        for key, value in data.items():
            _check_keys(value, get_args(kind)[1], source, f"{path}.{key}")
    elif isinstance(data, list) and get_origin(kind) is tuple:
        for position, value in enumerate(data):
            _check_keys(value, get_args(kind)[0], source, f"{path}[{position}]")


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    structs = [o for o in options if isinstance(o, type) and issubclass(o, msgspec.Struct)]
    return structs[0] if structs else None


def _hint_for(message: str) -> str:
    if "got `bool`" in message:
        return f"yaml reads a bare yes, no, on, off, true or false as a truth: put it in quotes; {_HINT}"
    return _HINT
