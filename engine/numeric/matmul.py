"""The matrix product that every sum of products of ours uses.

Some BLAS kernels compute on registers that are only partly filled, and so raise the processor's "invalid" flag for
values that no result holds. NumPy turns the flag into a warning that names a failure where there is none. Here the flag
is not looked at; the result is.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np


def matmul(left: Any, right: Any) -> Any:
    """`left @ right`, with a warning where, and only where, finite operands gave a result that is not finite.

    Args:
        left: an array of one or two dimensions.
        right: an array of one or two dimensions whose first length is the last of `left`.

    Returns:
        What NumPy's operator `@` returns: an array, or a number for two vectors.

    Warns:
        RuntimeWarning: the product of finite operands is too large for its type.
    """
    with np.errstate(all="ignore"):
        product = np.matmul(left, right)
    if not np.isfinite(product).all() and np.isfinite(left).all() and np.isfinite(right).all():
        warnings.warn("a matrix product of finite operands is not finite", RuntimeWarning, stacklevel=2)
    return product
