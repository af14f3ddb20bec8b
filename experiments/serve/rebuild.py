"""Bring a state store up to date from logs and outcome files, and say what they cannot give back."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from engine.files.tables import ENDINGS
from engine.log.file import ENDINGS as LOG_ENDINGS
from engine.log.parquet import LogReader
from engine.records import schema as records
from engine.records.outcomes import outcome_frame, read_outcomes
from engine.state.rebuild import Rebuilt
from engine.state.sequence import in_folder
from engine.state.store import SqlState
from engine.storage.given import Given, files_of, given_paths
from engine.time.localtime import instant_of
from experiments.outputs_state import StateRebuildOutput
from experiments.serve.dispatch import footer_of

_FACTS: Final = (
    "Facts stand in no log: record again every file of facts since the copy was made (consents, opt-outs, events, "
    "profiles, sends of other systems) before the next decide or dispatch. Until then the store may let through what "
    "a contact has refused since."
)
_PROMISES: Final = "Promises of runs that died before their log was there are in no log; nothing of them was sent."


def rebuild_store(
    state: str, logs: Given, outcomes: Given, now: datetime, *, create: bool = False
) -> StateRebuildOutput:
    """Put back what the logs and outcomes of a store say; what the store knows already stays.

    Args:
        state: URL of an older copy of the store, or of an empty one.
        logs: decision logs: files, folders or globs.
        outcomes: outcome files, likewise; none where empty.
        now: aware; due sends of which no outcome says anything count as taken.
        create: make a new store where there is none.

    Raises:
        DataError: a file that cannot be read, a joined log, or logs of another store.
        StorageError: the store refused; nothing was written.
    """
    log_files = files_of(logs, what="log", endings=LOG_ENDINGS)
    outcome_files = files_of(outcomes, what="outcome", endings=ENDINGS) if given_paths(outcomes) else ()
    readers = [LogReader(path) for path in log_files]
    table = read_outcomes(outcome_files)[0] if outcome_files else records.outcome_schema().empty_table()
    together = outcome_frame(table)
    footers = [footer for footer in map(footer_of, outcome_files) if footer is not None]
    if not create:
        SqlState.require(state)
    with SqlState(state, behind=True) as store:
        seen = [footer.mark for footer in footers]
        ids = {mark.store_id for mark in (store.mark(), *seen, *(reader.mark for reader in readers)) if mark}
        for folder in {path.parent for path in (*log_files, *outcome_files)}:
            seen += [mark for store_id in ids for mark in in_folder(folder, store_id).marks()]
        done = store.rebuild(readers, together, seen, now_at=instant_of(now, owner="rebuild"))
        mark, unsettled = store.mark(), len(store.taken())
    for folder in {path.parent for path in (*log_files, *outcome_files)}:
        in_folder(folder, mark.store_id).note(mark)
    return StateRebuildOutput(
        decisions=done.decisions,
        sends=dict(sorted(done.sends.items())),
        limits=tuple(sorted(done.limits)),
        unsettled=unsettled,
        sequence=mark.sequence,
        said=_sentences(done, unsettled),
    )


def _sentences(done: Rebuilt, unsettled: int) -> tuple[str, ...]:
    said = [_FACTS, _PROMISES]
    if unsettled:
        said.append(
            f"{unsettled} sends are not settled: no outcome says whether they left, so they count and are not sent "
            "again. See `tactful state unsettled`, and settle them."
        )
    if done.unreadable:
        said.append(
            f"{done.unreadable} decisions come from logs that do not keep the settings of their run: a run of that "
            "instant is refused or decided anew, not read."
        )
    return tuple(said)
