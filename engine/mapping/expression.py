"""Expressions over the columns of a log: a small white list of Python's grammar, evaluated on whole arrays.

Every cell is text. It is read as a number wherever a number is needed; an empty cell, or one that is no number, is NaN.
Truth is 1, 0 or NaN: a comparison with a missing value is missing, never false, so a missing cell can not become a
silent zero.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Final

import numpy as np

from engine.errors import ConfigError
from engine.mapping.cells import numbers
from engine.types import BoolArray, FloatArray, ObjectArray

_MAX_LENGTH: Final = 2000
# Bounds the depth of the walk too, far below Python's own limit.
_MOST_NODES: Final = 400
_LARGEST: Final = 1e300
_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MEMBER: Final = (ast.In, ast.NotIn)
_ARITY: Final = {
    "where": (3, 3),
    "min": (2, 9),
    "max": (2, 9),
    "log": (1, 1),
    "exp": (1, 1),
    "abs": (1, 1),
    "floor": (1, 1),
    "isnull": (1, 1),
    "col": (1, 1),
}
_UNARY: Final[dict[str, Callable[[FloatArray], FloatArray]]] = {
    "log": np.log,
    "exp": np.exp,
    "abs": np.abs,
    "floor": np.floor,
}
_GRAMMAR: Final = (
    "column names (or col('any name')), numbers, strings, + - * / // % **, comparisons, in, and, or, not, "
    "where(test, a, b), min, max, log, exp, abs, floor, isnull"
)


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes:
        text: the expression as it was written.
        tree: the checked syntax tree.
        columns: names of the columns that it reads.
    """

    text: str
    tree: ast.expr
    columns: frozenset[str]

    def evaluate(self, cells: Mapping[str, ObjectArray], n: int) -> tuple[FloatArray, BoolArray]:
        """Evaluate on n rows.

        Args:
            cells: column name -> (n,) strings.
            n: number of rows.

        Returns:
            (n,) values, truth as 1 and 0, NaN where something needed is missing; and (n,) bool, true where a cell
            that is not empty had to be a number and was none.
        """
        run = _Run(cells, n)
        with np.errstate(all="ignore"):
            value = run.number(self.tree)
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)).copy(), run.bad


def compile_expression(text: str, *, owner: str) -> Expression:
    """Parse and check an expression.

    Args:
        text: the expression.
        owner: the key that holds it, named in the error.

    Raises:
        ConfigError: it does not parse, or holds a node outside the white list.
    """
    if len(text) > _MAX_LENGTH:
        raise ConfigError(f"{owner}: an expression must be at most {_MAX_LENGTH} characters, got {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{owner}: {text!r} does not parse: {error}", hint=f"allowed: {_GRAMMAR}") from error
    if sum(1 for _ in ast.walk(tree)) > _MOST_NODES:
        raise ConfigError(f"{owner}: an expression must have at most {_MOST_NODES} parts: {text[:80]!r} ...")
    columns: set[str] = set()
    _check(tree, owner, columns)
    return Expression(text, tree, frozenset(columns))


def _check(node: ast.AST, owner: str, columns: set[str]) -> None:
    if isinstance(node, ast.Call):
        _check_call(node, owner, columns)
        return
    if isinstance(node, ast.Name):
        columns.add(node.id)
        return
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, (int, float)) or abs(node.value) > _LARGEST:
            _refuse(node, owner)
        return
    if isinstance(node, ast.Compare):
        _check_compare(node, owner, columns)
        return
    _check_operator(node, owner)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _check(child, owner, columns)


def _check_operator(node: ast.AST, owner: str) -> None:
    if isinstance(node, ast.BoolOp):
        return
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd, ast.Not)):
        return
    _refuse(node, owner)


def _check_call(node: ast.Call, owner: str, columns: set[str]) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else None
    if name not in _ARITY or node.keywords:
        _refuse(node, owner)
        return
    low, high = _ARITY[name]
    if not low <= len(node.args) <= high:
        raise ConfigError(f"{owner}: {name} takes {low} to {high} arguments, got {len(node.args)}")
    if name == "col":
        argument = node.args[0]
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise ConfigError(f"{owner}: col must be given a column name in quotes, got {ast.unparse(argument)!r}")
        columns.add(argument.value)
        return
    for argument in node.args:
        _check(argument, owner, columns)


def _check_compare(node: ast.Compare, owner: str, columns: set[str]) -> None:
    left = node.left
    for op, right in zip(node.ops, node.comparators, strict=True):
        if not isinstance(op, _MEMBER) and type(op) not in _COMPARE:
            _refuse(node, owner)
        options = _options(right, owner) if isinstance(op, _MEMBER) else [right]
        for side in (left, *options):
            if not _is_text(side):
                _check(side, owner, columns)
        for option in options:
            if (_is_text(left) and not _has_text(option)) or (_is_text(option) and not _has_text(left)):
                raise ConfigError(
                    f"{owner}: {ast.unparse(node)!r} compares a string with a computed value",
                    hint="a string can only be compared with a column",
                )
        left = right


def _options(node: ast.expr, owner: str) -> list[ast.expr]:
    listed = node.elts if isinstance(node, (ast.Tuple, ast.List)) else []
    if not listed or not all(isinstance(element, ast.Constant) for element in listed):
        raise ConfigError(f"{owner}: `in` needs a list of constants, got {ast.unparse(node)!r}")
    return listed


def _has_text(node: ast.expr) -> bool:
    return _column(node) is not None or isinstance(node, ast.Constant)


def _refuse(node: ast.AST, owner: str) -> None:
    raise ConfigError(
        f"{owner}: {ast.unparse(node)!r} ({type(node).__name__}) is not allowed in an expression",
        hint=f"allowed: {_GRAMMAR}",
    )


@dataclass(frozen=True)
class _Run:
    """One evaluation; collects in `bad` the rows whose cells had to be numbers and were none."""

    cells: Mapping[str, ObjectArray]
    n: int

    @cached_property
    def bad(self) -> BoolArray:
        return np.zeros(self.n, dtype=np.bool_)

    def number(self, node: ast.expr) -> Any:
        """Value of a node as floats, (n,) or a scalar."""
        name = _column(node)
        if name is not None:
            values, bad = numbers(self.cells[name])
            np.logical_or(self.bad, bad, out=self.bad)
            return values
        match node:
            case ast.Constant(value=value):
                return np.float64(value)  # type: ignore[arg-type]
            case ast.BinOp(left=left, op=op, right=right):
                return _ARITHMETIC[type(op)](self.number(left), self.number(right))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return 1.0 - _truth(self.number(operand))
            case ast.UnaryOp(op=op, operand=operand):
                return -self.number(operand) if isinstance(op, ast.USub) else self.number(operand)
            case ast.BoolOp(op=op, values=operands):
                rows = [_truth(self.number(operand)) for operand in operands]
                return reduce(_both if isinstance(op, ast.And) else _either, rows)
            case ast.Compare():
                return self._compare(node)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self._call(function, arguments)
        return np.nan

    def _call(self, function: str, arguments: list[ast.expr]) -> Any:
        if function == "isnull":
            name = _column(arguments[0])
            if name is not None:
                return np.where(self.cells[name] == "", 1.0, 0.0)
            return np.where(np.isnan(self.number(arguments[0])), 1.0, 0.0)
        values = [self.number(argument) for argument in arguments]
        if function == "where":
            test = _truth(values[0])
            return np.where(np.isnan(test), np.nan, np.where(test == 1.0, values[1], values[2]))
        if function in _UNARY:
            return _UNARY[function](values[0])
        return reduce(np.minimum if function == "min" else np.maximum, values)

    def _compare(self, node: ast.Compare) -> Any:
        tests = []
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, _MEMBER):
                options = _options(right, "in")
                found = reduce(_either, [self._pair(left, ast.Eq(), option) for option in options])
                tests.append(found if isinstance(op, ast.In) else 1.0 - found)
            else:
                tests.append(self._pair(left, op, right))
            left = right
        return reduce(_both, tests)

    def _pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Any:
        if _is_text(left) or _is_text(right):
            return self._text_pair(left, op, right)
        a, b = self.number(left), self.number(right)
        return np.where(np.isnan(a) | np.isnan(b), np.nan, _COMPARE[type(op)](a, b).astype(np.float64))

    def _text_pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Any:
        a, b = self._text(left), self._text(right)
        outcome = np.broadcast_to(np.asarray(_COMPARE[type(op)](a, b)), (self.n,)).astype(np.float64)
        literals = [side.value for side in (left, right) if isinstance(side, ast.Constant)]
        if "" in literals:
            return outcome
        return np.where((a == "") | (b == ""), np.nan, outcome)

    def _text(self, node: ast.expr) -> ObjectArray:
        name = _column(node)
        if name is not None:
            return self.cells[name]
        value = node.value if isinstance(node, ast.Constant) else np.nan
        return np.full(self.n, str(value), dtype=object)


def _column(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))]):
            return name
    return None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _truth(values: Any) -> Any:
    return np.where(np.isnan(values), np.nan, np.where(np.asarray(values) != 0, 1.0, 0.0))


def _both(a: Any, b: Any) -> Any:
    return np.where((a == 0) | (b == 0), 0.0, np.where(np.isnan(a) | np.isnan(b), np.nan, 1.0))


def _either(a: Any, b: Any) -> Any:
    return np.where((a == 1) | (b == 1), 1.0, np.where(np.isnan(a) | np.isnan(b), np.nan, 0.0))
