"""Writes docs/schema.md from the records, so that the document cannot drift from the code.

`python -m engine.records.docs PATH` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from engine.catalog import one_axis_catalog
from engine.features import STATE_NAMES, FeatureSchema, FeatureSpec
from engine.log.tables import METADATA
from engine.records import schema as records
from engine.records.rounds import CHUNK_ROWS
from engine.records.schema import LEGAL, LogMeta, RewardSpec

_INTRODUCTION: Final = f"""# The schema of the records

Made from `engine/records/schema.py` by `python -m engine.records.docs docs/schema.md`; do not edit it by hand.

Schema version {records.SCHEMA_VERSION}. A log is one Parquet file: one row per decision and, in the file's footer, what
is true of all rows. The hot log in SQL uses the same words. Instants are UTC with microseconds; money is US dollars.
Readers take any row-group size and read in chunks of {CHUNK_ROWS} rows. Columns of the same name in other types that
convert without loss (large strings, small dictionary codes) are accepted; nulls where none may be are refused.

## Damage

Every Parquet file that Tactful writes carries checksums of its pages and, in a gap before its footer, the SHA-256 of
all its other bytes. Both are verified when it is read: a flipped bit is an error, never other data. Other readers of
Parquet do not see the digest and check the pages if they are told to. A file that another tool wrote anew has the
checksums that this tool gave it. CSV and JSON lines carry no promise: a flipped bit in them can be another valid value,
so keep outcomes in Parquet where damage matters.

## Decisions

Labels are dictionary-encoded strings.
"""

_CONTEXT: Final = """
Then, for each feature NAME of the feature schema:

| column | type | null | meaning |
|---|---|---|---|
| `context_NAME` | float64 (numeric) or label (categorical) | yes | the value; null unless its state is present |
| `state_NAME` | uint8 | no | {states} |

and, for each metric NAME once outcomes are joined:

| column | type | null | meaning |
|---|---|---|---|
| `reward_NAME` | float64 | yes | the reward; null while its window is open or where the source has none |

Columns `raw_NAME` were carried along from a source untouched, in whatever type it had.

## States

"""

_STATE_RULES: Final = """
A decision enters the log as decided, or as dispatched where nothing has to be sent (hold). Each later state is a row of
its own in the table `transition`; an export shows the last one. A row is usable for learning and evaluation where it
is `available` and its state is dispatched or delivered.

## The eligible set

`eligible` holds k bits, where k = 1 + channels x hours x arms of the catalog: action `a` is bit `a % 8`, counted from
the lowest, of byte `a // 8`; 1 means eligible. Action 0 is hold. Bits beyond k are 0. For k = 10 and the eligible
actions 0, 2 and 9 the bytes are `05 02`.

With pandas and numpy:

```python
import numpy as np
import pandas as pd

log = pd.read_parquet("log.parquet", columns=["decision_id", "eligible"])
packed = np.frombuffer(b"".join(log["eligible"]), dtype=np.uint8).reshape(len(log), -1)
eligible = np.unpackbits(packed, axis=1, count=10, bitorder="little").astype(bool)  # (rows, k)
```

In PostgreSQL, whose `get_bit` counts from the lowest bit of the first byte too, action 9 is eligible where:

```sql
SELECT decision_id FROM decision WHERE get_bit(eligible, 9) = 1;
```

In SQLite, byte 1 (action 9 is bit 1 of it; `substr` counts from 1):

```sql
SELECT decision_id FROM decision
WHERE (instr('0123456789ABCDEF', substr(hex(eligible), 2 * (9 / 8) + 2, 1)) - 1) >> (9 % 4) & 1;
-- substr(hex(...), 2 * byte + 2, 1) is the low half (bits 0-3), 2 * byte + 1 the high half (bits 4-7) of a byte
```

Of a modular catalog the 41,000 bits would repeat a few: there `eligible` holds factors, C x (B + H) bits, where B is
the number of all blocks. Block `b` (counted slot by slot) on channel `c` is bit `c B + b`, hour slot `h` on channel
`c` bit `C B + c H + h`. A send is eligible where its hour is open on its channel, every one of its blocks is, and the
catalog forbids no set among them ([modular content](modular-content.md)).

## The footer

The key `tactful` of the file's metadata holds JSON with these keys, and `rejections` (rows that an import rejected, by
reason and action) where there were any:

"""

_OUTCOMES: Final = """
## Outcomes

An outcome file is Parquet, CSV or JSON lines with exactly these columns (`value_usd` may be left out). Every `at` needs
an offset; a value that is not finite is refused; exact repeats are dropped and counted. CSV may be written with comma,
semicolon, tab or bar, in UTF-8 or, with a byte-order mark, UTF-16; text may be gzip.

"""

_SQL: Final = """
## The hot log in SQL

The same columns, with these differences: instants are integers (microseconds since 1970 UTC), `cluster` is 16 hex
digits, the context is one JSON column (`feature name -> [state, value]`). Triggers refuse every update and delete.

"""

_META_MEANING: Final[Mapping[str, str]] = {
    "catalog": "every action that exists (docs/catalog.md)",
    "features": "the feature schema of the context columns (docs/features.md)",
    "rewards": "metric name -> `low`, `high` (declared range), `unit`, `description`",
    "propensity": "`logged`: each usable row has its own; `absent`: the log has none, no exact estimate is possible",
    "clustered": "whether the column `cluster` is filled",
    "source": "what the log was made from",
    "notes": "sentences that every report must repeat",
    "joined": "what became of the outcomes of each join: given, credited, why others were not; absent where none was",
    "memory": "what the context counts of each contact's own past: `stage`, `known_days` (docs/memory.md); or absent",
    "raw_columns": "names of the `raw_NAME` columns",
    "policy": "folder of the policy that decided, or empty",
    "pack": "the guardrail pack that was in force, or null",
    "conditions": "the sender's side that the rules read, as plain data, where one was given",
    "version": "version of this schema; newer ones than the reader's are refused",
}

# Keys that stand in the footer only where there is something to say.
_WHERE_ANY: Final = dict.fromkeys(("joined", "memory"))


def schema_markdown() -> str:
    """The whole of docs/schema.md."""
    example = FeatureSpec(
        name="NAME",
        type="numeric",
        unit="usd",
        source="shop",
        collected_where="checkout",
        customer_benefit="offers that fit the budget",
    )
    meta = LogMeta(
        catalog=one_axis_catalog("example", ["a"]),
        features=FeatureSchema(features=(example,)),
        rewards={"NAME": RewardSpec(low=0, high=1)},
    )
    states = ", ".join(f"{code} {name}" for code, name in enumerate(STATE_NAMES))
    changes = [[f"`{state}`", ", ".join(f"`{after}`" for after in LEGAL[state]) or "-"] for state in records.STATES]
    written = msgspec.to_builtins(meta)
    footer = [[f"`{name}`", _META_MEANING[name]] for name in LogMeta.__struct_fields__ if name in written | _WHERE_ANY]
    return "".join(
        [
            _INTRODUCTION,
            "\n",
            _columns(records.DECISION_COLUMNS),
            _CONTEXT.format(states=states),
            _table(["state", "may become"], changes),
            _STATE_RULES,
            _table(["key", "meaning"], footer),
            _OUTCOMES,
            _columns(records.OUTCOME_COLUMNS),
            _SQL,
            _sql_tables(),
        ]
    )


def _columns(columns: Sequence[tuple[str, pa.DataType, bool, str]]) -> str:
    rows = [[f"`{name}`", _kind(kind), "yes" if null else "no", text] for name, kind, null, text in columns]
    return _table(["column", "type", "null", "meaning"], rows)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return "label"
    return {"double": "float64", "timestamp[us, tz=UTC]": "timestamp (us, UTC)"}.get(str(kind), str(kind))


def _sql_tables() -> str:
    rows = [
        [f"`{table.name}`", f"`{', '.join(column.name for column in table.primary_key)}`", _own_columns(table.name)]
        for table in METADATA.sorted_tables
    ]
    return _table(["table", "key", "columns beside those above"], rows)


def _own_columns(table: str) -> str:
    known = (
        {name for name, *_ in (*records.DECISION_COLUMNS, *records.OUTCOME_COLUMNS)} if table != "transition" else ()
    )
    return ", ".join(f"`{column.name}`" for column in METADATA.tables[table].columns if column.name not in known)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema_markdown(), encoding="utf-8")
