"""Promotion and rollback: a new version serves only where a recent log lets it, and one command takes it back."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from engine.errors import DataError, GateError, ParameterError, TactfulError
from engine.log.parquet import LogReader
from engine.log.selection import Selection
from engine.ope.target import LoggedTarget, Target
from engine.storage.given import Given, named
from engine.storage.versions import (
    PROMOTED,
    ROLLED_BACK,
    LiveFolder,
    Pointer,
    changes,
    changing,
    is_live_folder,
    one_before,
    read_pointer,
    version_folder,
)
from experiments.judge.audit_gate import gate_sentence, passed_gate
from experiments.judge.learnt_rows import LEARNT_FROM, MARK
from experiments.judge.metric_rows import gate_check
from experiments.judge.promotion_config import PromoteConfig
from experiments.judge.promotion_judge import After, Judged, judge
from experiments.judge.specs import parse_spec
from experiments.outputs_launch import GateOutput
from experiments.outputs_promotion import PromoteOutput, RollbackOutput
from policies.trained import TrainedFolder

Advance = Callable[[float], None]
NEW, LIVE, LOGGED = "new", "live", "logged"
REFUSED: Final = "refused"
ALREADY: Final = "it serves already, as an earlier run let it; nothing changed"


@dataclass(frozen=True)
class Signature:
    """Who changes what serves, when and why; it stands in the history.

    Attributes:
        who: a person or a job.
        at: aware instant.
        why: in words; "" says nothing.
    """

    who: str
    at: datetime
    why: str = ""

    def entry(self) -> dict[str, Any]:
        """For a line of the history."""
        return {"who": self.who, "at": self.at.isoformat(), "why": self.why}


@dataclass(frozen=True)
class PromoteRequest:
    """What is asked.

    Attributes:
        policy: folder of the new version.
        live: live folder; made by the first promotion.
        log: a recent log, with propensities.
        metric: primary metric, more is better.
        signed: who, when, why.
        override: why it must serve whatever the gate says; "" leaves the answer to the gate.
    """

    policy: Path
    live: Path
    log: Given
    metric: str
    signed: Signature
    override: str = ""


def promote(request: PromoteRequest, config: PromoteConfig, advance: Advance | None = None) -> PromoteOutput:
    """Judge a new version against the live one, and let it serve where the gate does; every attempt is written down.

    Without a live version the new one is judged against what the log did.

    Raises:
        DataError: a log that cannot judge it: no such metric, other actions, no rows that it has not learnt from.
        ArtefactError: a damaged folder.
        GateError: the live version changed while this one was judged.
        StorageError: the disk refused; what served before still does.
    """
    new = TrainedFolder(request.policy)
    before = read_pointer(request.live) if is_live_folder(request.live) else None
    if before is not None and before.version == new.version:
        return _serves_already(request, before)
    notes: list[str] = []
    judged: Judged | None = None
    try:
        judged = _judged(request, before, config, notes, advance)
    except TactfulError as error:
        if not request.override:
            raise
        notes.append(f"not judged: {error.message}")
    passed = judged is not None and judged.gate.passed
    overridden = "" if passed else request.override
    answer = None if judged is None else _gate_output(judged, before)
    entry = {
        **request.signed.entry(),
        "metric": request.metric,
        "log": named(request.log),
        "rows": 0 if judged is None else judged.rows,
        "from": None if before is None else before.version,
        "override": overridden,
        "notes": notes,
        "gate": None if judged is None else _figures(judged),
    }
    with changing(request.live) as folder:
        after = _change(folder, request, new.version, before, entry, serve=passed or bool(overridden))
    return PromoteOutput(
        promoted=after is not None,
        overridden=overridden,
        live=str(request.live),
        version=new.version,
        previous=None if before is None else before.version,
        sequence=(after or before or Pointer("", 0)).sequence or None,
        metric=request.metric,
        rows=entry["rows"],
        gate=answer,
        notes=tuple(notes),
    )


def _serves_already(request: PromoteRequest, now: Pointer) -> PromoteOutput:
    """The answer to a promotion of what serves: a promotion that died after the change may be asked for again."""
    TrainedFolder(version_folder(request.live, now.version))
    done = changes(request.live)
    last = done[-1] if done else {}
    return PromoteOutput(
        promoted=True,
        overridden=str(last.get("override", "")),
        live=str(request.live),
        version=now.version,
        previous=last.get("from"),
        sequence=now.sequence,
        metric=request.metric,
        rows=int(last.get("rows", 0)),
        gate=None,
        notes=(ALREADY,),
    )


def rollback(
    live: Path, signed: Signature, to: str | None = None, told: Callable[[RollbackOutput], None] | None = None
) -> RollbackOutput:
    """Let an earlier version serve again: the one before the live one, or a named one.

    A rollback that died after the change, before its caller heard of it, is not done a second time when it is asked for
    again: then the answer is that of the first.

    Args:
        live: the live folder.
        signed: who, when, why.
        to: a version that is kept there.
        told: called with the answer before the change counts as known to the caller.

    Raises:
        DataError: there is no earlier version, or no live folder.
        ParameterError: `to` names no version that is kept there.
        ArtefactError: the version is damaged or not kept.
        StorageError: the disk refused; what served before still does.
    """
    if not is_live_folder(live):
        raise DataError(f"{live} is no live folder", hint="give a folder that `tactful promote` made")
    with changing(live) as folder:
        before = read_pointer(live)
        if to is not None:
            _require_kept(live, to)
        if to == before.version or (to is None and folder.unheard()):
            output = _again(live, before)
        else:
            output = _rolled_back(folder, before, signed, to)
        if told is not None:
            told(output)
        folder.heard()
    return output


def _rolled_back(folder: LiveFolder, before: Pointer, signed: Signature, to: str | None) -> RollbackOutput:
    live = folder.path
    version = one_before(live) if to is None else to
    if version is None:
        raise DataError(f"{live} never served another version", hint="name one of its versions with --to")
    # Every hash is verified before it serves.
    TrainedFolder(version_folder(live, version))
    folder.expect()
    after = folder.switch(version, ROLLED_BACK, {**signed.entry(), "from": before.version})
    return RollbackOutput(live=str(live), version=version, previous=before.version, sequence=after.sequence)


def _again(live: Path, now: Pointer) -> RollbackOutput:
    """The answer where what is asked for has happened already."""
    done = changes(live)
    return RollbackOutput(
        live=str(live),
        version=now.version,
        previous=str(done[-1].get("from") or now.version) if done else now.version,
        sequence=now.sequence,
        notes=(ALREADY,),
    )


def _require_kept(live: Path, to: str) -> None:
    folder = version_folder(live, "")
    kept = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if to not in kept:
        near = difflib.get_close_matches(to, kept, n=1)
        hint = f"did you mean {near[0]}?" if near else "leave --to out for the version before the live one"
        raise ParameterError("to", "rollback", allowed=f"one of {', '.join(kept)}", got=to, hint=hint)


def _judged(
    request: PromoteRequest, before: Pointer | None, config: PromoteConfig, notes: list[str], advance: Advance | None
) -> Judged:
    reader = LogReader(request.log)
    audit = passed_gate(reader, request.metric, config.audit, None, option="--override")
    if audit is not None and audit.warned:
        notes.append(f"the audit of the log {gate_sentence(audit)}")
    new = parse_spec(str(request.policy), reader)[0]
    today: Target = LoggedTarget()
    if before is None:
        notes.append("there is no live version yet: judged against what the log did")
    else:
        today = parse_spec(str(version_folder(request.live, before.version)), reader)[0]
    side = _unseen(request, config, notes)
    return judge(reader, new, today, request.metric, config, side, advance)


def _unseen(request: PromoteRequest, config: PromoteConfig, notes: list[str]) -> After | None:
    """The rows that the new version has not learnt from."""
    trained, reader = TrainedFolder(request.policy), LogReader(request.log)
    learnt, last_at = trained.training_rows(), trained.source.get(LEARNT_FROM, {}).get("last_at")
    if learnt is None:
        notes.append("the new version does not say which rows it learnt from; a log that it learnt from flatters it")
    shared = 0 if learnt is None else learnt.shared(Selection(reader, request.metric, context=False))
    if config.learnt_rows == "keep":
        if shared or (learnt is None and last_at is not None):
            notes.append(f"the new version is {MARK} (learnt_rows=keep), which flatters it")
        return None
    if last_at is None:
        if shared:
            raise DataError(
                f"the new version learnt from {shared} of the rows of {request.log}, so they cannot judge it",
                hint="give another log, or learnt_rows=keep, which is said in every output",
            )
        return None
    side = After(last_at)
    kept = sum(int(side.keep(block).sum()) for block in reader.blocks(context=False))
    if kept == 0:
        raise DataError(
            f"the new version learnt from rows as late as all of {named(request.log)}, so they cannot judge it",
            hint="give a later log",
        )
    if kept < reader.rows:
        notes.append(f"{reader.rows - kept} of {reader.rows} rows are not later than what the new version learnt from")
    return side


def _change(
    folder: LiveFolder,
    request: PromoteRequest,
    version: str,
    before: Pointer | None,
    entry: dict[str, Any],
    *,
    serve: bool,
) -> Pointer | None:
    if folder.pointer != before:
        raise GateError(
            f"another version was promoted to {request.live} while this one was judged", hint="judge it again"
        )
    if not serve:
        folder.note(REFUSED, {**entry, "version": version})
        return None
    if folder.keep(request.policy, TrainedFolder(request.policy).kind) != version:
        raise GateError(f"{request.policy} changed while it was judged", hint="judge it again")
    return folder.switch(version, PROMOTED, entry)


def _figures(judged: Judged) -> dict[str, Any]:
    gate = judged.gate
    checks = [
        {
            "metric": check.demand.metric,
            "verdict": check.verdict,
            "gain": check.gain,
            "bound": check.bound,
            "limit": check.limit,
        }
        for check in gate.checks
    ]
    return {"passed": gate.passed, "reason": gate.reason, "error": gate.error, "checks": checks}


def _gate_output(judged: Judged, before: Pointer | None) -> GateOutput:
    gate = judged.gate
    return GateOutput(
        policy=NEW,
        baseline=LOGGED if before is None else LIVE,
        passed=gate.passed,
        reason=gate.reason,
        error=gate.error,
        checks=tuple(gate_check(check, check.demand.metric, "") for check in gate.checks),
    )
