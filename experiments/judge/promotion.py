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
from engine.ope.metrics.gate import Gate
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
from engine.time.localtime import datetime_of
from experiments.judge.audit import gate_sentence, passed_gate
from experiments.judge.learnt_rows import LEARNT_FROM, MARK
from experiments.judge.promotion_gate import LIVE, LOGGED, After, Judged, PromoteConfig, judge
from experiments.judge.specs import parse_spec
from experiments.outputs import Output
from policies.trained import TrainedFolder

Advance = Callable[[float], None]
REFUSED: Final = "refused"
ALREADY: Final = "it serves already, as an earlier run let it; nothing changed"


class PromoteOutput(Output, frozen=True, kw_only=True):
    """`tactful promote --json`.

    Attributes:
        promoted: whether the version serves now.
        overridden: why it does although the gate refused, or ""; in the history too.
        version / previous: the new version, and the one that served before; null where none did.
        sequence: number of the pointer now; null where nothing ever served.
        rows: number of rows of the log that the gate rests on.
        gate: its answer; null where an override let the version through without one, or where it served already.
    """

    promoted: bool
    overridden: str
    live: str
    version: str
    previous: str | None
    sequence: int | None
    metric: str
    rows: int
    gate: Gate | None
    notes: tuple[str, ...] = ()


class RollbackOutput(Output, frozen=True, kw_only=True):
    """`tactful rollback --json`: what serves now, and what served before."""

    live: str
    version: str
    previous: str
    sequence: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signature:
    """Who changes what serves, when and why; it stands in the history.

    Attributes:
        who: a person or a job.
        at: aware instant.
        why: the reason in words; "" says nothing.
    """

    who: str
    at: datetime
    why: str = ""

    def entry(self) -> dict[str, Any]:
        """The fields of a line of the history."""
        return {"who": self.who, "at": self.at.isoformat(), "why": self.why}


def promote(
    policy: Path,
    live: Path,
    log: Given,
    metric: str,
    config: PromoteConfig,
    signed: Signature,
    *,
    override: str = "",
    advance: Advance | None = None,
) -> PromoteOutput:
    """Judge a new version against the live one, and let it serve where the gate does; every attempt is written down.

    Without a live version the new one is judged against what the log did.

    Args:
        policy: folder of the new version.
        live: live folder; made by the first promotion.
        log: a recent log, with propensities.
        metric: primary metric, more is better.
        config: what the gate asks.
        signed: who, when, why.
        override: why it must serve whatever the gate says; "" leaves the answer to the gate.
        advance: called with the progress of the evaluation.

    Raises:
        DataError: a log that cannot judge it: no such metric, other actions, no rows that it has not learnt from.
        ArtefactError: a damaged folder.
        GateError: the live version changed while this one was judged.
        StorageError: the disk refused; what served before still does.
    """
    new = TrainedFolder(policy)
    before = read_pointer(live) if is_live_folder(live) else None
    if before is not None and before.version == new.version:
        return _serves_already(live, metric, before)
    notes: list[str] = []
    judged: Judged | None = None
    try:
        judged = _judged(new, _serving(live, before), LogReader(log), metric, config, notes, advance)
    except TactfulError as error:
        if not override:
            raise
        notes.append(f"not judged: {error.message}")
    passed = judged is not None and judged.gate.passed
    overridden = "" if passed else override
    entry = {
        **signed.entry(),
        "metric": metric,
        "log": named(log),
        "rows": 0 if judged is None else judged.rows,
        "from": None if before is None else before.version,
        "override": overridden,
        "notes": notes,
        "gate": None if judged is None else _figures(judged),
    }
    with changing(live) as folder:
        after = _change(folder, policy, new.version, before, entry, serve=passed or bool(overridden))
    return PromoteOutput(
        promoted=after is not None,
        overridden=overridden,
        live=str(live),
        version=new.version,
        previous=None if before is None else before.version,
        sequence=(after or before or Pointer("", 0)).sequence or None,
        metric=metric,
        rows=entry["rows"],
        gate=None if judged is None else judged.gate,
        notes=tuple(notes),
    )


def _serves_already(live: Path, metric: str, now: Pointer) -> PromoteOutput:
    """The answer to a promotion of what serves: a promotion that died after the change may be asked for again."""
    TrainedFolder(version_folder(live, now.version))
    done = changes(live)
    last = done[-1] if done else {}
    return PromoteOutput(
        promoted=True,
        overridden=str(last.get("override", "")),
        live=str(live),
        version=now.version,
        previous=last.get("from"),
        sequence=now.sequence,
        metric=metric,
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


def _serving(live: Path, now: Pointer | None) -> Path | None:
    """The folder of the version that serves; None where none does."""
    return None if now is None else version_folder(live, now.version)


def _judged(
    trained: TrainedFolder,
    serving: Path | None,
    reader: LogReader,
    metric: str,
    config: PromoteConfig,
    notes: list[str],
    advance: Advance | None,
) -> Judged:
    audit = passed_gate(reader, metric, config.audit, None, option="--override")
    if audit is not None and audit.warned:
        notes.append(f"the audit of the log {gate_sentence(audit)}")
    new = parse_spec(str(trained.path), reader)[0]
    today: Target = LoggedTarget()
    if serving is None:
        notes.append("there is no live version yet: judged against what the log did")
    else:
        today = parse_spec(str(serving), reader)[0]
    side = _unseen(trained, reader, metric, config, notes)
    return judge(reader, new, today, metric, config, side, advance, baseline=LOGGED if serving is None else LIVE)


def _unseen(
    trained: TrainedFolder, reader: LogReader, metric: str, config: PromoteConfig, notes: list[str]
) -> After | None:
    """The rows that the new version has not learnt from."""
    learnt, last_at = trained.training_rows(), trained.source.get(LEARNT_FROM, {}).get("last_at")
    if learnt is None:
        notes.append("the new version does not say which rows it learnt from; a log that it learnt from flatters it")
    shared = 0 if learnt is None else learnt.shared(Selection(reader, metric, context=False))
    if config.learnt_rows == "keep":
        if shared or (learnt is None and last_at is not None):
            notes.append(f"the new version is {MARK} (learnt_rows=keep), which flatters it")
        return None
    if last_at is None:
        if shared:
            raise DataError(
                f"the new version learnt from {shared} of the rows of {reader.path}, so they cannot judge it",
                hint="give another log, or learnt_rows=keep, which is said in every output",
            )
        return None
    side = After(last_at)
    kept = sum(int(side.keep(batch).sum()) for batch in reader.rounds(context=False))
    if kept == 0:
        raise DataError(
            f"no decision of {reader.path} is later than the last one that the new version learnt from "
            f"({datetime_of(last_at).isoformat()}), so none of them can judge it",
            hint="give a log of later decisions, or learnt_rows=keep, which is said in every output",
        )
    if kept < reader.rows:
        notes.append(
            f"{reader.rows - kept} of {reader.rows} rows were left out: they are not later than the last decision that "
            f"the new version learnt from ({datetime_of(last_at).isoformat()})"
        )
    return side


def _change(
    folder: LiveFolder,
    policy: Path,
    version: str,
    before: Pointer | None,
    entry: dict[str, Any],
    *,
    serve: bool,
) -> Pointer | None:
    if folder.pointer != before:
        raise GateError(
            f"another version was promoted to {folder.path} while this one was judged",
            hint="run the same command again: it judges against the version that serves now",
        )
    if not serve:
        folder.note(REFUSED, {**entry, "version": version})
        return None
    if folder.keep(policy, TrainedFolder(policy).kind) != version:
        raise GateError(
            f"{policy} changed while it was judged, so that nobody has judged what lies there now",
            hint="run the same command again when nothing writes to that folder",
        )
    return folder.switch(version, PROMOTED, entry)


def _figures(judged: Judged) -> dict[str, Any]:
    gate = judged.gate
    checks = [
        {
            "metric": check.metric,
            "verdict": check.verdict,
            "gain": check.gain,
            "bound": check.bound,
            "limit": check.limit,
        }
        for check in gate.checks
    ]
    return {"passed": gate.passed, "reason": gate.reason, "error": gate.error, "checks": checks}
