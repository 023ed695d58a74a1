"""Every store keeps to the port, and says of what it is not asked in time that it is down."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scoreline.core.errors import SettingError, StoreDown
from scoreline.core.ports import FeatureRow
from scoreline.features.open import open_store
from scoreline.features.redis import RedisStore
from scoreline.features.sqlite import SqliteStore
from scoreline.testing import check_store

NOW_NS = 1_800_000_000_000_000_000


def test_sqlite_keeps_to_the_port(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state" / "features.db")
    with pytest.raises(StoreDown, match="no features are loaded yet"):
        store.get({"a": ("b",)}, ["c"])
    check_store(store, store.put)


def test_redis_keeps_to_the_port(redis_store: Any) -> None:
    store = RedisStore(redis_store.url)
    check_store(store, store.put)


def test_the_stores_say_what_they_hold(tmp_path: Path, redis_store: Any) -> None:
    for store in (SqliteStore(tmp_path / "features.db"), RedisStore(redis_store.url)):
        rows = [FeatureRow(f"c{at}", NOW_NS + at, {"n": at}) for at in range(2500)]
        store.put("stats", rows)
        store.put("stats", [FeatureRow("c0", NOW_NS + 9_999, {"n": 1})])
        (found,) = [stats for stats in store.views() if stats.view == "stats"]
        assert (found.entities, found.latest_ns - NOW_NS) == (2500, 9_999)
        assert found.earliest_ns - NOW_NS == 1


def test_sqlite_keeps_the_history_up_to_a_time(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "features.db")
    rows = [FeatureRow(entity, NOW_NS + at, {"n": at}) for entity in ("b", "a") for at in (3, 1, 2)]
    store.put("v", rows)
    store.put("other", rows)
    found = list(store.history("v", NOW_NS + 2))
    assert [(row.entity, row.values["n"]) for row in found] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_others_write_into_redis_what_is_read_as_it_was_meant(redis_store: Any) -> None:
    fields = {"@time": str(NOW_NS), "ratio": "0.25", "word": "at", "flag": "true", "text": '"12"', "bytes": b"\xff"}
    redis_store.client.hset("scoreline:written:me", mapping=fields)
    redis_store.client.hset("scoreline:written:no time", mapping={"ratio": "1"})
    ((row,), (nothing,)) = RedisStore(redis_store.url).get({"written": list(fields)[1:]}, ["me", "no time"])
    assert row is not None
    assert row.values == {"ratio": 0.25, "word": "at", "flag": True, "text": "12", "bytes": "\ufffd"}
    assert nothing is None


def test_a_redis_that_is_not_there_is_down_for_both_twins(redis: Any) -> None:
    store = RedisStore(redis.url)
    store.put("v", [FeatureRow("a", NOW_NS, {"n": 1})])
    redis.kill()
    with pytest.raises(StoreDown):
        asyncio.run(store.aget({"v": ("n",)}, ["a"]))
    redis.start()
    ((row,),) = asyncio.run(store.aget({"v": ("n",)}, ["a"]))
    assert row is not None and row.values == {"n": 1}


def test_another_type_of_key_in_redis_is_said_and_nothing_of_it(redis_store: Any) -> None:
    redis_store.client.set("scoreline:odd:a", json.dumps("secret"))
    with pytest.raises(StoreDown, match="ResponseError") as caught:
        asyncio.run(RedisStore(redis_store.url).aget({"odd": ("n",)}, ["a"]))
    assert "secret" not in str(caught.value)


def test_a_damaged_file_is_a_store_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "features.db").write_bytes(b"no database, but long enough to be looked at" * 100)
    with pytest.raises(StoreDown, match=r"features\.db: file is not a database"):
        SqliteStore(tmp_path / "features.db").get({"v": ("n",)}, ["a"])


def test_a_worker_loads_no_library_of_a_store_that_it_does_not_ask() -> None:
    program = "import sys, scoreline.doors.http.worker; print(*{'redis', 'httpx', 'pyarrow'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_a_store_is_opened_by_its_name_and_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    assert isinstance(open_store("sqlite", "", tmp_path), SqliteStore)
    with pytest.raises(SettingError, match=r"features\.url"):
        open_store("redis", "http://somewhere", tmp_path)
