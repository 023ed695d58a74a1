"""How many rows go in at once: `executemany` on SQLite, a binary COPY on PostgreSQL, both as the rows are made."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Update, text

from scoreline.core.decision import Author
from scoreline.core.ids import MAX_ROWS
from scoreline.records.moved import shipped
from scoreline.records.pieces import Piece
from scoreline.records.rows import author_json, author_key
from scoreline.records.tables import DECISIONS

_ADD_AUTHOR: Final = text("INSERT INTO authors (key, json, model) VALUES (:key, :json, :model) ON CONFLICT DO NOTHING")
COLUMNS: Final = tuple(column.name for column in DECISIONS.columns if column.name not in ("unsent", "leaf"))
Values = Sequence[Any]


def insert_decisions(connection: Connection, rows: Iterable[Values]) -> None:
    """Rows in the order of COLUMNS, ids as their 16 bytes; an `entity` that was not told is None."""
    quoted = [connection.dialect.identifier_preparer.quote(name) for name in COLUMNS]
    # Rows go to the driver itself: what SQLAlchemy would do for each of them takes longer than the database.
    raw: Any = connection.connection
    cursor = raw.cursor()
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(COLUMNS))
        cursor.executemany(f"INSERT INTO decisions ({', '.join(quoted)}) VALUES ({places})", rows)
        return
    # What the driver has for `bytea` is a wrapper in Python around this one in C, two thirds of what a row costs in it.
    driver: Any = connection.dialect.loaded_dbapi
    cursor.adapters.register_dumper(bytes, driver.types.string.BytesBinaryDumper)
    with cursor.copy(f"COPY decisions ({', '.join(quoted)}) FROM STDIN (FORMAT BINARY)") as copy:
        types = (DECISIONS.c[name].type.compile(connection.dialect).lower() for name in COLUMNS)
        copy.set_types(["bytea" if name == "uuid" else name for name in types])  # a UUID goes as its 16 bytes
        for row in rows:
            copy.write_row(row)


def drop_repeated(connection: Connection, piece: Piece) -> int:
    """Takes rows out of a piece whose ids are in the database or the archive, or come twice; returns how many."""
    seen = shipped(connection, [row[0] for row in piece.rows])
    kept = []
    for row, by in zip(piece.rows, piece.by, strict=True):
        if row[0] not in seen:
            seen.add(row[0])
            kept.append((row, by))
    repeated = len(piece.rows) - len(kept)
    piece.rows, piece.by = [row for row, _ in kept], [by for _, by in kept]
    return repeated


def mark_unsent(base: bytes) -> Update:
    """The statement that marks the decisions of a request, whose answer never left."""
    last = int.from_bytes(base, "big") | (MAX_ROWS - 1)
    of_request = DECISIONS.c.id.between(base, last.to_bytes(16, "big"))
    return DECISIONS.update().where(of_request).values(unsent=True)


def author_ids(connection: Connection, authors: Iterable[Author]) -> dict[bytes, int]:
    """The ids of authors by their keys; those that are new are inserted, in one order: nobody waits in a circle."""
    found = {}
    for key, author in sorted({author_key(author): author for author in authors}.items()):
        known = {"key": key, "json": author_json(author), "model": author.model}
        connection.execute(_ADD_AUTHOR, known)
        found[key] = connection.execute(text("SELECT id FROM authors WHERE key = :key"), known).scalar_one()
    return found
