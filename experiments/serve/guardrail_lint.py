"""Lint a pack by name or path."""

from __future__ import annotations

import datetime as dt

from engine.guardrails.lint.flaws import ERROR
from engine.guardrails.lint.legal import legal_reference
from engine.guardrails.lint.pack import lint_pack
from engine.guardrails.pack import read_pack
from experiments.outputs_guardrails import LintOutput
from experiments.serve.guardrail_sources import catalog_named


def lint_named(pack: str, today: dt.date, catalog: str | None, *, strict: bool, part: bool) -> LintOutput:
    """Every flaw of a pack.

    Args:
        pack: name of a shipped pack, or path of a yaml file.
        today: provenance is judged against it.
        catalog: name or path, or None to leave out what depends on one.
        strict: whether warnings fail as well.
        part: the file is a fragment that lists nothing but `rules`.

    Raises:
        ConfigError: the pack, the catalog or the legal reference cannot be read at all.
    """
    data = read_pack(pack)
    flaws = lint_pack(
        data,
        today=today,
        reference=legal_reference(),
        catalog=None if catalog is None else catalog_named(catalog),
        part=part,
    )
    errors = sum(flaw.level == ERROR for flaw in flaws)
    rules = data.get("rules") if isinstance(data, dict) else None
    return LintOutput(
        pack=pack,
        rules=len(rules) if isinstance(rules, list) else 0,
        errors=errors,
        warnings=len(flaws) - errors,
        ok=not (flaws if strict else errors),
        flaws=flaws,
    )
