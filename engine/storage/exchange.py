"""Two names change places in one step, where the system can do that.

Linux (`renameat2` with RENAME_EXCHANGE, on ext4, XFS, Btrfs, tmpfs and others) and macOS (`renamex_np` with RENAME_SWAP
on APFS) can: at every instant there is something whole under both names. Elsewhere (some network file systems, a C
library without the call) there is no such step.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2
# The call is not there, or not for this file system, or not for these two entries of it.
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM})


def exchanged(one: Path, other: Path) -> bool:
    """Let two entries of one folder change places.

    Returns:
        Whether it was done; False, with nothing changed, where the system has no such step.

    Raises:
        OSError: the disk refused.
    """
    code = _call(os.fsencode(one), os.fsencode(other))
    if code in _UNSUPPORTED:
        return False
    if code:
        raise OSError(code, os.strerror(code), str(other))
    return True


def _call(one: bytes, other: bytes) -> int:
    """The error number; 0 where the two were exchanged."""
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        found = getattr(library, "renamex_np", None)
        arguments: tuple[object, ...] = (one, other, ctypes.c_uint(_EXCHANGE))
    else:
        found = getattr(library, "renameat2", None)
        arguments = (_AT_FDCWD, one, _AT_FDCWD, other, ctypes.c_uint(_EXCHANGE))
    if found is None:
        return errno.ENOSYS
    return ctypes.get_errno() if found(*arguments) else 0
