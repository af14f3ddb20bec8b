"""The wheel, built and installed for real into an environment that knows nothing of this checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("engine", "policies", "simulator", "experiments", "conf")
# Generators, studies and calibration targets.
CHECKOUT_ONLY = ("experiments/shipped_data", "experiments/study", "simulator/calibration", "conf/moments")
pytestmark = pytest.mark.slow


def run(command: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of this checkout, its environment or its coverage in reach."""
    foreign = ("PYTHON", "COVERAGE", "COV_CORE", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment["PIP_USE_PEP517"] = "1"  # old pips warn at length about source archives without it
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an index would make it: from the source archive, not from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    built = run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, root], out)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("tactful-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment: the wheel, its core dependencies at the tested versions, no extra."""
    folder = tmp_path_factory.mktemp("empty")
    made = run([sys.executable, "-m", "venv", folder / "venv"], folder)
    assert made.returncode == 0, made.stderr
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    # Python compiles what it imports; compiling all of every package here would take longer than everything else.
    pip: list[str | Path] = [scripts / "python", "-m", "pip", "--quiet", "install", "--no-compile"]
    # One small package first: it tells "no package index here" from "our wheel does not install".
    if run([*pip, "--no-deps", "tzdata"], folder).returncode:
        pytest.skip("no package index can be reached: an empty environment cannot be filled")
    # The versions without their hashes: with them pip would demand one of the wheel, which is made anew each time.
    locked = (root / "lock" / "run.txt").read_text(encoding="utf-8")
    pins = folder / "pins.txt"
    pins.write_text(re.sub(r" \\\n( +--hash=\S+( \\)?\n)+", "\n", locked), encoding="utf-8")
    done = run([*pip, "--constraint", pins, wheel], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return scripts


def test_wheel_holds_every_file_of_every_package_but_what_needs_a_checkout(
    wheel: Path, project_files: list[Path]
) -> None:
    """A plain list of packages would drop sub-packages and every yaml in silence."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {path.as_posix() for path in project_files if path.parts[0] in (*PACKAGES, "tactful.py")}
    left_out = {name for name in expected if name.startswith(tuple(f"{folder}/" for folder in CHECKOUT_ONLY))}
    assert {"/".join(name.split("/")[:2]) for name in left_out} == set(CHECKOUT_ONLY)
    assert names == expected - left_out


def test_wheel_carries_licence_and_entry_point(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" in name]
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        assert any(name.endswith("licenses/LICENSE") for name in names)
        assert "tactful = experiments.cli.launch:main" in archive.read(entry_points).decode()


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_console_script_runs_from_another_folder(argument: str, installed: Path, tmp_path: Path) -> None:
    done = run([installed / "tactful", argument], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tactful" in done.stdout.lower()


def test_a_command_that_needs_a_checkout_says_so(installed: Path, tmp_path: Path) -> None:
    done = run([installed / "tactful", "calibrate", "--check"], tmp_path)
    assert done.returncode == 4
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: `tactful calibrate` needs a checkout")
    assert hint.startswith("hint: ")


def test_packages_come_from_the_wheel(installed: Path, root: Path, tmp_path: Path) -> None:
    """Were the checkout in reach, every test above would pass on it."""
    names = ", ".join(("tactful", *PACKAGES))
    code = f"import {names}; tactful.Plan; print(*(p.__file__ for p in ({names})), sep='\\n')"
    done = run([installed / "python", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.splitlines()]
    assert len(files) == len(PACKAGES) + 1
    assert all(file.is_relative_to(installed.parent) and not file.is_relative_to(root) for file in files)


def test_every_module_imports_without_the_extras(installed: Path, tmp_path: Path) -> None:
    """The core must work where numba and psycopg are absent; one module is only asked for where numba is there."""
    code = (
        "import importlib, importlib.util, pkgutil\n"
        "assert importlib.util.find_spec('numba') is None, 'numba is no core dependency'\n"
        f"for package in {PACKAGES!r}:\n"
        "    top = importlib.import_module(package)\n"
        "    for found in pkgutil.walk_packages(top.__path__, package + '.'):\n"
        "        if not found.name.endswith(('__main__', '.jitted')):\n"
        "            importlib.import_module(found.name)\n"
    )
    done = run([installed / "python", "-W", "ignore", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
