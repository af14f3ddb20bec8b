"""Yaml that ships in `conf/`, by its name, or a file of the user's, by its path: one rule for every kind of it."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from engine.errors import ConfigError, reason_of
from engine.files.documents import load_yaml
from engine.names import did_you_mean

_ENDINGS: Final = (".yaml", ".yml")


def shipped_names(group: str) -> tuple[str, ...]:
    """Names of the files of `conf/GROUP/`."""
    folder = resources.files("conf") / group
    return tuple(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")))


def yaml_text(group: str, name_or_path: str | Path, *, what: str, paths: bool = True) -> str:
    """The text of a shipped file by its name, or of any file by its path.

    Args:
        group: the folder of `conf/`.
        name_or_path: what was given.
        what: the kind of thing, for errors: "guardrail pack".
        paths: whether a file of the user's will do.

    Raises:
        ConfigError: no such name, with the nearest one and all of them, or a file that cannot be read.
    """
    text, shipped = str(name_or_path), shipped_names(group)
    if text in shipped:
        return (resources.files("conf") / group / f"{text}.yaml").read_text(encoding="utf-8")
    near = did_you_mean(Path(text).name.removesuffix(".yaml"), shipped)
    hint = f"{near}shipped: {', '.join(shipped)}{'; or give the path of a .yaml file' if paths else ''}"
    if not paths or not (text.endswith(_ENDINGS) or os.sep in text or Path(text).exists()):
        raise ConfigError(f"there is no {what} {text!r}", hint=hint)
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {text!r} cannot be read: {reason_of(error)}", hint=hint) from error


def read_yaml(group: str, name_or_path: str | Path, *, what: str, paths: bool = True) -> Any:
    """The plain data of `yaml_text`, not validated.

    Raises:
        ConfigError: as there, or no yaml.
    """
    text = yaml_text(group, name_or_path, what=what, paths=paths)
    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{what} {str(name_or_path)!r} cannot be read: {reason_of(error)}",
            hint="it must be yaml",
        ) from error
