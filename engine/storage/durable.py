"""What makes a file or a folder entry last: one call, used wherever something must be on disk before it counts."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Return when the file, or the entries of the folder, are on disk.

    Raises:
        OSError: the path is missing, or the disk refused.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
