"""Rule codes in words: what stands beside `C1` wherever people and programs read it."""

from __future__ import annotations

import inspect

from engine.guardrails.pack import RuleEntry
from engine.guardrails.rule import Rule


def rule_words(entry: RuleEntry, rule: Rule) -> str:
    """Name of a rule and what it does, from the first line of its class's docstring ("consent: removes ...")."""
    said = (inspect.getdoc(type(rule)) or "").partition("\n")[0].partition(";")[0].strip().rstrip(".")
    return f"{entry.rule}: {said[:1].lower()}{said[1:]}" if said else entry.rule
