"""Features from Redis: one lookup against a bare HMGET, a load against a bare loader, and answers through faults.

A lookup is all that a request spends on its ten features: the ladder with its deadline, the store, types, filling the
batch. It and a bare `redis.asyncio` HMGET of the same hash are timed in turn in one process, by uvloop as in a worker.
A load is `scoreline features load` of a Parquet file without the start of its process: reading, checking, pipelines,
progress. The bare loader has its rows as dictionaries already and sends them as HSET in pipelines of 1,000. During each
fault one client asks a real service over one connection for 5 seconds, the moment of the fault included. FEATURES_ROWS
shortens.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import redis
import redis.asyncio
import uvloop
from measuring import interleaved
from report import figure

from scoreline.core.batch import Context
from scoreline.core.rows import read_rows
from scoreline.core.schema import Field, Schema
from scoreline.features.known import Known
from scoreline.features.ladder import Ladder
from scoreline.features.redis import RedisStore
from scoreline.operations.featurefiles import FeatureFile
from scoreline.operations.features import load_features

ROWS: Final = int(os.environ.get("FEATURES_ROWS", "100000"))
FEATURES: Final = tuple(f"feature_{at}" for at in range(10))
LOOKUPS: Final = 2000
PIPELINE: Final = 1000
FAULT_S: Final = 5.0
BUDGET_MS: Final = 200
NO_HURRY_S: Final = 1.0  # where the time itself is measured, none is cut


def measure(folder: Path) -> Iterator[dict[str, Any]]:
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from redis_server import redis_server

    folder.mkdir(parents=True, exist_ok=True)
    with redis_server() as server:
        yield loads(folder, server.url)
        yield lookups(server.url)
    yield from faults(folder)


def loads(folder: Path, url: str) -> dict[str, Any]:
    """Rows a second into Redis, from a file, over those of a bare pipelined loader."""
    rng = np.random.default_rng(1)
    columns = {name: rng.random(ROWS) for name in FEATURES}
    keys = [f"c{at}" for at in range(ROWS)]
    file = folder / "features.parquet"
    pq.write_table(pa.table({"customer": keys, **columns}), file)
    lists = [column.tolist() for column in columns.values()]
    rows = [dict(zip(FEATURES, values, strict=True)) for values in zip(*lists, strict=True)]
    store, client = RedisStore(url), redis.Redis.from_url(url)

    def bare() -> float:
        begun_s = time.perf_counter()
        for start in range(0, ROWS, PIPELINE):
            pipeline = client.pipeline(transaction=False)
            for key, row in zip(keys[start : start + PIPELINE], rows[start : start + PIPELINE], strict=True):
                pipeline.hset(f"bare:customer:{key}", mapping=row)
            pipeline.execute()
        return ROWS / (time.perf_counter() - begun_s)

    def ours() -> float:
        begun_s = time.perf_counter()
        loaded = load_features(
            FeatureFile(file, "customer"), "customer", store, folder, time.time_ns(), lambda *_: None
        )
        assert (loaded.rows, loaded.resumed_rows) == (ROWS, 0)
        return ROWS / (time.perf_counter() - begun_s)

    found = interleaved("load of a file into Redis / a bare pipelined loader, rows/s", ">= .7", bare, ours)
    ((row,),) = store.get({"customer": FEATURES}, [keys[-1]])
    assert row is not None and row.values == rows[-1]
    return found


def lookups(url: str) -> dict[str, Any]:
    """Time of one lookup over that of a bare HMGET: medians of rounds taken in turn."""
    stored = (Field(name, "number", source="store", default=0.0) for name in FEATURES)
    schema = Schema((Field("amount", "number"), *stored), "customer")
    people = [f"c{at * 37 % ROWS}" for at in range(LOOKUPS)]
    batches = [read_rows(schema, [{"amount": 1.0, "customer": person}], Context(1)) for person in people]

    async def rounds() -> list[tuple[float, float]]:
        bare = redis.asyncio.Redis.from_url(url)
        lookup = Ladder(RedisStore(url), Known(ROWS)).looking(schema, NO_HURRY_S)
        assert lookup is not None
        found = []
        for _ in range(6):
            times: tuple[list[float], list[float]] = [], []
            for person, batch in zip(people, batches, strict=True):
                begun_s = time.perf_counter()
                await bare.hmget(f"scoreline:customer:{person}", FEATURES)
                asked_s = time.perf_counter()
                filled = await lookup.in_time(batch)
                times[1].append(time.perf_counter() - asked_s)
                times[0].append(asked_s - begun_s)
                assert not filled.degraded and not filled.defaulted
            found.append((median(times[0]) * 1e6, median(times[1]) * 1e6))
        return found[1:]

    pairs = uvloop.run(rounds())
    ratios = [ours / bare for bare, ours in pairs]
    found = figure("one lookup of 10 features / a bare redis.asyncio HMGET, time", median(ratios), "<= 1.3", ratios)
    return found | {"base_us": median(bare for bare, _ in pairs), "ours_us": median(ours for _, ours in pairs)}


def faults(folder: Path) -> Iterator[dict[str, Any]]:
    """What one client sees of a service while its Redis is in trouble: the 99th percentile, and errors."""
    from stored import seal_stored

    folder.joinpath("model").mkdir()
    model = seal_stored(folder / "model")
    for name, act in FAULTS.items():
        times_ms, degraded, errors = through(act, model, folder / name.replace(" ", "-"))
        p99_ms = quantiles(times_ms, n=100)[98]
        told = {"answers": len(times_ms), "degraded": degraded, "longest_ms": round(max(times_ms), 1)}
        yield figure(f"Redis {name}: p99 of answers, ms", p99_ms, f"<= {BUDGET_MS}", [p99_ms]) | told
        yield figure(f"Redis {name}: errors", errors, "0", [errors])


def undisturbed(_: Any, __: Any) -> None:
    """What there is to compare with."""


def killed(server: Any, _: Any) -> None:
    server.kill()


def stopped(server: Any, _: Any) -> None:
    server.suspend()


def restarted(server: Any, _: Any) -> None:
    server.kill()
    server.start()


def slowed(_: Any, proxy: Any) -> None:
    proxy.delay_s = 0.05


def reset(_: Any, proxy: Any) -> None:
    proxy.cut()


FAULTS: Final[Mapping[str, Callable[[Any, Any], None]]] = {
    "undisturbed": undisturbed,
    "killed": killed,
    "stopped (SIGSTOP)": stopped,
    "killed and started anew": restarted,
    "slowed to 50 ms": slowed,
    "resetting connections": reset,
}


def through(act: Callable[[Any, Any], None], model: Any, folder: Path) -> tuple[list[float], int, int]:
    """What `asked` finds of a service whose Redis, or the way to it, has this fault; it has to heal by itself."""
    from proxy import proxy_to
    from redis_server import redis_server
    from service import serving, wait_until
    from stored import rows_of

    person = {"amount": 1.0, "customer": "c7"}
    with redis_server() as server, proxy_to(server.port) as proxy:
        for view, rows in rows_of(100).items():
            RedisStore(server.url).put(view, rows)
        url = proxy.url if act in (slowed, reset) else server.url  # the proxy is itself slow on a busy machine
        environment = {"SCORELINE_FEATURES__STORE": "redis", "SCORELINE_FEATURES__URL": url}
        environment |= {"SCORELINE_LATENCY__TOTAL_MS": str(BUDGET_MS)}
        with serving(model, folder=folder, **environment) as service:

            def sound() -> bool:
                return "degraded" not in service.post(person).json()

            wait_until(sound, "the lookup is answered", 60)
            found = asked(service.port, lambda: act(server, proxy))
            server.resume() if server.process else server.start()
            proxy.delay_s = 0.0
            proxy.mend()
            wait_until(sound, "it heals by itself", 60)
    return found


def asked(port: int, act: Callable[[], object]) -> tuple[list[float], int, int]:
    """Times of answers in ms, how many were degraded, and how many were errors; `act` happens after a fifth of it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    times_ms, degraded, errors, at = list[float](), 0, 0, 0
    acting = threading.Thread(target=act)
    begun_s = time.perf_counter()
    while (now_s := time.perf_counter()) < begun_s + FAULT_S:
        if acting.ident is None and now_s > begun_s + FAULT_S / 5:
            acting.start()
        at = (at + 1) % 100
        body = json.dumps({"amount": 640.0, "customer": f"c{at}"})
        sent_s = time.perf_counter()
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        times_ms.append((time.perf_counter() - sent_s) * 1e3)
        errors += answer.status != 200
        degraded += b'"degraded"' in content
    acting.join()
    return times_ms, degraded, errors
