"""Feast's feature server as a store; see `feast_server` for what stands in for it."""

import asyncio
from collections.abc import Iterator

import pytest

from feast_server import Feast, feast_server
from scoreline.core.errors import StoreDown
from scoreline.core.ports import FeatureRow
from scoreline.features.feast import FeastStore
from scoreline.testing import check_store

TIME_NS = 1_700_000_000 * 10**9


@pytest.fixture
def feast() -> Iterator[Feast]:
    with feast_server("customer_id") as server:
        yield server


def test_feast_keeps_to_the_port(feast: Feast) -> None:
    check_store(FeastStore(feast.url + "/", "customer_id"), feast.put)


def test_a_key_that_feast_has_as_a_number_is_sent_as_one(feast: Feast) -> None:
    feast.put("v", [FeatureRow("17", TIME_NS, {"n": 1.5})])
    store = FeastStore(feast.url, "customer_id", integer=True)
    (found,), (nobody,) = asyncio.run(store.aget({"v": ("n",)}, ["17", "anna"]))
    assert found == FeatureRow("17", TIME_NS, {"n": 1.5})
    assert nobody is None
    assert feast.asked[0]["entities"] == {"customer_id": [17, -1]}


def test_what_feast_itself_finds_too_old_is_none(feast: Feast) -> None:
    feast.put("v", [FeatureRow("a", TIME_NS, {"n": 1.5})])
    feast.ttl_ns = 10**9
    assert FeastStore(feast.url, "customer_id").get({"v": ("n",)}, ["a"]) == [[None]]


@pytest.mark.parametrize("status", [404, 422, 500, 503])
def test_what_is_no_answer_is_a_store_that_is_down(feast: Feast, status: int) -> None:
    feast.status = status
    store = FeastStore(feast.url, "customer_id")
    with pytest.raises(StoreDown, match="HTTPStatusError"):
        store.get({"v": ("n",)}, ["a"])
    with pytest.raises(StoreDown, match="HTTPStatusError"):
        asyncio.run(store.aget({"v": ("n",)}, ["a"]))


def test_a_server_that_is_not_there_or_speaks_otherwise_is_down(feast: Feast) -> None:
    with pytest.raises(StoreDown):
        asyncio.run(FeastStore("http://127.0.0.1:1", "customer_id").aget({"v": ("n",)}, ["a"]))
    feast.answer = lambda _: {"results": []}  # type: ignore[method-assign]
    with pytest.raises(StoreDown, match="KeyError"):
        FeastStore(feast.url, "customer_id").get({"v": ("n",)}, ["a"])
