"""Features in Redis: one hash per view and entity, `scoreline:VIEW:ENTITY`, with a field per feature.

Values are JSON (`3.5`, `true`, `"at"`, `null`), and what is no JSON is a text, so that other programs can write them.
The field `@time` is the event time in nanoseconds since 1970; a hash without it is no row.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final

import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff

from scoreline.core.errors import SettingError, StoreDown
from scoreline.core.ports import FeatureRow, Looked, Views, ViewStats
from scoreline.features.values import decode_value, encode_value

TIME: Final = "@time"
PREFIX: Final = "scoreline"
MAX_CONNECTIONS: Final = 64
PIPELINE_ROWS: Final = 1000
BULK_PATIENCE_S: Final = 10.0
# A row as a whole, and only where it is not older than what is there. Lua compares doubles: within 256 ns.
_PUT: Final = """
local there = redis.call('HGET', KEYS[1], '@time')
if there and tonumber(there) > tonumber(ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""


class RedisStore:
    """A `core.ports.FeatureStore` and `FeatureSink`. Connections are made, and made anew, as they are needed.

    The asynchronous twin has no timeout of its own: whoever asks has a deadline, and a connection that was cancelled is
    closed, so no late answer is taken for another.
    """

    def __init__(self, url: str) -> None:
        patience: dict[str, Any] = {"socket_timeout": BULK_PATIENCE_S, "socket_connect_timeout": BULK_PATIENCE_S}
        asked: dict[str, Any] = {"socket_timeout": None, "retry": redis.asyncio.retry.Retry(NoBackoff(), 1)}
        try:
            self._bulk = redis.Redis.from_url(url, protocol=2, **patience)
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                url, max_connections=MAX_CONNECTIONS, timeout=None, protocol=2, **asked
            )
        except ValueError as error:
            raise SettingError(f"features.url: {error}") from None
        self._client: Any = redis.asyncio.Redis.from_pool(pool)

    def get(self, views: Views, entities: Sequence[str]) -> Looked:
        found: list[list[FeatureRow | None]] = []
        for start in range(0, len(entities), PIPELINE_ROWS):
            some = entities[start : start + PIPELINE_ROWS]
            pipeline: Any = self._bulk.pipeline(transaction=False)
            for command in _asking(views, some):
                pipeline.execute_command(*command)
            with _said():
                found += _rows(views, some, pipeline.execute())
        return found

    async def aget(self, views: Views, entities: Sequence[str]) -> Looked:
        with _said():
            if len(views) == len(entities) == 1:
                (command,) = _asking(views, entities)
                return _rows(views, entities, [await self._client.execute_command(*command)])
            pipeline: Any = self._client.pipeline(transaction=False)
            for command in _asking(views, entities):
                pipeline.execute_command(*command)
            return _rows(views, entities, await pipeline.execute())

    async def aclose(self) -> None:
        await self._client.aclose(close_connection_pool=True)

    def put(self, view: str, rows: Sequence[FeatureRow]) -> None:
        """Pipelines of 1,000 rows, each sent before the answers to the one before are read: nobody waits."""
        with _said():
            script = self._bulk.script_load(_PUT)
            pool: Any = self._bulk.connection_pool
            connection, waiting = pool.get_connection(), 0
            try:
                for start in range(0, len(rows), PIPELINE_ROWS):
                    some = rows[start : start + PIPELINE_ROWS]
                    connection.send_packed_command(connection.pack_commands(_putting(script, view, some)))
                    _read_answers(connection, waiting)
                    waiting = len(some)
                _read_answers(connection, waiting)
            except BaseException:
                connection.disconnect()
                raise
            finally:
                pool.release(connection)

    def views(self) -> Iterator[ViewStats]:
        times: dict[str, list[int]] = defaultdict(list)
        with _said():
            keys: list[bytes] = []
            for key in self._bulk.scan_iter(f"{PREFIX}:*", count=PIPELINE_ROWS):
                keys.append(key)
                if len(keys) == PIPELINE_ROWS:
                    self._add_times(keys, times)
                    keys = []
            self._add_times(keys, times)
        for view, found in sorted(times.items()):
            yield ViewStats(view, len(found), min(found), max(found))

    def _add_times(self, keys: Sequence[bytes], times: dict[str, list[int]]) -> None:
        pipeline: Any = self._bulk.pipeline(transaction=False)
        for key in keys:
            pipeline.hget(key.decode(), TIME)
        for key, time in zip(keys, pipeline.execute(), strict=True):
            if time is not None and time.isdigit():
                times[key.decode().split(":", 2)[1]].append(int(time))


def _key(view: str, entity: str) -> str:
    return f"{PREFIX}:{view}:{entity}"


def _asking(views: Views, entities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """A command per entity and view, in this order."""
    for entity in entities:
        for view, names in views.items():
            yield "HMGET", _key(view, entity), TIME, *names


def _putting(script: str, view: str, rows: Sequence[FeatureRow]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        values = chain.from_iterable([(name, encode_value(value)) for name, value in row.values.items()])
        yield "EVALSHA", script, 1, _key(view, row.entity), TIME, row.time_ns, *values


def _read_answers(connection: Any, n_answers: int) -> None:
    for _ in range(n_answers):
        connection.read_response()


def _rows(views: Views, entities: Sequence[str], answers: Sequence[Any]) -> list[list[FeatureRow | None]]:
    """The answers to `_asking` as rows."""
    left = iter(answers)
    return [[_row(entity, names, next(left)) for names in views.values()] for entity in entities]


def _row(entity: str, names: Sequence[str], answer: Sequence[bytes | None]) -> FeatureRow | None:
    time, *values = answer
    if time is None or not time.isdigit():
        return None
    found = zip(names, values, strict=True)
    return FeatureRow(entity, int(time), {name: decode_value(value) for name, value in found if value is not None})


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreDown(f"Redis: {type(error).__name__}") from error
