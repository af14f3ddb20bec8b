"""From a dotted name out of a configuration to a class that may be made: the one place where such names are resolved.

Nothing is called on the way. A module is imported only under a package that the caller allows; what is taken from it
must be a class that this package defines itself, of the kind that is asked for. So no function can be named, nothing
can be reached through a module into another one (`package.os.system`), and no class that a module merely imports.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any

import msgspec

from engine.errors import ConfigError


def class_named(
    module: str,
    name: str,
    *,
    packages: Sequence[str],
    owner: str,
    what: str,
    bases: Sequence[type[Any]] = (),
    members: Sequence[str] = (),
    hint: str = "",
) -> type[Any]:
    """The class `name` of a module.

    Args:
        module: dotted; imported if it lies in one of the packages.
        name: name of the class within the module itself.
        packages: whose modules may be imported, and whose classes may be taken.
        owner: what the name is for; begins every error.
        what: the kind of class that is asked for, in a word.
        bases: classes that it must derive from, all of them.
        members: attributes or fields that it must have.
        hint: hint that every error ends with.

    Raises:
        ConfigError: a name that is none, another package, a module that cannot be imported, or anything but a class of
            these packages that is of the kind asked for.
    """
    shown = f"{owner} {module}:{name}"
    if not all(map(_is_plain, (*module.split("."), name))):
        raise ConfigError(f"{shown} is no dotted name of public modules and a class", hint=hint)
    if not _within(module, packages):
        raise ConfigError(f"{shown} is not of the packages {sorted(packages)}", hint=hint)
    found = vars(_module(module, shown, hint)).get(name)
    if not isinstance(found, type):
        what = "is not there" if found is None else f"is no class but a {type(found).__name__}"
        raise ConfigError(f"{shown} {what}", hint=hint)
    if not _within(found.__module__, packages):
        raise ConfigError(f"{shown} is a class of {found.__module__}, which is imported there", hint=hint)
    lacking = [base.__name__ for base in bases if base not in found.__mro__]
    lacking += [member for member in members if not _has(found, member)]
    if lacking or inspect.isabstract(found):
        raise ConfigError(f"{shown} is no {what}: it lacks {', '.join(lacking) or 'what is abstract'}", hint=hint)
    return found


def made(kind: Callable[..., Any], options: Mapping[str, Any], *, owner: str, hint: str = "") -> Any:
    """An object of a class, after its arguments were held against the class's signature.

    Args:
        kind: class, from `class_named`.
        options: arguments by name.
        owner: begins every error.
        hint: of every error but that of an unknown argument, which names the nearest one.

    Raises:
        ConfigError: an unknown or missing argument, or a value that the class refuses.
    """
    known = inspect.signature(kind).parameters
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known) or 'none'}"
            raise ConfigError(f"{owner} has no argument {name!r}", hint=meant)
    try:
        inspect.signature(kind).bind(**options)
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{owner} cannot be made: {error}", hint=hint) from error


def _is_plain(part: str) -> bool:
    # Names with a leading underscore are nobody's to ask for, and `__main__` runs a program when it is imported.
    return part.isascii() and part.isidentifier() and not part.startswith("_")


def _within(module: Any, packages: Sequence[str]) -> bool:
    return isinstance(module, str) and any(module == one or module.startswith(f"{one}.") for one in packages)


def _module(module: str, shown: str, hint: str) -> ModuleType:
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever a module does when it is imported, the configuration cannot be used
        raise ConfigError(f"{shown} cannot be imported: {error}", hint=hint) from error
    # Packages may put other modules under names of their own (`os.path`).
    if found.__name__ != module:
        raise ConfigError(f"{shown} leads into {found.__name__}", hint=hint)
    return found


def _has(kind: type[Any], member: str) -> bool:
    if any(member in vars(one) for one in kind.__mro__):
        return True
    fields = kind.__struct_fields__ if issubclass(kind, msgspec.Struct) else ()
    return member in fields or (is_dataclass(kind) and member in kind.__dataclass_fields__)
