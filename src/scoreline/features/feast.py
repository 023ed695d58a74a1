"""Features by Feast's own HTTP feature server (`feast serve`): its SDK would bring pandas into whoever answers.

A field's view and feature are Feast's feature view and feature; entities go under the one join key of the settings.
Feast says of each value whether it is there and since when.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpx

from scoreline.core.errors import StoreDown
from scoreline.core.outcome import time_ns_of
from scoreline.core.ports import FeatureRow, Looked, Views
from scoreline.core.schema import Scalar

PATH: Final = "/get-online-features"
BULK_PATIENCE_S: Final = 10.0
BULK_ROWS: Final = 500
MAX_CONNECTIONS: Final = 64
# What is older than Feast's own limit for the view comes as OUTSIDE_MAX_AGE, and is none.
_THERE: Final = ("PRESENT", "NULL_VALUE")


class FeastStore:
    """A `core.ports.FeatureStore`. It is only asked: Feast loads itself.

    `key` is the join key; `integer`: whether Feast has it as a number.
    """

    def __init__(self, url: str, key: str, *, integer: bool = False) -> None:
        self._url = url.rstrip("/") + PATH
        self._key = key
        self._integer = integer
        self._client: httpx.AsyncClient | None = None
        self._bulk = httpx.Client(timeout=BULK_PATIENCE_S, trust_env=False)

    def get(self, views: Views, entities: Sequence[str]) -> Looked:
        found: list[Sequence[FeatureRow | None]] = []
        for start in range(0, len(entities), BULK_ROWS):
            some = entities[start : start + BULK_ROWS]
            with _said():
                found += _rows(views, some, self._bulk.post(self._url, json=self._asking(views, some)))
        return found

    async def aget(self, views: Views, entities: Sequence[str]) -> Looked:
        if self._client is None:
            limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
            self._client = httpx.AsyncClient(timeout=None, limits=limits, trust_env=False)
        with _said():
            return _rows(views, entities, await self._client.post(self._url, json=self._asking(views, entities)))

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _asking(self, views: Views, entities: Sequence[str]) -> dict[str, Any]:
        keys = [_number(entity) for entity in entities] if self._integer else list(entities)
        names = [f"{view}:{name}" for view, names in views.items() for name in names]
        return {"features": names, "entities": {self._key: keys}, "full_feature_names": True}


def _number(entity: str) -> int:
    """The entity as Feast has it; who is no number is nobody there."""
    try:
        return int(entity)
    except ValueError:
        return -1


def _rows(views: Views, entities: Sequence[str], response: httpx.Response) -> list[list[FeatureRow | None]]:
    """The answer as rows; a view's event time is that of its oldest value."""
    response.raise_for_status()
    found = response.json()
    columns = dict(zip(found["metadata"]["feature_names"], found["results"], strict=True))
    return [
        [_row(entity, at, view, names, columns) for view, names in views.items()] for at, entity in enumerate(entities)
    ]


def _row(entity: str, at: int, view: str, names: Sequence[str], columns: dict[str, Any]) -> FeatureRow | None:
    values: dict[str, Scalar | None] = {}
    times: list[int] = []
    for name in names:
        column = columns[f"{view}__{name}"]
        if column["statuses"][at] in _THERE:
            values[name] = column["values"][at]
            times.append(time_ns_of(column["event_timestamps"][at]) or 0)
    return FeatureRow(entity, min(times), values) if values else None


@contextmanager
def _said() -> Iterator[None]:
    """Turns whatever is no answer of Feast's into StoreDown."""
    try:
        yield
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreDown(f"Feast: {type(error).__name__}") from error
