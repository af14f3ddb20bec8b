"""What is wrong with the overrides of a configuration, in the words of the person who wrote them.

Hydra and msgspec say that something cannot be composed or converted, each in terms of its own. Here the override at
fault is found, and the error names its full key, what was given, the nearest key or option and all that are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from hydra import compose as hydra_compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from engine.errors import ConfigError, ParameterError, shown, types_in_words
from engine.names import did_you_mean

WHERE: Final = "docs/configuration.md lists keys and groups"
_FORM: Final = "an override is key=value or group=option, for instance seed=1 or learner=dr"
_AT: Final = re.compile(r" - at `(?:key in )?\$(.*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_QUOTED: Final = re.compile(r"'([^']+)'")
_UNKNOWN: Final = re.compile(r"unknown field `(.*?)`")
_MISSING: Final = re.compile(r"missing required field `(.*?)`")
_EXPECTED: Final = re.compile(r"^Expected (.*?)(?:, got .*)?$")

Compose = Callable[[Sequence[str]], Mapping[str, Any]]


def not_composed(
    command: str, overrides: Sequence[str], kind: type, loader: ConfigLoader, compose: Compose, error: Exception
) -> ConfigError:
    """The error for overrides that cannot be composed.

    Args:
        command: name of the primary yaml.
        overrides: as they were given.
        kind: the struct that the configuration must fit.
        loader: knows the groups and their options.
        compose: composes the command's yaml with the overrides that it is given.
        error: what it raised for all of them.
    """
    parser, parsed = OverridesParser.create(config_loader=loader), []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
            empty = not parsed[-1].key_or_group
        except (HydraException, ValueError):
            empty = True
        if empty:
            near = f"write {text}=VALUE; " if text.isidentifier() else ""
            return ConfigError(f"{shown(text)} of {command} is no override", hint=f"{near}{_FORM}; {WHERE}")
    # Groups decide which keys exist, wherever they stand among the overrides.
    ordered = sorted(parsed, key=lambda one: not loader.get_group_options(one.key_or_group))
    good: list[str] = []
    for one in ordered:
        try:
            compose([*good, str(one.input_line)])
        except Exception as found:  # noqa: BLE001 (whatever the library raises, it is about this override)
            asked = hydra_compose(config_name=command, overrides=good, return_hydra_config=True)
            return _Fault(command, one, kind, loader, compose(good), asked.hydra.runtime.choices).error(found)
        good.append(str(one.input_line))
    return ConfigError(f"the configuration of {command} cannot be composed: {_first_line(error)}", hint=WHERE)


class _Fault:
    """One override that cannot be composed, with the configuration as it is without it."""

    def __init__(
        self,
        command: str,
        override: Override,
        kind: type,
        loader: ConfigLoader,
        plain: Mapping[str, Any],
        choices: Mapping[str, Any],
    ) -> None:
        self._command, self._override, self._kind, self._plain = command, override, kind, plain
        self._options = loader.get_group_options(override.key_or_group)
        self._groups = tuple(name for name in choices if not name.startswith("hydra/"))
        self._key = override.key_or_group + ("" if override.package is None else f"@{override.package}")

    def error(self, found: Exception) -> ConfigError:
        """The error that names what is wrong with it."""
        key, given, one = self._key, str(self._override.input_line), self._override
        known = key in self._groups or _is_there(key, self._plain)
        if one.is_sweep_override():
            hint = "give one value; a list is written [a,b]"
            return ConfigError(f"`{key}` of {self._command} must be one value, got {shown(given)}", hint=hint)
        if self._options and not one.is_delete():
            value = one.value()
            bad = [name for name in (value if isinstance(value, list) else [value]) if name not in self._options]
            if bad and (known or one.is_add()):
                allowed, near = ", ".join(self._options), did_you_mean(str(bad[0]), self._options)
                return ConfigError(
                    f"`{key}` of {self._command} must be one of {allowed}, got {shown(bad[0])}",
                    hint=f"{near}{WHERE}",
                )
        if "@" in key and not known and not one.is_add():
            groups = ", ".join(self._groups)
            near = did_you_mean(key, self._groups)
            return ConfigError(f"{self._command} has no group `{key}`; its groups are {groups}", hint=f"{near}{WHERE}")
        if one.is_add() and known:
            return ConfigError(f"`{key}` of {self._command} is set already, got {given}", hint="leave out the +")
        if not known and not one.is_add():
            return self._unknown(key, given)
        return ConfigError(
            f"`{key}` of {self._command} cannot be set by {shown(given)}: {_first_line(found)}",
            hint=f"{_FORM}; {WHERE}",
        )

    def _unknown(self, key: str, given: str) -> ConfigError:
        steps, plain, kind = key.split("."), self._plain, self._kind
        for at, step in enumerate(steps):
            names = _names(plain, kind)
            if step not in names:
                if any(get_origin(part) is dict for part in _alternatives(kind)):
                    return self._new(key, given, ".".join(steps[: at + 1]), did_you_mean(step, names))
                return _unknown_key(self._command, self._kind, self._plain, steps[:at], steps[at:], given)
            plain, kind = _inside(plain, kind, step)
        return self._new(key, given, key)

    def _new(self, key: str, given: str, absent: str, near: str = "") -> ConfigError:
        """The library wants to hear that a key is added, also where the class knows it."""
        message = f"`{key}` of {self._command} has no value to change, got {given}: no yaml sets `{absent}`"
        return ConfigError(message, hint=f"{near}write +{key}=... to add it; {WHERE}")


def not_valid(command: str, kind: type, plain: Mapping[str, Any], error: Exception) -> ConfigError:
    """The error for a configuration that was composed and does not fit its struct.

    Args:
        command: name of the primary yaml.
        kind: the struct.
        plain: the composed configuration.
        error: what msgspec or a class said.
    """
    said = str(error)
    at = _AT.search(said)
    steps, value, inside = _walked(plain, kind, at[1] if at else "")
    said = said[: at.start()] if at else said
    cause = error if isinstance(error, ParameterError) else error.__cause__
    if isinstance(cause, ParameterError):
        full = ".".join((*steps, cause.parameter))
        parts = cause.message.split(" must be ", 1)
        named = len(parts) == 2 and cause.parameter in _names({}, inside)
        message = f"`{full}` of {command} must be {parts[1]}" if named else f"{'.'.join(steps)}: {cause.message}"
        choices = _QUOTED.findall(parts[-1].partition(", got ")[0])
        wrong = value.get(cause.parameter) if isinstance(value, Mapping) else value
        odd = [one for one in (wrong if isinstance(wrong, list) else [wrong]) if one not in choices]
        near = did_you_mean(str(odd[0]), choices) if odd else ""
        return ConfigError(message.removeprefix(": "), hint=cause.hint or f"{near}{WHERE}")
    if (unknown := _UNKNOWN.search(said)) is not None:
        given = value.get(unknown[1]) if isinstance(value, Mapping) else None
        full = ".".join((*steps, unknown[1]))
        return _unknown_key(command, kind, plain, steps, [unknown[1]], f"{full}={shown(given)}", only_known=True)
    if (missing := _MISSING.search(said)) is not None:
        full = ".".join((*steps, missing[1]))
        return ConfigError(f"`{full}` of {command} is missing", hint=f"it has no default; {WHERE}")
    full = ".".join(steps) or "the configuration"
    if (expected := _EXPECTED.match(said)) is not None:
        allowed = types_in_words(expected[1])
        return ConfigError(f"`{full}` of {command} must be {allowed}, got {shown(value)}", hint=WHERE)
    if choices := _choices(inside):
        near = did_you_mean(str(value), choices)
        allowed = ", ".join(choices)
        return ConfigError(f"`{full}` of {command} must be one of {allowed}, got {shown(value)}", hint=f"{near}{WHERE}")
    return ConfigError(f"`{full}` of {command} cannot be {shown(value)}: {said}", hint=WHERE)


def _unknown_key(
    command: str,
    kind: type,
    plain: Mapping[str, Any],
    parents: Sequence[str],
    rest: Sequence[str],
    given: str,
    *,
    only_known: bool = False,
) -> ConfigError:
    """The error for a key whose first part below its parents does not exist."""
    there, inside = plain, kind
    for step in parents:
        there, inside = _inside(there, inside, step)
    names = _names({} if only_known else there, inside)
    near = did_you_mean(rest[0], names)
    if near:
        meant = ".".join((*parents, near.removeprefix("did you mean '").removesuffix("'? "), *rest[1:]))
        near = f"did you mean `{meant}`? "
    else:
        # The right key in the wrong place: `alpha` for `evaluation.alpha`.
        same = [one for one in _all_keys({} if only_known else plain, kind) if one.rpartition(".")[2] == rest[-1]]
        near = f"did you mean `{same[0]}`? " if same else ""
    full, parent = ".".join((*parents, *rest)), ".".join(parents)
    if names:
        owner = f"`{parent}` has the keys" if parents else "its keys are"
        allowed = f"{owner} {', '.join(names)}"
    else:
        allowed = f"`{parent}` is a value, and has no keys"
    return ConfigError(f"{command} has no key `{full}`, got {given}; {allowed}", hint=f"{near}{WHERE}")


def _names(plain: Any, kind: Any) -> tuple[str, ...]:
    """Keys of a node: those that a yaml gave, and those of its class."""
    fields = tuple(name for one in _structs(kind) for name in one.__struct_fields__)
    return tuple(dict.fromkeys((*(plain if isinstance(plain, Mapping) else ()), *fields)))


def _inside(plain: Any, kind: Any, step: str) -> tuple[Any, Any]:
    """What stands under a key, and its type; a step of digits goes into a list."""
    if isinstance(plain, list | tuple):
        below = plain[int(step)] if step.isdigit() and int(step) < len(plain) else None
    else:
        below = plain.get(step) if isinstance(plain, Mapping) else None
    for one in _structs(kind):
        if step in one.__struct_fields__:
            return below, get_type_hints(one)[step]
    return below, next((args[-1] if len(args) == 2 else args[0] for args in _containers(kind)), Any)


def _structs(kind: Any) -> list[type[msgspec.Struct]]:
    """The structs among the alternatives of a type."""
    return [one for one in _alternatives(kind) if isinstance(one, type) and issubclass(one, msgspec.Struct)]


def _containers(kind: Any) -> list[tuple[Any, ...]]:
    """The arguments of the dicts, lists and tuples among the alternatives of a type."""
    return [get_args(one) for one in _alternatives(kind) if get_origin(one) in (dict, list, tuple) and get_args(one)]


def _alternatives(kind: Any) -> list[Any]:
    simple = isinstance(kind, type) or get_origin(kind) in (dict, list, tuple, Literal) or not get_args(kind)
    return [kind] if simple else [one for part in get_args(kind) for one in _alternatives(part)]


def _choices(kind: Any) -> list[str]:
    """The texts of the literals among the alternatives of a type."""
    return [str(text) for one in _alternatives(kind) if get_origin(one) is Literal for text in get_args(one)]


def _all_keys(plain: Any, kind: Any, above: tuple[str, ...] = ()) -> list[str]:
    """Every key with its parents."""
    found = []
    for name in _names(plain, kind):
        found += [".".join((*above, name)), *_all_keys(*_inside(plain, kind, name), (*above, name))]
    return found


def _is_there(key: str, plain: Any) -> bool:
    for step in key.replace("/", ".").split("."):
        if not isinstance(plain, Mapping) or step not in plain:
            return False
        plain = plain[step]
    return True


def _walked(plain: Any, kind: Any, path: str) -> tuple[list[str], Any, Any]:
    """The keys of msgspec's path, what stands there, and its type; it writes `[...]` for any key of a dict."""
    steps = []
    for name, index in _STEP.findall(path):
        step = name or index
        if index == "..." and isinstance(plain, Mapping):
            step = next((one for one in plain if not _fits(*_inside(plain, kind, one))), "...")
        plain, kind = _inside(plain, kind, step)
        steps.append(step)
    return steps, plain, kind


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def _first_line(error: Exception) -> str:
    """What a library said, without its advice about itself."""
    return str(error).strip().partition("\n")[0].partition(" See https://")[0] or type(error).__name__
