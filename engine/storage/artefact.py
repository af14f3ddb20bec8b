"""Trained folders: plain files with a manifest of their SHA-256, written whole or not at all, verified before use.

Learners and readers of other formats load half a file or a flipped bit without a word; so nothing of a folder is read
before its hash agrees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from engine.errors import ArtefactError, ParameterError, StorageError, reason_of
from engine.log.training_rows import TrainingRows
from engine.storage.parts import disk_errors, new_folder

MANIFEST: Final = "manifest.json"
_BLOCK: Final = 1 << 20
M = TypeVar("M")


def publish(
    folder: Path,
    kind: str,
    manifest: dict[str, Any],
    write: Callable[[Path], None],
    rows: TrainingRows | None = None,
) -> str:
    """Write a folder under a temporary name and put it into place in one step (`engine.storage.parts`).

    A failure or a kill leaves whatever stood under the name before.

    Args:
        folder: final name; its parent must exist.
        kind: what the folder is, checked by `verified`.
        manifest: plain data; `kind`, `files`, `version` are added.
        write: called with the temporary folder, writes the files.
        rows: decisions that were learnt from, kept as one more file; None where they are not known.

    Returns:
        The version: 16 hex digits of the SHA-256 of the manifest without it.

    Raises:
        StorageError: the disk refused a write, or the parent folder is missing.
    """
    folder = Path(folder)
    if not folder.parent.is_dir():
        raise StorageError(f"{folder.parent} is no folder, {folder.name} cannot be written there", hint="make it first")
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise StorageError(f"{folder} exists and is no trained folder", hint="choose another name")
    with disk_errors(f"write {folder}", "nothing was changed under that name"), new_folder(folder) as part:
        write(part)
        if rows is not None:
            rows.write(part)
        files = {path.name: sha256(path) for path in sorted(part.iterdir())}
        content = {**manifest, "kind": kind, "files": files}
        content.pop("version", None)
        version = _digest(content)
        (part / MANIFEST).write_text(json.dumps({**content, "version": version}, indent=1, sort_keys=True) + "\n")
    return version


def verified(folder: Path, *kinds: str) -> dict[str, Any]:
    """The manifest of a folder whose every file has the SHA-256 that it says.

    Args:
        folder: that `publish` wrote.
        kinds: what it may be; the error about any other kind names the first.

    Raises:
        ArtefactError: missing, foreign, truncated or changed.
    """
    path = Path(folder) / MANIFEST
    again = "it is damaged or foreign; write it again, for instance with `tactful train`"
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        absent = f"it holds no {MANIFEST}" if Path(folder).is_dir() else f"{folder} does not exist"
        why = reason_of(error) if path.exists() else "it is a file" if Path(folder).is_file() else absent
        raise ArtefactError(
            f"{folder} is no trained folder: {why}", hint="give the folder that training wrote"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}", hint=again) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ArtefactError(f"{path} is no manifest", hint=again)
    content = {name: value for name, value in manifest.items() if name != "version"}
    if manifest.get("version") != _digest(content):
        raise ArtefactError(f"{path} was changed after it was written", hint=again)
    if manifest.get("kind") not in kinds:
        raise ArtefactError(
            f"{folder} is a {manifest.get('kind')!r}, expected a {kinds[0]!r}", hint="give another folder"
        )
    for name, expected in manifest["files"].items():
        file = Path(folder) / name
        if not file.is_file() or sha256(file) != expected:
            raise ArtefactError(f"{file} is missing, truncated or changed", hint=again)
    return manifest


def manifest_of(folder: Path, form: int, kinds: Mapping[str, type[M]]) -> M:
    """The manifest of a folder as a struct; every hash has been verified.

    Args:
        folder: of a trained policy.
        form: format that this version reads.
        kinds: the struct of each kind that the folder may be.

    Raises:
        ArtefactError: missing, damaged, foreign, or written by a newer version.
    """
    data = verified(folder, *kinds)
    if data.get("format") != form:
        raise ArtefactError(
            f"{folder} has format {data.get('format')}, this Tactful reads {form}", hint="train again, or upgrade"
        )
    try:
        return msgspec.convert(data, kinds[data["kind"]])
    except (msgspec.ValidationError, ParameterError) as error:
        why = reason_of(error)
        raise ArtefactError(f"{folder} has a manifest that cannot be used: {why}", hint="train again") from error


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
