"""Keys as people make, change and see them, on both databases; and what is kept of who did it."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scoreline.access.keyring import hash_key
from scoreline.core.errors import Malformed, NotFound
from scoreline.operations.acted import acted
from scoreline.operations.apikeys import KEY_BYTES, PREFIX, Made, create, grant_of, listed, revoke, rotate
from scoreline.records.actions import By
from scoreline.records.apikeys import active_keys, all_keys, keep_used
from scoreline.records.database import Database, open_database
from scoreline.records.holds import Hold, place, release

DAY_NS = 86_400_000_000_000
EVA = By("eva", "192.0.2.7")


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(database_url, tmp_path / "unused.db")) as found:
        found.prepare()
        yield found


def make(database: Database, name: str = "shop", **options: Any) -> Made:
    given: dict[str, Any] = {"scopes": ["predict", "read"], "models": None, **options}
    return create(database, grant_of(name, **given, now_ns=time.time_ns()), EVA)


def active(database: Database) -> dict[bytes, str]:
    return {key.digest: key.caller.name for key in active_keys(database, time.time_ns())[0]}


def test_a_key_is_told_once_and_only_its_hash_is_kept(database: Database) -> None:
    made, other = make(database), make(database)
    assert made.key.startswith(PREFIX) and len(made.key) == len(PREFIX) + (KEY_BYTES * 8 + 5) // 6
    assert made.key != other.key
    assert active(database) == {hash_key(each.key.encode()): "shop" for each in (made, other)}
    seen = json.dumps([listed(database, time.time_ns()), acted(database, 9), repr(all_keys(database))])
    assert made.key not in seen and made.key.removeprefix(PREFIX) not in seen


def test_what_a_key_opens_is_what_it_was_made_for(database: Database) -> None:
    make(database, scopes=["read", "read"], models=["fraud", "churn"], priority="high", expires_days=1)
    (key,), known = active_keys(database, time.time_ns())
    caller = key.caller
    assert known
    assert (caller.name, caller.scopes, caller.priority) == ("shop", {"read"}, "high")
    assert (caller.models, caller.number) == ({"churn", "fraud"}, key.number)
    assert abs(caller.expires_ns - time.time_ns() - DAY_NS) < DAY_NS / 24


def test_before_there_is_a_key_there_never_was_one_and_after_there_always_was(database: Database) -> None:
    assert active_keys(database, time.time_ns()) == ([], False)
    revoke(database, make(database).number, EVA)
    assert active_keys(database, time.time_ns()) == ([], True)


def test_a_revoked_key_counts_no_more_and_stays_in_the_list(database: Database) -> None:
    made, other = make(database), make(database, "bank")
    revoke(database, made.number, By("adam"))
    assert active(database) == {hash_key(other.key.encode()): "bank"}
    (one,) = [one for one in listed(database, time.time_ns()) if one["number"] == made.number]
    assert (one["state"], one["created_by"], one["revoked_by"]) == ("revoked", "eva", "adam")
    for number in (made.number, 4711, 0, -1, 1 << 40):
        with pytest.raises(NotFound, match="keys list"):
            revoke(database, number, EVA)
        with pytest.raises(NotFound, match="keys list"):
            rotate(database, number, EVA)


def test_a_key_that_has_expired_counts_no_more(database: Database) -> None:
    make(database, expires_days=1)
    tomorrow_ns = time.time_ns() + 2 * DAY_NS
    assert active_keys(database, tomorrow_ns) == ([], True)
    assert [one["state"] for one in listed(database, tomorrow_ns)] == ["expired"]


def test_a_rotated_key_is_two_for_a_while_that_open_the_same(database: Database) -> None:
    old = make(database, models=["fraud"], priority="low")
    new = rotate(database, old.number, EVA, grace_s=3600)
    assert active(database).keys() == {hash_key(each.key.encode()) for each in (old, new)}
    before, after = (key.caller for key in all_keys(database))
    assert (before.name, before.scopes, before.models, before.priority) == (
        after.name,
        after.scopes,
        after.models,
        after.priority,
    )
    in_two_hours_ns = time.time_ns() + 7200 * 1_000_000_000
    assert [key.number for key in active_keys(database, in_two_hours_ns)[0]] == [new.number]
    assert rotate(database, new.number, EVA, grace_s=0).number in {key.number for key in all_keys(database)}
    assert new.number not in {key.number for key in active_keys(database, time.time_ns())[0]}


def test_rotation_never_prolongs_a_key(database: Database) -> None:
    old = make(database, expires_days=1)
    rotate(database, old.number, EVA, grace_s=30 * 86_400)
    assert all_keys(database)[0].caller.expires_ns < time.time_ns() + 2 * DAY_NS


def test_the_last_use_only_moves_on(database: Database) -> None:
    made = make(database)
    for at_ns, kept_ns in ((5_000, 5_000), (9_000, 9_000), (7_000, 9_000)):
        keep_used(database, {made.number: at_ns, 4711: at_ns})
        assert all_keys(database)[0].used_ns == kept_ns


@pytest.mark.parametrize(
    "wrong",
    (
        {"name": "with blank"},
        {"name": "oauth:shop"},
        {"name": "admin"},
        {"name": "anonymous"},
        {"name": ""},
        {"name": "x" * 101},
        {"scopes": []},
        {"scopes": ["predict", "root"]},
        {"models": []},
        {"models": ["../etc"]},
        {"priority": "urgent"},
        {"expires_days": 0},
        {"expires_days": 100_000},
    ),
    ids=str,
)
def test_what_no_key_can_be_is_refused(wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"name": "shop", "scopes": ["predict"], "models": None, **wrong}
    with pytest.raises(Malformed, match=f"^{next(iter(wrong))}: "):
        grant_of(**given, now_ns=0)


@pytest.mark.parametrize("grace_s", (-1, 1 << 40))
def test_a_grace_that_is_none_is_refused(database: Database, grace_s: int) -> None:
    with pytest.raises(Malformed, match="grace_s"):
        rotate(database, make(database).number, EVA, grace_s)


def test_who_did_what_is_kept_with_what_others_tables_tell(database: Database) -> None:
    made = make(database, models=["fraud"])
    new = rotate(database, made.number, EVA)
    revoke(database, new.number, By("adam"))
    number = place(database, Hold("fraud", reason="a dispute", who="judge"))
    release(database, number, "clerk")
    found = acted(database, 50)
    assert [(one["who"], one["address"], one["action"]) for one in found] == [
        ("clerk", "", "hold released"),
        ("judge", "", "hold placed"),
        ("adam", "", "key revoked"),
        ("eva", "192.0.2.7", "key rotated"),
        ("eva", "192.0.2.7", "key created"),
    ]
    assert found[-1]["facts"] == {
        "number": made.number, "name": "shop", "scopes": ["predict", "read"], "priority": "normal", "models": ["fraud"],
    }  # fmt: skip
    assert found[1]["facts"] == {"number": number, "model": "fraud", "reason": "a dispute"}
    assert acted(database, 2) == found[:2]
