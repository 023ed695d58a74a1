"""The ledger: one history, without a gap, whoever writes at the same time."""

import threading
from contextlib import closing
from pathlib import Path

import pytest
from shipping import opened

from scoreline.core.errors import LedgerMoved
from scoreline.records.database import open_database
from scoreline.records.ledger import Entry, append, entry_at, heads, history, last


def entry(model: str, seq: int, who: str = "ada") -> Entry:
    return Entry(model, seq, 1_700_000_000 + seq, "hold", who, "to see", {"share": 0.1, "canary": None}, {"e": 1.5})


def test_an_entry_is_read_as_it_was_written_and_models_are_apart(database_url: str) -> None:
    with opened(database_url) as database:
        assert (heads(database), last(database, "fraud"), entry_at(database, "fraud", 1)) == ({}, None, None)
        for seq in (1, 2, 3):
            append(database, entry("fraud", seq))
        append(database, entry("churn", 1, "grace"))
        assert heads(database) == {"fraud": 3, "churn": 1}
        assert last(database, "churn") == entry("churn", 1, "grace")
        assert history(database, "fraud", 2) == [entry("fraud", 3), entry("fraud", 2)]
        assert entry_at(database, "fraud", 2) == entry("fraud", 2)


@pytest.mark.parametrize("seq", (1, 2, 4, 9))
def test_who_has_not_seen_the_last_entry_writes_nothing(database_url: str, seq: int) -> None:
    with opened(database_url) as database:
        append(database, entry("fraud", 1))
        append(database, entry("fraud", 2))
        with pytest.raises(LedgerMoved, match="fraud"):
            append(database, entry("fraud", seq, "late"))
        assert [found.who for found in history(database, "fraud", 9)] == ["ada", "ada"]


def test_of_many_who_write_at_once_each_step_is_taken_once(database_url: str, tmp_path: Path) -> None:
    wrote: list[tuple[str, int]] = []

    def act(name: str) -> None:
        with closing(open_database(database_url, tmp_path)) as mine:
            for _ in range(12):
                seen = heads(mine).get("fraud", 0)
                try:
                    append(mine, entry("fraud", seen + 1, name))
                except LedgerMoved:
                    continue
                wrote.append((name, seen + 1))

    with opened(database_url) as database:
        threads = [threading.Thread(target=act, args=(f"writer {number}",)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [(each.who, each.seq) for each in reversed(history(database, "fraud", 1000))]
        assert found == sorted(wrote, key=lambda each: each[1])
        assert [seq for _, seq in found] == list(range(1, len(wrote) + 1))
