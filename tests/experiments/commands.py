"""Runs commands as a user does, and holds every answer against the JSON schema made from its type."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from experiments.cli.main import app
from experiments.cli.schema import schema_of
from experiments.cli.terminal import one_line

GROUPS = ("catalog", "guardrails", "state")
# Commands that print their object and leave with a code that says what it means.
SPEAKING = ("audit", "monitor", "erase", "dispatch")
Imported = Callable[[str, str], Path]


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: dict[str, Any]
    err: str


def strict_json(text: str) -> dict[str, Any]:
    """Parse one JSON object; NaN and Infinity are refused as every other language would."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    parsed = json.loads(text, parse_constant=refuse)
    assert isinstance(parsed, dict)
    return parsed


def validate(command: str, out: dict[str, Any]) -> None:
    """Check an object against the schema that `tactful schema` prints for it."""
    Draft202012Validator(schema_of(command)).validate(out)


def call(*arguments: object) -> Answer:
    """Run `tactful ARGUMENTS --json`, whatever comes of it."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            app([*map(str, arguments), "--json"])
        except SystemExit as end:
            code = end.code
    answer = Answer(int(code or 0), strict_json(out.getvalue()), err.getvalue())
    command = "-".join(map(str, arguments[:2])) if arguments[0] in GROUPS else str(arguments[0])
    command += "-learn" if "--learn" in arguments else ""
    failed = answer.code and (arguments[0] not in SPEAKING or "error" in answer.out)
    validate("error" if failed else command, answer.out)
    return answer


def run(*arguments: object) -> dict[str, Any]:
    """Run a command that must succeed; its object."""
    answer = call(*arguments)
    assert answer.code == 0, answer.err
    return answer.out


def screen(*arguments: object) -> str:
    """What a command that must succeed shows without `--json`."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            app([*map(str, arguments)])
        except SystemExit as end:
            code = end.code
    assert not code, err.getvalue()
    return out.getvalue()


def refused(code: int, *arguments: object) -> tuple[str, str]:
    """Run a command that must fail with `code`; its error and hint, which stand on standard error too."""
    answer = call(*arguments)
    assert answer.code == code, answer
    assert set(answer.out) == {"error", "hint"}
    assert f"error: {one_line(answer.out['error'])}" in answer.err
    assert "Traceback" not in answer.err
    return answer.out["error"], answer.out["hint"]


def result(out: dict[str, Any], policy: str, estimator: str) -> dict[str, Any]:
    """The one row of a policy by an estimator."""
    (row,) = [row for row in out["results"] if (row["policy"], row["estimator"]) == (policy, estimator)]
    return row
