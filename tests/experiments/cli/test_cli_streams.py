"""Standard output that is full, closed or of another encoding: one error line and exit code 5, never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.experiments.cli.test_bad_input import Place

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
LINT = "guardrails lint default --today 2026-11-22"
HELP = "--help"


def shell(line: str, root: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of the shell in which TACTFUL is the command."""
    command = f"{sys.executable} -W ignore -m experiments.cli"
    variables = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    asked = ["bash", "-c", f"set -o pipefail; {line.replace('TACTFUL', command)}"]
    return subprocess.run(asked, cwd=root, env=variables, capture_output=True, check=False)


@pytest.mark.parametrize(
    "line",
    [
        f"TACTFUL {LINT} >/dev/full",
        f"TACTFUL {HELP} >/dev/full",
        f"TACTFUL {LINT} --json >&-",
        f"TACTFUL {LINT} | true; exit ${{PIPESTATUS[0]}}",
    ],
)
def test_standard_output_that_takes_nothing(line: str, root: Path) -> None:
    # The reader of a pipe may be gone before or after the last line; `sleep` makes it before.
    done = shell(line.replace("| true", "| (exec <&-; sleep 0.1)"), root)
    assert done.returncode == 5, done
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("error: "), lines
    assert "standard output" in lines[0]
    assert len(lines) == 2
    assert lines[1].startswith("hint: ")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"TACTFUL {LINT} 2>&-", 0),
        ("TACTFUL guardrails lint nowhere --json >/dev/full 2>/dev/full", 4),
        ("TACTFUL erase --ids - --log . <&-", 2),
    ],
)
def test_the_code_says_what_happened_though_nobody_listens(line: str, code: int, root: Path) -> None:
    done = shell(line, root)
    assert done.returncode == code, done
    assert b"Traceback" not in done.stderr


def test_another_encoding_shows_escapes_and_json_stays_utf8(root: Path, tmp_path: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    (tmp_path / "m.yaml").write_text("name: é\n", encoding="utf-8")
    asked = f"TACTFUL import --mapping '{tmp_path}/ménage.yaml' --input x.csv --out '{tmp_path}/o.parquet'"
    plain = shell(asked, root, **locale)
    assert plain.returncode == 4, plain
    assert b"Traceback" not in plain.stderr
    assert plain.stderr.count(b"error:") == 1
    as_json = shell(f"{asked} --json", root, **locale)
    assert "nage.yaml" in json.loads(as_json.stdout.decode("utf-8"))["error"]


def _rows_written(folder: Path) -> bool:
    """Whether rows of the log stand under its temporary name: a Parquet file begins with four bytes and no rows."""
    parts = [path for path in folder.glob(".out.parquet.*.part") if "rejects" not in path.name]
    return any(path.stat().st_size > 4 for path in parts)


def test_ctrl_c_is_one_line(root: Path, tmp_path: Path) -> None:
    """A large import is interrupted: code 130, no output, nothing under the output's name."""
    place = Place(tmp_path)
    rows = place.source.read_text().splitlines()
    place.source.write_text("\n".join([rows[0], *(f"{n}{row}" for n in range(20_000) for row in rows[1:])]))
    command = [sys.executable, "-W", "ignore", "-m", "experiments.cli", *map(str, place.importing())]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        deadline = time.monotonic() + 60
        while not _rows_written(tmp_path) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert err.decode() == "error: interrupted\n"
    assert not place.out.exists()
    assert not list(tmp_path.glob(".*.part"))
