"""Arrays that can be read and never written: what policies, learners and agents are handed of the engine's own.

A read-only view of an array is no protection: whoever holds it makes it, or the array that owns its memory, writeable
again with `setflags`. The memory of a sealed array belongs to a `bytes` object, which Python itself keeps from
changing, so numpy refuses to open it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)


def sealed(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """The same values in memory that nobody can write to.

    What is sealed already is not copied again. An array of objects, whose memory cannot lie in `bytes`, becomes a copy
    that is marked read-only: its holder may open that copy, but nobody else reads it.

    Args:
        array: any; it stays as it is, and later writes to it do not show in the result.
    """
    array = np.asarray(array)
    if _is_sealed(array):
        return array[...]
    if array.dtype.hasobject:
        copied = array.copy()
        copied.flags.writeable = False
        return copied
    return np.ndarray(array.shape, array.dtype, buffer=array.tobytes())


def _is_sealed(array: NDArray[Any]) -> bool:
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return isinstance(owner, bytes)
