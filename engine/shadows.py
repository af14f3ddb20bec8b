"""Are the packages that Python would import under our generic names really ours?

`engine`, `policies`, `simulator`, `experiments` and `conf` are names that any other project may use for a folder of its
own. Whatever stands earlier on `sys.path` wins in silence, and the error shows up far away as a missing attribute. So
the command looks first. This file needs the standard library alone until it raises: it is also loaded by its path, at a
moment when `engine` itself may be somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path

NAMES = ("engine", "policies", "simulator", "experiments", "conf")
HOME = Path(__file__).resolve().parents[1]
HINT = (
    "start the command from another folder, take the other folder off PYTHONPATH, "
    "or install tactful into a virtual environment of its own"
)


@dataclass(frozen=True)
class Shadow:
    """One of our names that leads elsewhere.

    Args:
        name: the top-level name.
        found: what Python would import under it; None where it finds nothing.
        expected: our own package.
    """

    name: str
    found: Path | None
    expected: Path

    def __str__(self) -> str:
        if self.found is None:
            return f"package `{self.name}` is missing, expected at {self.expected}"
        return f"package `{self.name}` is shadowed: {self.found} stands before {self.expected}"


def find_shadows(names: tuple[str, ...] = NAMES, home: Path = HOME) -> tuple[Shadow, ...]:
    """Compare where each name leads with where this distribution lies; imports none of them.

    Args:
        names: top-level package names.
        home: the folder that holds all of them.

    Returns:
        One entry per name that leads elsewhere, in the order of `names`; empty where all is well.
    """
    shadows = (Shadow(name, _location(name), home / name / "__init__.py") for name in names)
    return tuple(shadow for shadow in shadows if shadow.found is None or shadow.found != shadow.expected.resolve())


def check_names(names: tuple[str, ...] = NAMES, home: Path = HOME) -> None:
    """Refuse to start where one of our top-level names is shadowed by another distribution or folder.

    Args:
        names: top-level package names.
        home: the folder that holds all of them.

    Raises:
        ConfigError: a name leads elsewhere; says which file stands before which of ours.
    """
    shadows = find_shadows(names, home)
    if shadows:
        # Late, because this module must load even where `engine` is not ours.
        raise import_module("engine.errors").ConfigError("; ".join(map(str, shadows)), hint=HINT)


def _location(name: str) -> Path | None:
    """The file that `import name` runs, or the folder of a package without `__init__.py`."""
    try:
        spec = util.find_spec(name)
    except ValueError:  # a module that somebody put into sys.modules without a spec
        return None
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin).resolve()
    return next((Path(place).resolve() for place in spec.submodule_search_locations or ()), None)
