"""What a result was made from: versions, hashes and seeds, so that it can be made again, and told from another."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from engine.log.parquet import LogReader
from engine.storage.artefact import sha256

LIBRARIES = ("vowpalwabbit", "numpy", "scipy", "pandas", "pyarrow")


def provenance(reader: LogReader, settings: Any, policy_version: str, seeds: dict[str, int]) -> dict[str, str]:
    """Name -> value, all text; nothing of the machine but the versions that figures may depend on.

    Args:
        reader: the log.
        settings: the resolved configuration.
        policy_version: version of the trained policy.
        seeds: name -> seed.
    """
    canonical = msgspec.json.encode(msgspec.to_builtins(settings), order="sorted")
    return {
        "tactful": _version("tactful"),
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        "log sha256": ", ".join(sha256(path) for path in reader.paths),
        "catalog": reader.meta.catalog.version,
        "features": reader.meta.features.version,
        "policy": policy_version,
        "configuration sha256": hashlib.sha256(canonical).hexdigest(),
        **{f"seed of {name}": str(seed) for name, seed in seeds.items()},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
