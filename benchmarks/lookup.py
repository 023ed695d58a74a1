"""One decision by its id among ten million, in SQLite and in PostgreSQL, alone and as `GET /predictions/{id}`.

Rows of 8 fields over ten days come in through shipping's own insert, in the order of their ids; in PostgreSQL each day
has its partition. Nobody is told about whom they are: an index on entities makes the filling slower, and no lookup.
Ids are drawn from all rows. Cold: the server was restarted, and the pages of its files, or of SQLite's, were dropped
from the kernel's cache; the first lookups of a process count that has opened the database. Warm: the same ids again.
Before each lookup the process counts for about as long as one takes: the 99th percentile of that is the machine's own.
LOOKUP_ROWS shortens.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from realtime import answer_when_up, figure, free_port

from models import BenchModel, bench_model
from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.bundle import read_bundle
from scoreline.core.decision import Author
from scoreline.core.ids import IdSource, text
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.records.database import POSTGRESQL, Database, open_database
from scoreline.records.kept import KeptRecord
from scoreline.records.load import author_ids, insert_decisions
from scoreline.records.partitions import DAY_MS, make_days
from scoreline.signing import TrustStore

ROWS: Final = int(os.environ.get("LOOKUP_ROWS", "10000000"))
DAYS: Final = 10
FIELDS: Final = 8
PIECE: Final = 50_000
LOOKUPS: Final = 1000
ROUNDS: Final = 3  # of warm ones
COUNTED: Final = 25_000
DAY_NS: Final = DAY_MS * 1_000_000
TARGET: Final = "<= 5"


def measure(folder: Path) -> Iterator[dict[str, Any]]:
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from postgres_server import Postgres, postgres_server

    model = bench_model(folder / "model", FIELDS, n_rows=1)
    file = folder / "decisions.db"
    yield from looked_up("SQLite", model, folder / "sqlite", f"sqlite:///{file}", lambda: drop_pages(folder))
    for path in folder.glob("decisions.db*"):
        path.unlink()
    with postgres_server() as server:

        def restart(server: Postgres = server) -> None:
            server.stop()
            drop_pages(server.data)
            server.start()

        yield from looked_up("PostgreSQL", model, folder / "postgresql", server.new_schema(), restart)


def looked_up(
    name: str, model: BenchModel, folder: Path, url: str, make_cold: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    database = open_database(url, folder)
    database.prepare()
    start_s = time.perf_counter()
    some = fill(database, author_of(model))
    seconds = round(time.perf_counter() - start_s)
    database.close()
    make_cold()
    record = KeptRecord(folder / "spool", url, folder)
    one = f"{name}, one decision by id among {ROWS:,}"
    assert record.get(0) is None  # the database is open
    yield from times_ms(f"{one}, cold", record_get(record), some, filled_in_s=seconds)
    yield from times_ms(f"{one}, warm", record_get(record), some * ROUNDS)
    yield from through_the_service(f"{one}, GET /predictions/ID", model, folder, url, some * ROUNDS)


def times_ms(name: str, get: Callable[[int], bool], ids: list[int], **more: Any) -> Iterator[dict[str, Any]]:
    """Median and 99th percentile of one lookup each, in ms; every id must be found."""
    times, idle = [], []
    for id_ in ids:
        start_s = time.perf_counter()
        sum(range(COUNTED))
        begun_s = time.perf_counter()
        found = get(id_)
        times.append((time.perf_counter() - begun_s) * 1e3)
        idle.append((begun_s - start_s) * 1e3)
        if not found:
            raise SystemExit(f"{name}: {text(id_)} was not found")
    machine = {"median": median(idle), "p99": quantiles(idle, n=100)[98]}
    for what, value in (("median", median(times)), ("p99", quantiles(times, n=100)[98])):
        found_so = {"lookups": len(ids), "mere counting, ms": round(machine[what], 3)}
        yield figure(f"{name}, {what}, ms", value, TARGET, [value]) | found_so | more


def record_get(record: KeptRecord) -> Callable[[int], bool]:
    def get(id_: int) -> bool:
        found = record.get(id_)
        return found is not None and found.base == id_

    return get


def through_the_service(
    name: str, model: BenchModel, folder: Path, url: str, ids: list[int]
) -> Iterator[dict[str, Any]]:
    """The whole request, over a connection that is kept."""
    port, admin_port = free_port(), free_port()
    script = Path(sys.executable).with_name("scoreline")
    command = [script, "serve", model.bundle, "--trust", model.trust, "--port", port, "--admin-port", admin_port]
    environment = os.environ | {"SCORELINE_RECORDS__DATABASE": url}
    process = subprocess.Popen(
        [*map(str, command), "--state-dir", str(folder / "state")], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        answer_when_up(port, model.one)
        connection = HTTPConnection("127.0.0.1", admin_port, timeout=60)

        def get(id_: int) -> bool:
            connection.request("GET", f"/predictions/{text(id_)}")
            response = connection.getresponse()
            return text(id_).encode() in response.read() and response.status == 200

        get(ids[0])
        yield from times_ms(name, get, ids)
    finally:
        process.terminate()
        process.wait(30)


def author_of(model: BenchModel) -> Author:
    """The author whose decisions the model's service would record."""
    bundle = read_bundle(model.bundle, TrustStore.from_files([model.trust]))
    scorer = Scorer(bundle.manifest, load_engine(bundle))
    return scorer(Batch(model.values[:1], Context(time.time_ns()), NO_DEFAULTS)).author


def fill(database: Database, author: Author) -> list[int]:
    """All rows; returns ids of some, drawn from all and shuffled."""
    rng, ids = random.Random(0), IdSource()
    chosen = {rng.randrange(ROWS) for _ in range(LOOKUPS)}
    first_ns = time.time_ns() // DAY_NS * DAY_NS - DAYS * DAY_NS
    with database.writing() as connection:
        (by,) = author_ids(connection, [author]).values()
        if database.kind == POSTGRESQL:
            database.lock(connection)
            make_days(connection, range(first_ns // DAY_NS, first_ns // DAY_NS + DAYS + 1))
    some: list[int] = []
    values, tail = os.urandom(8 * FIELDS), (-1, b"", b"", 5000, by, 0.5, 1)
    for start in range(0, ROWS, PIECE):
        rows = []
        for number in range(start, min(start + PIECE, ROWS)):
            time_ns = first_ns + number * DAYS * DAY_NS // ROWS
            base, number_text = ids.new_base(time_ns), f"{number:032x}"
            told = base.to_bytes(16, "big"), time_ns, None, "caller", number_text, ""
            rows.append((*told, values, values[:8], values[8:16], *tail, number, values[:16]))
            if number in chosen:
                some.append(base)
        with database.writing() as connection:
            insert_decisions(connection, rows)
    rng.shuffle(some)
    return some


def drop_pages(folder: Path) -> None:
    """What the kernel holds of the files in a folder goes to the disk and out of memory."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fdatasync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
