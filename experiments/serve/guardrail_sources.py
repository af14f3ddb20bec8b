"""Packs, catalogs, feature schemas and contacts as the command line names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from engine.catalog import Catalog, catalog_from
from engine.contacts.contacts import ContactBatch
from engine.contacts.file import contact_blocks
from engine.errors import ConfigError
from engine.features import FeatureSchema, schema_from
from engine.files.documents import load_yaml
from engine.guardrails.conditions import NOTHING_SAID, Conditions, load_conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import load_pack
from engine.storage.given import Given


@dataclass(frozen=True)
class Setting:
    """What packs are tried on.

    Attributes:
        contacts: contact file, see docs/contacts.md.
        now: aware instant of the decisions.
        catalog: name of a shipped catalog, or the path of a yaml file.
        features: the same for a feature schema; None for contacts without features.
        conditions: yaml file of the sender's side, or None: nothing is said, and rules that need it block.
    """

    contacts: Given
    now: datetime
    catalog: str
    features: str | None = None
    conditions: Path | None = None


def catalog_named(name: str) -> Catalog:
    """A shipped catalog by name, or a yaml file by path.

    Raises:
        ConfigError: no such file, no yaml, or no catalog.
    """
    return catalog_from(_yaml("catalog", name), source=name)


def features_named(name: str | None) -> FeatureSchema:
    """A shipped feature schema by name, a yaml file by path, or an empty schema.

    Raises:
        ConfigError: no such file, no yaml, or no feature schema.
    """
    if name is None:
        return FeatureSchema(features=())
    return schema_from(_yaml("features", name), source=name)


def bound(pack: str, catalog: Catalog) -> Guardrails:
    """A pack by name or path, bound to a catalog.

    Raises:
        ConfigError: a pack that cannot be used.
        EligibilityError: a pack that must not start: empty, or without the consent rule.
    """
    return Guardrails(load_pack(pack), catalog)


def conditions_of(path: Path | None) -> Conditions:
    """The sender's side from a file, or nothing said.

    Raises:
        ConfigError: the file cannot be used.
    """
    return NOTHING_SAID if path is None else load_conditions(path)


def blocks(setting: Setting, catalog: Catalog, extra: tuple[str, ...], rows: int) -> Iterator[ContactBatch]:
    """The contacts, block by block.

    Raises:
        DataError: a wrong value, with its row, or a file that cannot be read.
        ConfigError: a feature schema that cannot be used.
    """
    schema = features_named(setting.features)
    return contact_blocks(setting.contacts, schema, catalog, setting.now, rows, extra)


def _yaml(folder: str, name: str) -> Any:
    try:
        if name.endswith((".yaml", ".yml")):
            return load_yaml(Path(name).read_text(encoding="utf-8"))
        return load_yaml((resources.files("conf") / folder / f"{name}.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        shipped = sorted(
            file.name[:-5] for file in (resources.files("conf") / folder).iterdir() if ".yaml" in file.name
        )
        raise ConfigError(
            f"{folder} {name!r} cannot be read: {error}",
            hint=f"give the path of a .yaml file, or a shipped name: {', '.join(shipped)}",
        ) from error
