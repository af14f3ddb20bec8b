"""What `tactful erase --json` prints."""

from __future__ import annotations

from experiments.outputs_base import Output


class ErasedPlace(Output, frozen=True, kw_only=True):
    """One store or file.

    Attributes:
        place: its URL (without a password) or path.
        kind: state, hot log, log, outcomes, table (contacts, facts), rejects, text or other.
        removed: rows that were removed; 0 where the persons were not found.
        clean: whether nothing of the persons is left there.
        note: why not, or "not found".
    """

    place: str
    kind: str
    removed: int
    clean: bool
    note: str = ""


class EraseOutput(Output, frozen=True, kw_only=True):
    """`tactful erase --json`; nothing in it names a person.

    Attributes:
        persons: how many ids were given.
        found: whether any place knew any of them.
        clean: whether every given place is clean; else the command leaves with 3.
        removed: rows in all.
        places: every store and file that was looked at and held something or could not be cleaned, stores always.
        files: how many files were looked at.
        not_given: sources that the logs were made from and that were not among the given places: look there as well.
        at: instant of the request.
        requested_by / reason: as given.
        tool: version of this program.
        acts: URL of a store -> id of the act's record in it.
        record: file of the record, where one was asked for.
    """

    persons: int
    found: bool
    clean: bool
    removed: int
    places: tuple[ErasedPlace, ...]
    files: int
    not_given: tuple[str, ...]
    at: str
    requested_by: str
    reason: str
    tool: str
    acts: dict[str, str] = {}
    record: str | None = None


ERASE_OUTPUTS: dict[str, type[Output]] = {"erase": EraseOutput}
