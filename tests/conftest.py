"""Fixtures that every test may use, and which tests run in which order."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, and no limit per example: a busy machine must not fail a test.
settings.register_profile("project", derandomize=True, deadline=None, database=None)
settings.load_profile("project")

# Commands would else make a key in each output folder; tests of the keys themselves take it out again.
os.environ["TACTFUL_CONTACT_KEY"] = "blue heron 04, stone 17"

ROOT = Path(__file__).resolve().parents[1]
# Jobs in the background of a shell ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Names bytes by their number: test workers must find equal names, and packed bytes hold the second of packing."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ends", action="store_true", help="of a test with many cases only the first and the last")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whole files with slow tests come first, so that at the end of a run no worker waits for another's long file."""
    if config.getoption("--ends"):
        cases: dict[str, list[pytest.Item]] = {}
        for item in items:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
        ends = {id(item) for of in cases.values() for item in (of[0], of[-1])}
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in ends])
        items[:] = [item for item in items if id(item) in ends]
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets are not beside this checkout (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Every file of the project, relative to its folder: what git tracks, and what it would take in next."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout to tell the project's files from others")
    # A checkout that another user owns is the rule in containers, and git refuses it unless told otherwise.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(Path(name) for name in set(listed.split("\0")) if name and (ROOT / name).is_file())
