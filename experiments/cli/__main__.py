"""`python -m experiments.cli`: the console script, where its folder is not on the path."""

from __future__ import annotations

import sys

from experiments.cli.launch import main

if __name__ == "__main__":
    sys.exit(main())  # type: ignore[arg-type]
