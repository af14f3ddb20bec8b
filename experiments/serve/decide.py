"""Decide for a contact file: batches of contacts in, one whole decision log out, in flat memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from engine.catalog import Catalog
from engine.contacts.contacts import ContactBatch
from engine.contacts.file import contact_batches, has_at_least
from engine.decide.batch import decide_batch
from engine.decide.decided import Decided, Summary
from engine.decide.plan import Plan, decision_meta
from engine.errors import ParameterError
from engine.features import FeatureSchema
from engine.guardrails.brakes import tiers_on
from engine.guardrails.conditions import NOTHING_SAID, Conditions, load_conditions
from engine.guardrails.counts import nothing_left
from engine.guardrails.known_names import known_conditions
from engine.guardrails.layer import Guardrails
from engine.guardrails.lint.protections import warnings_of
from engine.guardrails.pack import pack_from, require_people
from engine.limits.batch import SharedLimits
from engine.limits.limit_set import load_limits
from engine.limits.quota import SqlQuota
from engine.log.parquet import conform_to
from engine.log.whole_file import ParquetFile
from engine.records.schema import MARK_KEY, SETTINGS_KEY, log_schema
from engine.state.sends.promises import Promises
from engine.state.sequence import Mark, in_folder
from engine.state.store import SqlState
from engine.storage.artefact import sha256
from engine.storage.given import Given, named
from engine.storage.replaceable import require_free
from engine.storage.versions import served_folder
from engine.time.instants import value_hint
from engine.time.localtime import instant_of
from engine.types import HOLD
from experiments.outputs import CommandOutput, KeyOutput
from experiments.serve.prices import (
    PricesOutput,
    Pricing,
    plan_under_prices,
    plan_with_prices,
    pricing_of,
    recorded_prices,
    shown_prices,
)
from experiments.serve.remember import Recollection
from experiments.settings import DecideConfig
from policies.content.policy import BlockPolicy
from policies.peers.config import is_rule
from policies.peers.rule import RulePolicy, read_rule
from policies.prices.pricing import Prices
from policies.trained import TrainedFolder
from policies.vw.scoring.compiled import CompiledPolicy

Advance = Callable[[float], None]
# Contacts from which on the numba kernels save more than compiling them costs. Numba and numpy agree on propensities to
# 1e-12, not to the last bit, so the size of the whole file decides: the same file gives the same bytes in batches of
# any size.
FAST_FROM: Final = 200_000


class DecideOutput(CommandOutput, frozen=True, kw_only=True):
    """`tactful decide --json`.

    Attributes:
        sends: per action name, how often it was chosen; hold is counted in `held`.
        held: contacts that get no message now.
        held_all_removed: those of them for which guardrails removed every send.
        removed: rule -> (contact, action) pairs that it removes.
        blocked_contacts: rule -> contacts for which it alone removes every send.
        brakes: "channel rate" -> tier, of the brakes that are on; warnings are among them.
        suppressed: sends that were drawn but found no room in the state store; they are recorded as suppressed.
        suppressed_by: cap -> sends that it refused.
        limited: set-level limit -> contacts from whom it took some send.
        prices: budgets that are met in expectation, with their prices; null where there are none.
        contact_key: the key of the contacts' pseudonyms; null in a demonstration, whose key is fixed.
        rules: rule -> its name and what it does.
        decided_before: contacts whose decision an earlier run has taken; it is read from the state store,
            and `removed` and `blocked_contacts` do not count them.
    """

    log: str
    contacts: int
    held: int
    held_all_removed: int
    sends: dict[str, int]
    by_channel: dict[str, int]
    removed: dict[str, int]
    blocked_contacts: dict[str, int]
    policy: str
    pack: str
    now: str
    brakes: dict[str, str] = {}
    suppressed: int = 0
    suppressed_by: dict[str, int] = {}
    limited: dict[str, int] = {}
    prices: PricesOutput | None = None
    contact_key: KeyOutput | None = None
    rules: dict[str, str] = {}
    decided_before: int = 0


@dataclass(frozen=True)
class DecideRequest:
    """One run of decisions: the policy, the contacts, the instant, and the stores that it reads.

    Attributes:
        policy: folder of a trained policy, or a live folder (`engine.storage.versions`).
        contacts: contact file, see docs/contacts.md.
        now: aware instant of the decisions.
        out: the decision log to write.
        contact_key: key of the contacts' pseudonyms.
        conditions: yaml or JSON file of the sender's side (docs/brakes.md); None says nothing.
        state: URL of the store of contact state (docs/state.md); None reads contacts from the file alone.
        limits: set-level limits by name or path of a yaml (docs/limits.md), counted in the same store.
        replace: overwrite a log that is there.
        history: logs with outcomes from which the contacts' own past is counted (docs/memory.md), where the policy
            reads it; None leaves it to the columns of the contacts.
    """

    policy: Path
    contacts: Given
    now: datetime
    out: Path
    contact_key: str
    conditions: Path | None = None
    state: str | None = None
    limits: str | None = None
    replace: bool = True
    history: Given | None = None

    def __post_init__(self) -> None:
        if self.limits is not None and self.state is None:
            raise ParameterError(
                "limits",
                "decide",
                allowed="together with --state",
                got=self.limits,
                hint="limits are counted in a store that all processes share",
            )


def parse_now(text: str) -> datetime:
    """An ISO 8601 instant with offset.

    Raises:
        ParameterError: not ISO, without an offset, or outside the years 1990 to 2199.
    """
    try:
        now = datetime.fromisoformat(text)
    except ValueError as error:
        allowed = "ISO 8601, as 2026-11-22T15:00:00+00:00"
        raise ParameterError("now", "this command", allowed=allowed, got=text, hint=value_hint(text)) from error
    if now.tzinfo is None:
        raise ParameterError(
            "now",
            "decide",
            allowed="with an offset, as 2026-11-22T15:00:00+00:00",
            got=text,
            hint="an instant without an offset means another one in every zone",
        )
    instant_of(now, owner="this command")
    return now


def decide_file(request: DecideRequest, config: DecideConfig, advance: Advance | None = None) -> DecideOutput:
    """Decide for every contact of a file; the log appears whole or not at all.

    Raises:
        ArtefactError: a damaged policy folder, or one that is not compiled.
        ConfigError: a guardrail pack or conditions that cannot be used, or a store that is under another contact key.
        DataError: contacts that cannot be read, or a wrong value, with its row; no store under the URL.
        EligibilityError: a pack that must not start (empty, or without the consent rule).
        StorageError: the log cannot be written.
    """
    trained: TrainedFolder | None = None
    policy: CompiledPolicy | BlockPolicy | RulePolicy
    if is_rule(str(request.policy)):
        policy, version = read_rule(request.policy), f"rule-{sha256(request.policy)[:12]}"
        schema = policy.schema
    else:
        # Read once: a promotion in the middle of a job changes nothing for it.
        request = replace(request, policy=served_folder(request.policy))
        trained = TrainedFolder(request.policy)
        policy = replace(trained.compiled(), fast=has_at_least(request.contacts, FAST_FROM))
        schema, version = trained.features, policy.version
    guardrails = Guardrails(pack_from(config.guardrails, source="guardrails"), policy.catalog, features=schema)
    plan = Plan(
        guardrails,
        policy,
        version,
        seed=config.seed,
        use_case=config.use_case,
        contact_key=request.contact_key,
        control_share=config.control_share,
        uniform_share=config.uniform_share,
        conditions=_conditions(request.conditions, policy.catalog),
    )
    pricing = pricing_of(config.prices, trained, policy.catalog, schema)
    if isinstance(policy, BlockPolicy) and not pricing.needless:
        allowed = "without budgets, floor, costs and baseline for a policy over modular content"
        raise ParameterError("prices", "decide", allowed=allowed, got="some", hint="prices.baseline=none")
    past = None
    if request.history is not None:
        if trained is None:
            raise ParameterError("history", "decide", allowed="left out with a file of rules", got=str(request.history))
        past = Recollection.of(request.history, trained, request.contact_key)
    return decide_with(plan, schema, request, config.block_rows, advance, pricing, past)


def _conditions(path: Path | None, catalog: Catalog) -> Conditions:
    """The conditions of a file, refused before any contact is read where they name what the catalog does not have."""
    return NOTHING_SAID if path is None else known_conditions(load_conditions(path), catalog)


def decide_with(
    plan: Plan,
    schema: FeatureSchema,
    request: DecideRequest,
    block_rows: int,
    advance: Advance | None = None,
    pricing: Pricing | None = None,
    past: Recollection | None = None,
) -> DecideOutput:
    """`decide_file` for any policy of ours, not only a trained folder; state and limits are those of the request.

    Prices are found in a first pass over the contacts, before any of them is decided for.

    Raises:
        EligibilityError: a pack that is for the simulator alone.
    """
    require_people(plan.guardrails.pack)
    require_free(request.out, replace=request.replace, inputs=[request.contacts, request.conditions, request.history])
    with ExitStack() as stores:
        plan, prices = _with_stores(plan, request, stores), None
        if pricing is not None and not pricing.needless:
            batches = _blocks(plan, schema, request, block_rows, past)
            first = next(batches)
            prices = recorded_prices(plan, first, request.now)
            if prices is None:
                plan, prices = plan_under_prices(plan, chain([first], batches), schema, pricing, request.now)
            else:
                plan = plan_with_prices(plan, prices)
        output = _decide_all(plan, schema, request, block_rows, advance, prices, past)
    return msgspec.structs.replace(output, prices=shown_prices(pricing, prices))


def _with_stores(plan: Plan, request: DecideRequest, stores: ExitStack) -> Plan:
    if request.state is None:
        return plan
    store = stores.enter_context(SqlState.existing(request.state))
    store.use_key(plan.contact_key)
    limits = None
    if request.limits is not None:
        named = load_limits(request.limits)
        named.check(plan.catalog)
        limits = SharedLimits(named, stores.enter_context(SqlQuota(request.state)))
    mark = store.mark()
    in_folder(request.out.parent, mark.store_id).check(mark, same=False)
    return replace(plan, limits=limits, promises=Promises(store))


def _decide_all(
    plan: Plan,
    schema: FeatureSchema,
    request: DecideRequest,
    block_rows: int,
    advance: Advance | None,
    prices: Prices | None,
    past: Recollection | None,
) -> DecideOutput:
    batches = _blocks(plan, schema, request, block_rows, past)
    total = Summary()
    first = next(batches)
    meta = decision_meta(plan, first, source=named(request.contacts), policy_folder=str(request.policy))
    if past is not None:
        meta = msgspec.structs.replace(meta, memory=past.note)
    if prices is not None:
        meta = msgspec.structs.replace(meta, prices={plan.policy_version: prices.to_builtins()})
    file_schema = log_schema(meta)
    with ParquetFile(request.out, file_schema, late_footer=True) as file:
        decided = decide_batch(plan, first, request.now)
        _append(file, decided, total, file_schema)
        for contacts in batches:
            decided = decide_batch(plan, contacts, request.now)
            _append(file, decided, total, file_schema)
            if advance is not None:
                advance(contacts.n)
        output = _output(plan, request, total)
        # Where most decisions are held because something is missing, every later report of this log must say it.
        said = msgspec.structs.replace(meta, notes=(*meta.notes, *output.warnings))
        file.set_footer(log_schema(said).metadata)
        mark = _mark(plan, total)
        if mark is not None:
            file.note(MARK_KEY, msgspec.json.encode(mark))
            file.note(SETTINGS_KEY, msgspec.json.encode(plan.settings))
    if mark is not None:
        in_folder(request.out.parent, mark.store_id).note(mark)
    return output


def _mark(plan: Plan, total: Summary) -> Mark | None:
    """The newest change of the store among the decisions: a run that reads them all has the same."""
    if plan.promises is None or not isinstance(plan.promises.store, SqlState):
        return None
    return Mark(plan.promises.store.mark().store_id, total.sequence)


def _blocks(
    plan: Plan, schema: FeatureSchema, request: DecideRequest, block_rows: int, past: Recollection | None
) -> Iterator[ContactBatch]:
    batches = contact_batches(
        request.contacts, schema, plan.catalog, request.now, block_rows, plan.guardrails.extra_inputs
    )
    return batches if past is None else (past.into(batch, request.now) for batch in batches)


def _append(file: ParquetFile, decided: Decided, total: Summary, schema: pa.Schema) -> None:
    file.append(conform_to(decided.table, schema))
    total.add(decided)


def _output(plan: Plan, request: DecideRequest, total: Summary) -> DecideOutput:
    catalog = plan.catalog
    by_channel: dict[str, int] = {}
    for action, times in total.by_action.items():
        if action != HOLD:
            channel = catalog.channels[(action - 1) // (catalog.shape[1] * catalog.shape[2])]
            by_channel[channel] = by_channel.get(channel, 0) + times
    rules = total.removed.rules
    words = plan.guardrails.words
    unknowns = total.unknowns.sentences(plan.guardrails.inputs, stored=request.state is not None)
    warnings = (*unknowns, *total.beside.sentences())
    return DecideOutput(
        warnings=(*warnings_of(plan.guardrails), *warnings, *nothing_left(total.removed, words)),
        rules={name: words[name] for name in rules if name in words},
        log=str(request.out),
        contacts=total.removed.contacts,
        held=total.by_action.get(HOLD, 0),
        held_all_removed=total.removed.held,
        sends=dict(total.sends(catalog)),
        by_channel=by_channel,
        removed={name: count.pairs for name, count in rules.items()},
        blocked_contacts={name: count.contacts for name, count in rules.items()},
        policy=str(request.policy),
        pack=plan.guardrails.version,
        now=request.now.isoformat(),
        suppressed=total.suppressed,
        suppressed_by=dict(sorted(total.reasons.items())),
        limited=dict(sorted(total.limited.items())),
        brakes=tiers_on((rule for _, rule in plan.guardrails.rules), plan.sender),
        decided_before=total.read,
    )
