"""The product equals NumPy's, warns only for what the result holds, and is the only way to multiply matrices."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

import numpy as np
import pytest

from engine.numeric.matmul import matmul

PACKAGES = ("engine", "policies", "simulator", "experiments")
FUNCTIONS = {"matmul", "dot", "vdot", "tensordot"}


def test_by_hand() -> None:
    """(1, 2) . (3, 4) = 3 + 8 = 11; the matrix turns (1, 0) into its first column."""
    assert matmul(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 11.0
    assert matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 0.0])).tolist() == [1.0, 3.0]


def test_integers_stay_integers() -> None:
    assert matmul(np.array([[True, False, True]]).astype(np.int64), 1 << np.arange(3)).tolist() == [5]


def test_a_flag_that_no_result_holds_is_no_warning() -> None:
    """Infinity times zero sets the flag as a stray kernel does; the operands are not finite, so nobody is warned."""
    left, right = np.ones((3, 3), dtype=np.float32), np.ones(3, dtype=np.float32)
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert matmul(left, right).tolist() == [3.0, 3.0, 3.0]
        assert np.isnan(matmul(np.array([np.inf, 1.0]), np.array([0.0, 1.0])))


def test_an_overflow_of_finite_operands_warns() -> None:
    """1e308 * 10 is above the largest float64."""
    with pytest.warns(RuntimeWarning, match="not finite"):
        assert np.isinf(matmul(np.array([1e308]), np.array([10.0])))


def test_no_other_product_in_shipped_code(root: Path, project_files: list[Path]) -> None:
    """NumPy's own products believe the kernels' flags, and tests treat warnings as errors."""
    found = []
    for path in project_files:
        if path.suffix != ".py" or path.parts[0] not in PACKAGES or path == Path("engine/numeric/matmul.py"):
            continue
        for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
            by_operator = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
            by_name = (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "np"
                and node.attr in FUNCTIONS
            )
            if by_operator or by_name:
                found.append(f"{path}:{node.lineno}")
    assert found == []
