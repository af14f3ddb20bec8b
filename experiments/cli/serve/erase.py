"""`tactful erase`: remove persons from stores and files for good."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from experiments.cli.console import Json, errors, guarded, make_places, progress, show
from experiments.cli.contact_keys import KeyFile, announced

if TYPE_CHECKING:
    from experiments.serve.erase import EraseOutput

_LARGEST_LIST = 1 << 26


def run(
    contacts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONTACT_ID]...", help="Ids of contacts, as the source names them, or pseudonyms."),
    ] = None,
    ids: Annotated[Path | None, typer.Option(help="File of further ids, one a line; - is standard input.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Store of contact state; repeat for several.")] = None,
    hot_log: Annotated[list[str] | None, typer.Option(help="Hot log in SQL; repeat for several.")] = None,
    paths: Annotated[
        list[Path] | None,
        typer.Option(
            *("--log", "--outcomes", "--rejects", "--contacts", "--files"),
            help="Logs, outcomes, rejects, contact and fact files, or folders of them; repeat for several.",
        ),
    ] = None,
    requested_by: Annotated[str, typer.Option(help="Who asked for it, for the record; no personal data.")] = "",
    reason: Annotated[str, typer.Option(help="Why, for the record; no personal data.")] = "",
    record: Annotated[Path | None, typer.Option(help="JSON file for the record of the act.")] = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Erase persons from the given places: rows are removed, files rewritten whole, freed pages overwritten.

    A store keeps a keyed hash of each person and closes all channels for good, also if they are imported again. Leaves
    with 3 where a given place is not clean; the same command again goes on.
    """
    from experiments.serve.erase import EraseRequest, erase, key_folders

    with guarded(as_json=as_json):
        names = tuple(dict.fromkeys([*_clean(contacts or []), *_read(ids)]))
        places, states = tuple(paths or ()), tuple(state or ())
        make_places(record)
        request = EraseRequest(
            names,
            datetime.now(UTC),
            _keys(key_folders(states, places), key_file),
            states,
            tuple(hot_log or ()),
            places,
            requested_by,
            reason,
            record,
        )
        with progress("erasing", None) as advance:
            output = erase(request, advance)
        show(output, [_table(output)], _lines(output), as_json=as_json)
    if not output.clean:
        from engine.errors import DataError

        errors.print("error: not every place is clean", style="red", markup=False, highlight=False, soft_wrap=True)
        errors.print("hint: mend what the notes say and run the same command again", markup=False)
        raise typer.Exit(DataError.exit_code)


def _clean(names: list[str]) -> list[str]:
    return [name.strip() for name in names if name.strip()]


def _read(ids: Path | None) -> list[str]:
    """Ids of a file or of standard input, one a line."""
    from engine.errors import DataError, reason_of

    if ids is None:
        return []
    try:
        if str(ids) == "-":
            text = sys.stdin.read(_LARGEST_LIST + 1)
        else:
            with ids.open(encoding="utf-8-sig") as file:
                text = file.read(_LARGEST_LIST + 1)
    except (OSError, UnicodeError) as error:
        raise DataError(
            f"the ids cannot be read from {ids}: {reason_of(error)}", hint="UTF-8 text, one id a line"
        ) from error
    if len(text) > _LARGEST_LIST:
        raise DataError(f"{ids} holds more than {_LARGEST_LIST} characters", hint="erase so many in several runs")
    return _clean(text.splitlines())


def _keys(folders: list[Path], key_file: Path | None) -> tuple[str, ...]:
    """The key that was given, and those that lie beside the places: several logs may be under several keys."""
    from engine.contacts.key import KEY_FILE, find_key, given_key

    given = given_key(os.environ, owner="erase", file=key_file)
    found = [] if given is None else [announced(given)]
    found += [find_key({}, owner="erase", beside=[folder]) for folder in folders if os.path.lexists(folder / KEY_FILE)]
    return tuple(dict.fromkeys(key.text for key in found))


def _table(output: EraseOutput) -> Table:
    table = Table("place", "kind", "removed", "clean", "note", title=f"{output.persons} persons to erase")
    for place in output.places:
        table.add_row(place.place, place.kind, str(place.removed), "yes" if place.clean else "NO", place.note)
    return table


def _lines(output: EraseOutput) -> list[str]:
    lines = [f"{output.removed} rows removed, {output.files} files looked at"]
    if not output.found and output.clean:
        lines.append("nobody was found: ids are taken as their source writes them, capitals included")
    lines += [f"not given, look there as well: {name}" for name in output.not_given]
    lines += [f"record in {url}: {act}" for url, act in output.acts.items()]
    return lines + ([f"record: {output.record}"] if output.record else [])
