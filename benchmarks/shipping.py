"""Shipping, side by side with the bare way of the same rows into the same table: `executemany`, and a binary COPY.

Rows have 20 fields, one to a request, and come in the pieces and transactions that shipping makes of them. A bare round
leaves out all else: reading and decoding the spool, leaves, salts, trees, authors, offsets, deletion. Both sides commit
alike; shipping also syncs the disk before it deletes a segment, which is here what it is in service: one of 64 MiB.
The bare COPY is the driver's, as its manual has it: `set_types` and `write_row`.
"""

import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from measuring import interleaved
from sqlalchemy import text

from scoreline.core.batch import Context
from scoreline.core.decision import Author, Decisions
from scoreline.core.ids import IdSource
from scoreline.records import ship
from scoreline.records.database import Database, open_database
from scoreline.records.load import COLUMNS, insert_decisions
from scoreline.records.tables import DECISIONS
from scoreline.records.writer import SpoolWriter

ROWS: Final = 180_000  # more than a segment
Pieces = list[list[tuple[Any, ...]]]


def measure(folder: Path) -> Iterator[dict[str, Any]]:
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from postgres_server import postgres_server

    folder.mkdir()
    fill(folder / "spool")
    with postgres_server() as server:
        for url in (f"sqlite:///{folder / 'decisions.db'}", server.new_schema()):
            database = open_database(url, folder)
            database.prepare()
            yield compared(folder, database)
            database.close()


def compared(folder: Path, database: Database) -> dict[str, Any]:
    bare, name = (execute, "SQLite, rows/s / bare executemany")
    if database.kind == "postgresql":
        bare, name = (copy, "PostgreSQL, rows/s / bare binary COPY")
    pieces = shipped_rows(folder, database)
    return interleaved(
        f"shipping to {name}",
        ">= 0.5",
        lambda: rows_per_s(database, lambda: bare(database, pieces)),
        lambda: ship_copy(folder, database),
    )


def ship_copy(folder: Path, database: Database) -> float:
    shutil.copytree(folder / "spool", folder / "copy")
    shipper = ship.Shipper(folder / "copy", database, "bench")
    found = rows_per_s(database, lambda: ship_all(shipper))
    (folder / "copy").rmdir()  # it is empty: all is shipped
    return found


def ship_all(shipper: ship.Shipper) -> None:
    while shipper.ship():
        pass


def shipped_rows(folder: Path, database: Database) -> Pieces:
    """The rows as shipping hands them to the driver."""
    pieces: Pieces = []

    def keep(connection: Any, rows: Any) -> None:
        pieces.append([tuple(row) for row in rows])
        insert_decisions(connection, pieces[-1])

    ship.insert_decisions = keep
    ship_copy(folder, database)
    ship.insert_decisions = insert_decisions
    if database.kind == "postgresql":
        pieces = [[(uuid.UUID(bytes=id_), *rest) for id_, *rest in rows] for rows in pieces]
    return pieces


def execute(database: Database, pieces: Pieces) -> None:
    columns, places = ", ".join(f'"{name}"' for name in COLUMNS), ", ".join("?" * len(COLUMNS))
    for rows in pieces:
        with database.writing() as connection:
            raw: Any = connection.connection
            raw.cursor().executemany(f"INSERT INTO decisions ({columns}) VALUES ({places})", rows)


def copy(database: Database, pieces: Pieces) -> None:
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    for rows in pieces:
        with database.writing() as connection:
            raw: Any = connection.connection
            with raw.cursor().copy(f"COPY decisions ({columns}) FROM STDIN (FORMAT BINARY)") as copying:
                copying.set_types([DECISIONS.c[name].type.compile(connection.dialect).lower() for name in COLUMNS])
                for row in rows:
                    copying.write_row(row)


def rows_per_s(database: Database, run: Callable[[], None]) -> float:
    """Of one round into an empty table."""
    with database.writing() as connection:
        for table in ("decisions", "segments"):
            connection.execute(text(f"DELETE FROM {table}"))
    with database._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if database.kind == "postgresql":
            connection.execute(text("VACUUM decisions"))
    start_s = time.perf_counter()
    run()
    return ROWS / (time.perf_counter() - start_s)


def fill(spool: Path, digest: str = "d" * 64) -> None:
    """`ROWS` decisions of a version, one to a request."""
    fields = tuple(f"f{number}" for number in range(20))
    author = Author("fraud", "1", digest, "onnxruntime 1", fields, "p", (), ("approve", "review"))
    ids, rng, writer = IdSource(), np.random.default_rng(0), SpoolWriter(spool, 64 * 1024 * 1024)
    for number in range(ROWS):
        now_ns = time.time_ns()
        context = Context(now_ns, f"{number:032x}", "caller", f"00-{number:032x}-00f067aa0ba902b7-01")
        values, score, entity = rng.normal(size=(1, 20)), rng.random((1, 1)), rng.bytes(16)
        base, rest = ids.new_base(now_ns), ([1], {0: (3,)}, {}, 5000, [entity])
        writer.write(Decisions(base, author, context, values, score, score, *rest))
    writer.close()
