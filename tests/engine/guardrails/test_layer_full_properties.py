"""Properties of the layer on random packs: subsets of the full and the strange one, with numbers made stricter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.guardrails.judging import judge, removed
from engine.guardrails.layer import Guardrails
from engine.guardrails.pack import Pack, RuleEntry, load_pack
from engine.guardrails.registry import make_rule
from engine.guardrails.rule import Scene
from engine.time.localtime import FARTHEST_SLOT_US, datetime_of, instant_of
from engine.types import BoolArray
from tests.engine.guardrails.oracle.crowd import CATALOG as WHOLE
from tests.engine.guardrails.oracle.crowd import ZONES, crowd
from tests.engine.guardrails.oracle.million import PACKS
from tests.engine.guardrails.oracle.senders import sender
from tests.engine.guardrails.oracle.trials import instants

FULL, STRANGE = load_pack(PACKS["full"]), load_pack(PACKS["strange"])
RULES = {f"{pack.name}-{entry.id}": entry for pack in (FULL, STRANGE) for entry in pack.rules}
SEEDS = range(6)
CATALOG = msgspec.structs.replace(WHOLE, hours=(0, 9, 13, 20, "now"))


def packed(entries: list[RuleEntry]) -> Pack:
    renamed = tuple(msgspec.structs.replace(entry, id=f"{at}-{entry.id}") for at, entry in enumerate(entries))
    return msgspec.structs.replace(FULL, rules=renamed)


class Case:
    """One random subset of rules, always with the consent rule, on one random crowd."""

    def __init__(self, seed: int, contacts: int = 40) -> None:
        self.rng = np.random.default_rng(seed)
        self.now = instants(self.rng, 12)[int(self.rng.integers(12))]
        zones = tuple(self.rng.choice(ZONES, contacts, replace=False).tolist())
        self.batch = crowd(self.rng, zones, instant_of(self.now), CATALOG)
        self.world = sender(self.rng, CATALOG, STRANGE)
        # Few rules, or nothing would be left to anybody.
        picked = self.rng.choice(sorted(RULES), 7, replace=False).tolist()
        self.entries = [FULL.rules[0], *(RULES[name] for name in picked)]

    def layer(self, entries: list[RuleEntry]) -> Guardrails:
        return Guardrails(packed(entries), CATALOG)

    def allowed(self, entries: list[RuleEntry], now: datetime | None = None) -> BoolArray:
        return self.layer(entries).eligibility(self.batch, now or self.now, self.world)[0].dense()

    def left(self, rule: str, params: dict[str, Any]) -> BoolArray:
        """What one rule alone leaves."""
        scene = Scene(CATALOG, self.batch, instant_of(self.now), FULL.latency_margin_s, self.world)
        return removed(judge(make_rule(rule, params), scene), self.batch.n, CATALOG).dense()

    def by_rule(self, entries: list[RuleEntry]) -> list[BoolArray]:
        """What each rule removes."""
        layer = self.layer(entries)
        scene = layer.scene(self.batch, self.now, self.world)
        return [~removed(judge(rule, scene), self.batch.n, CATALOG).dense() for _, rule in layer._rules]


@pytest.mark.parametrize("seed", SEEDS)
def test_allowed_and_removed_are_the_whole_catalog(seed: int) -> None:
    """Explanations list every action once; counts are those of the dense arrays; hold is always there."""
    case = Case(seed)
    layer, gone = case.layer(case.entries), case.by_rule(case.entries)
    eligible, counts = layer.eligibility(case.batch, case.now, case.world)
    allowed = eligible.dense()
    assert allowed.shape == (case.batch.n, CATALOG.k)
    assert allowed[:, 0].all()
    assert np.array_equal(allowed, ~np.logical_or.reduce(gone))
    assert counts.pairs == int((~allowed).sum())
    assert counts.held == int((~allowed[:, 1:].any(axis=1)).sum())
    for count, by_rule in zip(counts.rules.values(), gone, strict=True):
        assert count.pairs == int(by_rule.sum())
        assert count.contacts == int(by_rule[:, 1:].all(axis=1).sum())
    for row in range(3):
        explained = layer.explain(case.batch, row, case.now, case.world)
        assert [action for action, _ in explained] == list(range(CATALOG.k))
        assert [not reasons for _, reasons in explained] == allowed[row].tolist()
        for action, reasons in explained:
            ids = [
                entry.id
                for entry, by_rule in zip(packed(case.entries).rules, gone, strict=True)
                if by_rule[row, action]
            ]
            assert [reason.id for reason in reasons] == ids


@pytest.mark.parametrize("seed", SEEDS)
def test_removing_a_rule_restores_what_it_alone_removed(seed: int) -> None:
    case = Case(seed)
    before, gone = case.allowed(case.entries), case.by_rule(case.entries)
    times = np.sum(gone, axis=0)
    for at in range(1, len(case.entries)):
        after = case.allowed([entry for other, entry in enumerate(case.entries) if other != at])
        assert not (before & ~after).any()  # so adding it allows nothing
        assert np.array_equal(after & ~before, gone[at] & (times == 1))


Change = Callable[[np.random.Generator, dict[str, Any]], dict[str, Any]]


def less(name: str) -> Change:
    """A number that may only be lower."""

    def change(rng: np.random.Generator, params: dict[str, Any]) -> dict[str, Any]:
        old = params.get(name)
        top = {"max_depth": 0.5, "idle_s": 10**7}.get(name, 5) if old is None else old
        return params | {name: type(top)(top * (0.01 + 0.98 * float(rng.random())))}

    return change


def more(name: str) -> Change:
    def change(rng: np.random.Generator, params: dict[str, Any]) -> dict[str, Any]:
        return params | {name: int(params[name] * (1 + 2 * float(rng.random()))) + 1}

    return change


def tighter_caps(rng: np.random.Generator, params: dict[str, Any]) -> dict[str, Any]:
    caps = [
        cap
        | {"max": int(rng.integers(0, (3 if cap["max"] is None else cap["max"]) + 1)), "window_s": cap["window_s"] + 1}
        for cap in params["caps"]
    ]
    return params | {"caps": caps}


def tighter_windows(rng: np.random.Generator, params: dict[str, Any]) -> dict[str, Any]:
    windows = {channel: dict(week) for channel, week in params["windows"].items()}
    for week in windows.values():
        day = str(rng.choice(sorted(week)))
        week[day] = [] if rng.random() < 0.3 else [_shorter(rng, text) for text in week[day]]
    return params | {"windows": windows}


def _shorter(rng: np.random.Generator, text: str) -> str:
    """The window without some minutes at its beginning; never an empty one."""
    start, _, end = text.partition("-")
    minutes = int(start[:2]) * 60 + int(start[3:]) + int(rng.integers(1, 45))
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}-{end}"


def fewer_bases(rng: np.random.Generator, params: dict[str, Any]) -> dict[str, Any]:
    bases = {name: 30 if days is None else days // 2 + 1 for name, days in params["bases"].items()}
    return params | {"bases": dict(list(bases.items())[: max(1, len(bases) - 1)])}


def sooner(rng: np.random.Generator, params: dict[str, Any]) -> dict[str, Any]:
    closing = [kind | {"count": 1, "window_s": None} for kind in params["closing"]]
    return params | {"closing": closing}


TIGHTER: dict[str, list[Change]] = {
    "frequency": [tighter_caps],
    "quiet_hours": [tighter_windows],
    "topic_cap": [less("max"), more("window_s")],
    "cooldown": [more("window_s")],
    "sunset": [less("max_unengaged"), less("idle_s"), more("window_s")],
    "recent_purchase": [lambda rng, params: params | {"scope": "all"}],
    "open_ticket": [lambda rng, params: params | {"after_s": params.get("after_s", 259_200) * 2 + 86_400}],
    "discount": [less("max_depth"), less("max_sends"), more("window_s")],
    "margin_floor": [lambda rng, params: params | {"floor_usd": (params["floor_usd"] or 0) + 2.5}],
    "first_touch": [lambda rng, params: params | {"tau": 1.0}],
    "sticky_price": [more("life_s")],
    "consent_basis": [fewer_bases],
    "incidents": [sooner],
    "line_type": [lambda rng, params: params | {"allowed": params["allowed"] | {"push": ["mobile"], "sms": []}}],
    "volume": [less("max_per_day"), less("max_per_7d")],
    "ramp": [less("growth"), less("floor")],
    "emergency": [lambda rng, params: params | {"states": ["FL", "OK", "TX"]}],
    "operations": [lambda rng, params: params | {"pause_channels": ["email"], "pause_arms": ["promo", "small"]}],
}


# Rules that the stricter number does not make stricter on these crowds: what it removes was removed already.
LOOSE_ENOUGH = {"full-K9-complaint", "full-F10", "strange-O1c", "strange-O6b"} | {
    f"strange-{name}" for name in ("F10", "F10b", "F10c", "F11", "F1d", "F12d", "O2c")
}


@pytest.mark.parametrize("name", sorted(name for name, entry in RULES.items() if entry.rule in TIGHTER))
def test_tightening_a_number_never_allows_more(name: str) -> None:
    """Each rule of both packs alone, every way of being stricter, on crowds of its own."""
    entry, stricter = RULES[name], 0
    for at, change in enumerate(TIGHTER[entry.rule]):
        for seed in range(12):
            if stricter and seed >= 3:
                break
            case = Case(1_000 * at + seed, contacts=60)
            params = entry.params
            if (entry.rule, name) in {("recent_purchase", "strange-O6c")}:
                params = params | {"window_s": 10**6}
            loose, tight = case.left(entry.rule, params), case.left(entry.rule, change(case.rng, dict(params)))
            assert not (tight & ~loose).any(), params
            stricter += int((loose & ~tight).sum())
    assert stricter or name in LOOSE_ENOUGH


# Rules that end by waiting, and do so for some action of these crowds.
WAITING = {f"full-{name}" for name in ("D1", "F4", "F9", "O6", "O7", "O8", "O14", "Q1-Q8", "Q9")} | {
    f"strange-{name}" for name in ("F1", "F1b", "F12", "F9s", "H", "O6b", "O7c", "Q1")
}


@pytest.mark.parametrize("name", sorted(RULES))
def test_next_allowed_at_is_the_first_instant(name: str) -> None:
    """The rule alone passes there, and at no instant of a grid before, up to a microsecond before."""
    entry, checked = RULES[name], 0
    for seed in range(24):
        if seed >= 8 and (checked or name not in WAITING):
            break
        case = Case(50 + seed, contacts=25)
        layer = case.layer([entry] if entry.rule == "consent" else [FULL.rules[0], entry])
        own = layer._rules[-1][0].id
        for row in range(5):
            who = case.batch.alone(row)
            explained = layer.explain(who, 0, case.now, case.world)
            for action in case.rng.integers(1, CATALOG.k, 8).tolist():
                found = [reason.next_allowed_at for reason in explained[action][1] if reason.id == own]
                if found and found[0] is not None:
                    checked += _check_first(layer, own, who, action, case, found[0])
    assert checked or name not in WAITING


def _check_first(layer: Guardrails, own: str, who: Any, action: int, case: Case, first: int) -> int:
    now_at = instant_of(case.now)
    assert first > now_at
    if first >= instant_of(datetime.fromisoformat("2199-12-30T00:00:00Z")):
        return 0
    rule = next(rule for entry, rule in layer._rules if entry.id == own)

    def passes(at: int) -> bool:
        scene = layer.scene(who, datetime_of(at), case.world)
        return bool(removed(judge(rule, scene), 1, CATALOG).dense()[0, action])

    assert passes(first), datetime_of(first)
    # The days just before matter most; a few looks over the whole span besides.
    near = np.linspace(max(now_at, first - FARTHEST_SLOT_US), first - 1, 12).astype(np.int64)
    far = np.linspace(now_at, first - 1, 8).astype(np.int64)
    for at in {*near.tolist(), *far.tolist(), first - 1}:
        assert not passes(at), (datetime_of(at), datetime_of(first), timedelta(microseconds=first - at))
    return 1
