"""How sends ended, said by hand: in any spelling, and refused with the valid names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pytest

from engine.errors import DataError, ParameterError
from experiments.serve import state
from experiments.serve.state import ends_in, settle_sends

NOW = datetime(2026, 11, 3, 10, tzinfo=UTC)


class Store:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def settle_all(self, ends: dict[str, str], **_: object) -> int:
        self.told = ends
        return len(ends)

    def taken(self) -> list[str]:
        return []


@pytest.mark.parametrize(
    ("written", "meant"), [("failed", "failed"), ("Failed", "failed"), (" DISPATCHED", "dispatched")]
)
def test_an_end_is_understood_in_any_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    store = Store()
    monkeypatch.setattr(state.SqlState, "existing", lambda _: store)
    output = settle_sends("sqlite:///any", {"a": written}, NOW)
    assert store.told == {"a": meant}
    assert {"failed": output.failed, "dispatched": output.dispatched}[meant] == 1
    file = tmp_path / "ends.csv"
    file.write_text(f"decision_id,state\na,{written}\n", encoding="utf-8")
    assert ends_in(file) == {"a": meant}


def test_another_end_is_refused_with_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="one of dispatched, failed") as refused:
        settle_sends("sqlite:///any", {"a": "lost"}, NOW)
    assert "failed: the provider did not take it" in refused.value.hint
    file = tmp_path / "ends.csv"
    file.write_text("decision_id,state\na,lost\n", encoding="utf-8")
    with pytest.raises(DataError, match="one of dispatched, failed"):
        ends_in(file)
