"""The console script's first step: look whether our packages are ours, then run the command.

Were `engine` shadowed, importing the command would already fail with a riddle. So this module imports nothing of ours
before the check, and loads the check by its path.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module, util
from pathlib import Path
from types import ModuleType

CONFIG_EXIT_CODE = 4


def main() -> object:
    """Run `tactful`; exits with 4 and one clear message where a top-level name is shadowed."""
    own = _load(Path(__file__).resolve().parents[2] / "engine" / "shadows.py")
    shadows = own.find_shadows()
    if shadows:
        _report("; ".join(map(str, shadows)), own.HINT)
        return CONFIG_EXIT_CODE
    result: object = import_module("experiments.cli.main").main()
    return result


def _load(path: Path) -> ModuleType:
    """Run one of our files under a name that nothing can shadow."""
    name = "_tactful_shadows"
    spec = util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}; reinstall tactful")
    module = util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while the file runs
    spec.loader.exec_module(module)
    return module


def _report(error: str, hint: str) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": error, "hint": hint}))
    print(f"error: {error}\nhint: {hint}", file=sys.stderr)
