"""Contact files: the three formats say the same, absent is missing, wrong is an error with its row."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.catalog import Arm, Catalog
from engine.contacts.contacts import ContactBatch
from engine.contacts.file import contact_batches
from engine.errors import DataError, ParameterError
from engine.features import MISSING, PRESENT, STALE, schema_from

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
CATALOG = Catalog(name="t", channels=("email", "sms"), hours=(9, "now"), arms=(Arm(id="a", approved=True),))
WORDS = {"unit": "count", "source": "s", "collected_where": "w", "customer_benefit": "something good for people"}
SCHEMA = schema_from(
    {
        "features": [
            {"name": "visits", "type": "numeric", "low": 0, "max_age_days": 2, **WORDS},
            {"name": "stage", "type": "categorical", "levels": ["new", "old"], **WORDS},
        ]
    }
)
FRESH, OLD, FUTURE = "2026-11-03T11:00:00Z", "2026-10-30T00:00:00+02:00", "2026-11-03T12:00:01Z"
SENDS = [
    {"at": "2026-11-02T10:00:00+01:00", "channel": "sms", "purpose": "promotional"},
    {"at": "2026-11-01T10:00:00Z", "channel": "fax", "purpose": "transactional"},
]
ROWS = [
    {
        "contact_id": "a",
        "time_zone": "Europe/Berlin",
        "locale": "de-DE",
        "visits": 3.5,
        "visits_at": FRESH,
        "stage": "new",
        "consent_email_promotional": "true",
        "consent_email_promotional_at": OLD,
        "consent_email_promotional_source": "form",
        "consent_sms_promotional": "true",
        "consent_sms_promotional_at": FUTURE,
        "consent_sms_promotional_source": "form",
        "suppressed_email": "false",
        "suppressed_sms": "true",
        "sends": SENDS,
    },
    {"contact_id": "b", "visits": 1.0, "visits_at": OLD, "sends": [], "consent_email_promotional": "true"},
    {"contact_id": "c", "time_zone": "Asia/Kathmandu", "visits": 2.0, "visits_at": FUTURE, "stage": "old"},
]
NAMES = tuple(ROWS[0])


def write(folder: Path, kind: str, rows: list[dict[str, object]]) -> Path:
    path = folder / f"contacts.{kind}"
    if kind == "parquet":
        pq.write_table(
            pa.table({name: [row.get(name) for row in rows] for name in dict.fromkeys((*NAMES, *rows[0]))}), path
        )
        return path
    if kind.startswith("jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [",".join(names)] + [",".join(_cell(row.get(name)) for name in names) for row in rows]
        text = "\n".join(lines) + "\n"
    data = text.encode()
    path.write_bytes(gzip.compress(data) if kind.endswith(".gz") else data)
    return path


def _cell(value: object) -> str:
    if value is None:
        return ""
    shown = json.dumps(value) if isinstance(value, list) else str(value)
    return '"' + shown.replace('"', '""') + '"'


def read(path: Path, **options: object) -> list[ContactBatch]:
    return list(contact_batches(path, SCHEMA, CATALOG, NOW, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_every_format_says_the_same(tmp_path: Path, kind: str) -> None:
    """One row with everything, one with holes, one with a value from the future."""
    (batch,) = read(write(tmp_path, kind, ROWS))
    assert batch.contact_id.tolist() == ["a", "b", "c"]
    assert [None if z < 0 else batch.zones[z] for z in batch.zone_code] == ["Europe/Berlin", None, "Asia/Kathmandu"]
    assert [None if z < 0 else batch.locales[z] for z in batch.locale_code] == ["de-DE", None, None]
    # granted with source and timestamp / granted from the future; granted without proof; nothing
    assert batch.consent[:, :, 0].tolist() == [[1, -1], [-1, -1], [-1, -1]]
    assert (batch.consent[:, :, 1] == -1).all()
    assert batch.suppressed.tolist() == [[0, 1], [-1, -1], [-1, -1]]
    visits, stage = batch.context.columns["visits"], batch.context.columns["stage"]
    assert visits.state.tolist() == [PRESENT, STALE, MISSING]
    assert visits.values[0] == 3.5
    assert np.isnan(visits.values[1:]).all()
    assert stage.state.tolist() == [PRESENT, MISSING, PRESENT]
    assert [stage.levels[code] for code in stage.values[[0, 2]]] == ["new", "old"]
    assert batch.history_known.tolist() == [True, True, False]
    assert batch.sent_offsets.tolist() == [0, 2, 2, 2]
    # oldest first: the fax (no channel of the catalog) on the 1st, the SMS on the 2nd at 09:00 UTC
    assert batch.sent_channel.tolist() == [-1, 1]
    assert batch.sent_purpose.tolist() == [1, 0]
    assert batch.sent_at[1] == int(datetime(2026, 11, 2, 9, tzinfo=UTC).timestamp()) * 1_000_000


def test_as_of_stands_in_for_the_age_of_every_feature(tmp_path: Path) -> None:
    rows = [{"contact_id": "a", "visits": 1, "as_of": FRESH}, {"contact_id": "b", "visits": 1, "as_of": ""}]
    (batch,) = read(write(tmp_path, "csv", rows))
    assert batch.context.columns["visits"].state.tolist() == [PRESENT, STALE]


def test_blocks_keep_codes_and_row_numbers(tmp_path: Path) -> None:
    rows = [{"contact_id": f"c{i}", "time_zone": ("UTC", "Asia/Tokyo")[i % 2], "visits": i} for i in range(10)]
    blocks = read(write(tmp_path, "csv", rows), rows=3)
    assert [block.n for block in blocks] == [3, 3, 3, 1]
    assert [block.zones[code] for block in blocks for code in block.zone_code] == [row["time_zone"] for row in rows]
    rows[7]["visits"] = "inf"
    with pytest.raises(DataError, match="row 8"):
        read(write(tmp_path, "csv", rows), rows=3)


def test_extra_columns_are_kept_as_they_are(tmp_path: Path) -> None:
    (batch,) = read(
        write(tmp_path, "jsonl", [{"contact_id": "a", "topics": ["x"]}, {"contact_id": "b"}]), extra=("topics", "no")
    )
    assert batch.extra["topics"].tolist() == [["x"], None]
    assert not batch.has("no")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visits": "inf"}, "'visits' must be a finite number"),
        ({"visits": "nan"}, "'visits' must be a finite number"),
        ({"visits": "many"}, "'visits' must be a finite number"),
        ({"visits": -1}, r"'visits' must be in \[0, inf\]"),
        ({"visits_at": "2026-11-03T10:00:00"}, "'visits_at' must have a UTC offset"),
        ({"visits_at": "2026-13-03T10:00:00Z"}, "'visits_at' must be an instant"),
        ({"visits_at": "1793700000000"}, "'visits_at' must be epoch seconds"),
        ({"stage": "ancient"}, "'stage' must be one of"),
        ({"time_zone": "Europe/Berlni"}, "did you mean Europe/Berlin"),
        ({"time_zone": "CET+1"}, "unknown time zone"),
        ({"consent_email_promotional": "maybe"}, "must be true, false or empty"),
        ({"contact_id": ""}, "'contact_id' must not be empty"),
        ({"contact_id": "first"}, "'contact_id' must be unique"),
        ({"sends": "[{}]"}, "'sends' cannot be read"),
        ({"sends": "soon"}, "'sends' cannot be read"),
        (
            {"sends": '[{"at": "2026-11-03T10:00:00", "channel": "sms", "purpose": "promotional"}]'},
            "no instant with a UTC",
        ),
        ({"sends": '[{"at": "2026-11-03T10:00:00Z", "channel": "sms", "purpose": "fun"}]'}, "whose `purpose` is none"),
        ({"sends": '[{"at": "2026-11-03T10:00:00Z", "channel": "", "purpose": "promotional"}]'}, "without `channel`"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_row(tmp_path: Path, change: dict[str, object], message: str) -> None:
    rows = [{"contact_id": "first", "visits": 1.0}, {"contact_id": "second", "visits": 1.0} | change]
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, "csv", rows))
    assert "row 2" in str(caught.value)


UNREAD = {
    "suppressed_email": (
        *("unsubscribed_email", "email_suppressed", "Suppression_Email", "email opted-out", "emailUnsubscribed"),
        *("do_not_contact", "Do Not Contact", "DNC", "deceased", "Unsub", "contact: do not email"),
    ),
    "suppressed_sms": (
        "opt_out_sms",
        "optOutSms",
        "Opted Out (SMS)",
        "sms.opt.out",
        "text_unsubscribed",
        "out_opt_sms",
    ),
    "consent_email_promotional": ("consent_email", "promotional_consent_email", "Email Consent", "consent"),
    "consent_sms_transactional": ("transactional consent text",),
    "consent_email_promotional_expires_at": (
        *("consent_email_expires_at", "email_consent_promotional_expires_at", "email_expires_at", "expiry-email"),
    ),
    "time_zone": ("tz", "user_TZ", "\uff34\uff3a"),
}


@pytest.mark.parametrize(("nearest", "name"), [(nearest, name) for nearest, names in UNREAD.items() for name in names])
def test_a_column_that_may_close_is_never_dropped(tmp_path: Path, nearest: str, name: str) -> None:
    with pytest.raises(DataError, match=f"did you mean '{nearest}'"):
        read(write(tmp_path, "csv", [{"contact_id": "a", name: "true"}]))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "opted_in",
            "optin_email",
            "opt-in",
            "newsletter_optin",
            "permission_email",
            "accepts_marketing",
            "allow_email",
        ),
        *("marketing_allowed", "subscribed", "isSubscriber", "blocked", "blocklisted", "Blacklist", "no_marketing"),
        *("robinson_list", "sms_stop", "stop", "email_bounced", "hard_bounce", "complained", "email_status"),
        *("deleted", "excluded", "inactive", "is_minor"),
        *("status", "Status", "MEMBER_STATUS", "subscription status", "customerStatus", "mc_status", "status_2"),
        *("email_marketing_state", "Email Marketing State", "cleaned", "CLEAN_TIME", "is_active", "Active", "Disabled"),
    ],
)
def test_a_column_that_speaks_of_consent_is_never_dropped(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="is none that is read"):
        read(write(tmp_path, "csv", [{"contact_id": "a", name: "false"}]))


@pytest.mark.parametrize(
    "name",
    [
        "stopover",
        "allowance",
        "marketing_budget",
        *("status_points", "order_status", "marital status", "loyaltyStatus", "active_days", "mailing_state"),
        "subscription_source",
        "card_expires_at",
        "quartz",
        "email_address",
        "post_code",
        "consent_scope",
        "sms_count",
        "checkout",
        "options",
    ],
)
def test_other_columns_are_left_alone(tmp_path: Path, name: str) -> None:
    assert len(read(write(tmp_path, "csv", [{"contact_id": "a", name: "true"}]))) == 1


LEFT = (
    *(
        "unsubscribed",
        " Unsubscribed ",
        "UNSUBSCRIBED",
        "un-subscribed",
        "Email unsubscribed",
        "opted_out",
        "Opted-out",
    ),
    *("bounced", "Hard bounce", "soft_bounced", "Opted-out", "cleaned", "suppressed", "complained", "DNC"),
    *("do not contact", "Do_Not_Email", "Blocklisted", "blacklisted", "Never subscribed", "not_subscribed", "deceased"),
    "Spam complaint",
)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("cell", LEFT)
def test_cells_that_say_who_has_left_are_never_dropped(tmp_path: Path, kind: str, cell: str) -> None:
    """A mailing export that calls its column in a way of its own."""
    rows = [{"contact_id": "a", "lane": "subscribed"}, {"contact_id": "b", "lane": cell}]
    with pytest.raises(DataError, match=r"'lane' is none that is read, but says who .* in row 2"):
        read(write(tmp_path, kind, rows))


def test_cells_of_dictionaries_say_who_has_left(tmp_path: Path) -> None:
    path = tmp_path / "contacts.parquet"
    pq.write_table(pa.table({"contact_id": ["a"], "lane": pa.array(["bounced"]).dictionary_encode()}), path)
    with pytest.raises(DataError, match="'lane' is none that is read"):
        read(path)


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "subscribed",
            "active",
            "clean",
            "cleaner",
            "opted in",
            "complaint",
            "bounce house",
            "suppression is a topic",
        ),
        *("we talked about how she was unsubscribed", "unsubscribing people, a novel", "", "suppression is a topic"),
    ],
)
def test_other_cells_are_left_alone(tmp_path: Path, cell: str) -> None:
    assert len(read(write(tmp_path, "csv", [{"contact_id": "a", "lane": cell}]))) == 1


def test_a_status_that_is_declared_is_a_feature(tmp_path: Path) -> None:
    schema = schema_from({"features": [{"name": "status", "type": "categorical", **WORDS}]})
    path = write(tmp_path, "csv", [{"contact_id": "a", "Status": "unsubscribed"}])
    (batch,) = contact_batches(path, schema, CATALOG, NOW)
    assert batch.context.columns["status"].levels == ("unsubscribed",)
    with pytest.raises(DataError, match="'Status' is none that is read") as caught:
        read(path)
    assert "suppressed_CHANNEL" in caught.value.hint
    assert "declared as a feature" in caught.value.hint


SPELLINGS = ("visits", "Visits", "VISITS", " visits ", "vis-its", "\uff56isits", "vi_sits")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_features_are_found_by_any_spelling(tmp_path: Path, kind: str, name: str) -> None:
    rows = [{"Contact ID": "a", name: 3.5, name.upper() + " AT": FRESH, "STAGE": "new"}]
    (batch,) = read(write_exactly(tmp_path, kind, rows))
    assert batch.context.columns["visits"].state.tolist() == [PRESENT]
    assert batch.context.columns["visits"].values.tolist() == [3.5]
    assert batch.context.columns["stage"].state.tolist() == [PRESENT]


def write_exactly(folder: Path, kind: str, rows: list[dict[str, object]]) -> Path:
    """`write`, with no columns but those of the rows."""
    if kind != "parquet":
        return write(folder, kind, rows)
    path = folder / "contacts.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("visits", "Visits"),
        ("VISITS_AT", "visits at"),
        ("topics", "TOPICS"),
        ("suppressed_sms", "Suppressed text"),
        ("consent_email_promotional", "CONSENT-email-promotional"),
        ("contact_id", "ContactID"),
        ("shoe size", "Shoe_Size"),  # which nobody reads: a file says what it says once
        ("suppressed_fax", "Suppressed-Fax"),
    ],
)
def test_two_headers_of_one_name_are_an_error_that_names_both(tmp_path: Path, one: str, other: str) -> None:
    path = write_exactly(tmp_path, "jsonl", [{"contact_id": "a", one: "1", other: "1"}])
    with pytest.raises(DataError) as caught:
        read(path, extra=("topics",))
    assert f"the columns {one!r} and {other!r} have the same name" in str(caught.value)


def test_an_own_column_is_read_beside_the_one_of_the_contract(tmp_path: Path) -> None:
    """A feature whose name differs from one of ours in its case takes nothing away from the rules."""
    name = "Consent email promotional"
    schema = schema_from({"features": [{"name": name, "type": "categorical", **WORDS}]})
    path = write_exactly(tmp_path, "csv", [{"contact_id": "a", name: "false"}])
    (batch,) = contact_batches(path, schema, CATALOG, NOW)
    assert batch.consent[0, 0, 0] == 0
    assert batch.context.columns[name].levels == ("false",)


def test_features_that_no_header_could_tell_apart_are_refused(tmp_path: Path) -> None:
    schema = schema_from({"features": [{"name": name, "type": "numeric", **WORDS} for name in ("age", "Age")]})
    path = write_exactly(tmp_path, "csv", [{"contact_id": "a", "age": 3}])
    with pytest.raises(ParameterError, match="'Age', 'age'"):
        list(contact_batches(path, schema, CATALOG, NOW))


def test_a_declared_feature_may_speak_of_consent(tmp_path: Path) -> None:
    name = "months_since_unsubscribed"
    schema = schema_from({"features": [{"name": name, "type": "numeric", "low": 0, **WORDS}]})
    path = write(tmp_path, "csv", [{"contact_id": "a", name: 3, f"{name}_at": FRESH}])
    (batch,) = contact_batches(path, schema, CATALOG, NOW)
    assert batch.context.columns[name].state.tolist() == [PRESENT]
    with pytest.raises(DataError, match=f"{name}.*is none that is read"):
        read(path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.csv", None, "does not exist"),
        ("a.xlsx", b"x", "no known ending"),
        ("a.txt", b"x", "holds no contacts"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"contact_id\n", "holds no contacts"),
        ("a.csv", b"id\n1\n", "has no column 'contact_id'"),
        ("a.csv", b"contact_id,visits\n1\n", "cannot be read"),
        ("a.csv", b"contact_id,visits,visits\n1,2,3\n", "columns of the same name"),
        ("a.csv.gz", gzip.compress(b"contact_id\n" + b"1\n" * 9, mtime=0)[:-12], "damaged gzip"),
        ("a.parquet", b"PAR1 and then nothing", "no readable Parquet"),
        ("a.jsonl", b'{"contact_id": "a"}\n{"contact_id": ', "row 2 is no JSON object"),
        ("a.jsonl", b'{"contact_id": "a", "visits": NaN}\n', "row 1 is no JSON object"),
        ("a.jsonl", b'{"contact_id": "a", "visits": 1}\n{"contact_id": "b", "visits": "x"}\n', "mixes kinds"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read(path)


def test_parquet_refuses_naive_timestamps_and_other_sends(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    naive = pa.array([datetime(2026, 11, 3)], pa.timestamp("us"))
    pq.write_table(pa.table({"contact_id": ["a"], "visits": [1.0], "visits_at": naive}), path)
    with pytest.raises(DataError, match="without a time zone"):
        read(path)
    pq.write_table(pa.table({"contact_id": ["a"], "sends": [[1]]}), path)
    with pytest.raises(DataError, match="must be a list of structs"):
        read(path)


def test_parquet_with_typed_columns(tmp_path: Path) -> None:
    """Timestamps with a zone, booleans and dictionary columns, as an export from a warehouse has them."""
    path = tmp_path / "a.parquet"
    at = pa.array([NOW, NOW], pa.timestamp("ms", tz="Europe/Berlin"))
    sends = pa.array(
        [[{"at": NOW, "channel": "sms", "purpose": "promotional"}], None],
        pa.list_(pa.struct([("at", pa.timestamp("us", tz="UTC")), ("channel", pa.string()), ("purpose", pa.string())])),
    )
    columns = {
        "contact_id": pa.array([1, 2]),
        "visits": pa.array([1, None], pa.int32()),
        "visits_at": at,
        "stage": pa.array(["new", "old"]).dictionary_encode(),
        "suppressed_sms": pa.array([True, False]),
        "sends": sends,
    }
    pq.write_table(pa.table(columns), path)
    (batch,) = read(path)
    assert batch.contact_id.tolist() == ["1", "2"]
    assert batch.context.columns["visits"].state.tolist() == [PRESENT, MISSING]
    assert batch.suppressed[:, 1].tolist() == [1, 0]
    assert batch.history_known.tolist() == [True, False]
    assert batch.sent_at.tolist() == [int(NOW.timestamp()) * 1_000_000]


def test_duplicates_are_found_across_blocks(tmp_path: Path) -> None:
    rows = [{"contact_id": f"c{i}"} for i in range(50)] + [{"contact_id": "c3"}]
    with pytest.raises(DataError, match="'c3' in row 51"):
        read(write(tmp_path, "csv", rows), rows=4)


def test_arguments_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", ROWS)
    with pytest.raises(ParameterError, match="rows"):
        read(path, rows=0)
    with pytest.raises(ParameterError, match="UTC offset"):
        list(contact_batches(path, SCHEMA, CATALOG, datetime(2026, 1, 1)))
