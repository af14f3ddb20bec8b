"""From the name of a rule in a pack to its class: a new rule is one file in `engine/guardrails/rules/`."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import msgspec

from engine.classes import class_named
from engine.errors import ConfigError, ParameterError, reason_of
from engine.guardrails import rules
from engine.guardrails.pack import RuleEntry
from engine.guardrails.rule import Rule
from engine.names import did_you_mean, near_key

_SHIPPED = re.compile(r"[a-z][a-z0-9_]*")
_MEMBERS = ("reads", "applies_to", "verdict", "explain")
_RULE = "a rule is a class with reads, applies_to, verdict and explain; see docs/guardrails.md, A rule of your own"
_FOREIGN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def shipped_rules() -> tuple[str, ...]:
    """Names of the rules that ship, in alphabetical order."""
    folder = Path(rules.__path__[0])
    return tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__"))


def rule_class(name: str, packages: tuple[str, ...] = ()) -> type[Any]:
    """The class of a rule.

    Args:
        name: a shipped rule, or "package.module:Class" of a package that the caller allows.
        packages: top-level packages from which rules may be imported, beside ours.

    Raises:
        ConfigError: no such rule, a package that is not allowed, or something of it that is no rule's class.
    """
    if _SHIPPED.fullmatch(name) and name in shipped_rules():
        found: type[Any] = importlib.import_module(f"{rules.__name__}.{name}").RULE
        return found
    if _FOREIGN.fullmatch(name):
        module, _, attribute = name.partition(":")
        if module.partition(".")[0] in packages:
            return class_named(
                module, attribute, packages=packages, owner="rule", what="rule", members=_MEMBERS, hint=_RULE
            )
    raise ConfigError(
        f"unknown rule {name!r}",
        hint=f"{did_you_mean(name, shipped_rules())}shipped rules: {', '.join(shipped_rules())}; a rule of your own is "
        "written package.module:Class, and its package must be named in `packages`",
    )


def make_rule(name: str, params: dict[str, Any], packages: tuple[str, ...] = ()) -> Rule:
    """A rule with its parameters.

    Raises:
        ConfigError: unknown rule, unknown parameter, or a value out of range.
    """
    kind = rule_class(name, packages)
    try:
        rule = msgspec.convert(params, kind)
    except (msgspec.ValidationError, ParameterError) as error:
        raise ConfigError(
            f"rule {name!r} cannot use its parameters: {reason_of(error)}",
            hint=f"{near_key(str(error), kind)}see docs/guardrails.md",
        ) from error
    if not isinstance(rule, Rule):
        raise ConfigError(f"{name!r} is no rule", hint=_RULE)
    return rule


def rule_words(entry: RuleEntry, rule: Rule) -> str:
    """Name of a rule and what it does, from the first line of its class's docstring ("consent: removes ...")."""
    said = (inspect.getdoc(type(rule)) or "").partition("\n")[0].partition(";")[0].strip().rstrip(".")
    return f"{entry.rule}: {said[:1].lower()}{said[1:]}" if said else entry.rule
