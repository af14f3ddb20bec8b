"""The yaml in docs/catalog.md and docs/features.md is valid, and every key is described."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from engine.catalog import Arm, Catalog, catalog_from
from engine.features import FeatureSchema, FeatureSpec, schema_from


def _example(path: Path) -> object:
    found = re.search(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return yaml.safe_load(found.group(1))


def _keys(path: Path) -> set[str]:
    rows = re.findall(r"^\| (`.*?) \|", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def test_the_catalog_of_the_document(root: Path) -> None:
    path = root / "docs" / "catalog.md"
    catalog = catalog_from(_example(path))
    assert catalog.k == 28
    assert catalog.resolve("email|12|offer20") == 5
    assert catalog.resolve("morning news") == catalog.index(0, 0, 0)
    assert _keys(path) == set(Arm.__struct_fields__) | set(Catalog.__struct_fields__)


def test_the_features_of_the_document(root: Path) -> None:
    path = root / "docs" / "features.md"
    schema: FeatureSchema = schema_from(_example(path))
    assert schema.names == ("days since order", "favourite category")
    assert _keys(path) == set(FeatureSpec.__struct_fields__)
