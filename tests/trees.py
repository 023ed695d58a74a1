"""Whether every segment's tree in the decision database is that of its decisions as they are stored."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import select

from scoreline.core.decision import Author
from scoreline.records.database import Database
from scoreline.records.merkle import Tree
from scoreline.records.rows import Row, author_key, leaf
from scoreline.records.rows import author_of as author_of_json
from scoreline.records.tables import AUTHORS, DECISIONS, SEGMENTS

PAGE = 5000


def check_trees(database: Database) -> None:
    """Every segment's tree is that of its decisions as stored, and every place in it is taken once."""
    with database.reading() as connection:
        authors = {id_: author_of_json(json) for id_, json in connection.execute(select(AUTHORS.c.id, AUTHORS.c.json))}
        segments = {segment.id: segment for segment in connection.execute(select(SEGMENTS))}
        ordered = select(DECISIONS).order_by(DECISIONS.c.segment, DECISIONS.c.place)
        rows = connection.execute(ordered.execution_options(yield_per=PAGE))
        trees = {found: _tree(authors, own) for found, own in groupby(rows, lambda row: row.segment)}
    assert trees.keys() <= segments.keys()
    for found, segment in segments.items():
        tree = trees.get(found, Tree())
        assert (segment.rows, segment.tree) == (tree.size, tree.state)
        assert segment.root == (tree.root if segment.final else None)


def _tree(authors: dict[int, Author], rows: Iterator[Any]) -> Tree:
    tree = Tree()
    for row in rows:
        assert row.place == tree.size
        tree.extend([leaf(row.salt, author_key(authors[row.author]), _row(row._asdict()))])
    return tree


def _row(found: dict[str, Any]) -> Row:
    return Row(*(found[name] for name in Row._fields))._replace(entity=found["entity"] or b"")
