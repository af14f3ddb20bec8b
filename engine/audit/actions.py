"""Whether each row's action is the one that its name says, in the catalog that its file has."""

from __future__ import annotations

from typing import Final

from engine.audit.findings import FAIL, PASS, Finding
from engine.errors import MisnamedActionError
from engine.log.parquet import LogReader

NAME: Final = "actions"


def actions(reader: LogReader) -> Finding:
    """Fails where a row's index, name and catalog version contradict each other or the footer.

    Nothing else can then be said of the log: a reader refuses rows whose actions may be other ones.

    Raises:
        LogFormatError: rows that break the schema.
    """
    try:
        for _ in reader.batches(["action"]):
            pass
    except MisnamedActionError as error:
        return Finding(NAME, FAIL, 1.0, None, 0.0, error.message, error.hint)
    return Finding(NAME, PASS, 0.0, None, 0.0, f"{reader.rows} rows name their actions as their catalog does")
