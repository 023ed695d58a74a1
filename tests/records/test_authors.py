"""Authors are asked for by model: whoever wrote them, and however many others there are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from shipping import opened
from sqlalchemy import Connection, text

from scoreline.core.decision import Author
from scoreline.records import authors
from scoreline.records.authors import authors_of, numbers_by_model
from scoreline.records.database import Database, open_database
from scoreline.records.load import author_ids
from scoreline.records.migrate import upgrade
from scoreline.records.rows import author_json, author_key
from scoreline.records.shadowed import numbers_of
from somedecisions import author_of

OLD = [
    author_of(model="fraud", classes=('a"model":"churn"', "b\\"), outcomes=()),
    author_of(model="churn", version="é", epoch=4),
]


@contextmanager
def before(url: str, step: str) -> Iterator[Database]:
    """A database as it was left at a step."""
    database = open_database(url, Path("unused"))
    try:
        with database.writing() as connection:
            upgrade(connection, step)
        yield database
    finally:
        database.close()


def write_as_before(connection: Connection, many: list[Author]) -> None:
    for author in many:
        named = {"key": author_key(author), "json": author_json(author)}
        connection.execute(text("INSERT INTO authors (key, json) VALUES (:key, :json)"), named)


def test_authors_of_before_are_found_by_their_models(database_url: str) -> None:
    with before(database_url, "0003") as database:
        with database.writing() as connection:
            write_as_before(connection, OLD)
        database.prepare()
        new = author_of(model="fraud", epoch=9)
        with database.writing() as connection:
            write_as_before(connection, [new])  # by a steward of before, after the step
            (last,) = author_ids(connection, [author_of(model="fraud", epoch=10)]).values()
        with database.reading() as connection:
            found = authors_of(connection, "fraud")
            assert list(found.values()) == [OLD[0], new, author_of(model="fraud", epoch=10)]
            assert list(authors_of(connection, "churn").values()) == [OLD[1]]
            assert len(authors_of(connection)) == 4
            assert numbers_by_model(connection, "fraud") == {"fraud": list(found)} and list(found)[-1] == last
            assert numbers_by_model(connection).keys() == {"fraud", "churn"}


def test_authors_of_other_models_and_bundles_are_not_even_read(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They grow with every step of every rollout."""
    with opened(database_url) as database:
        many = [author_of(model=name, digest=digit * 64, epoch=n) for n in range(5) for name in "ab" for digit in "12"]
        challenger = author_of(model="a", digest="1" * 64, role="challenger", epoch=3)
        with database.writing() as connection:
            ids = author_ids(connection, [*many, challenger])
        read, real = list[Author](), authors.author_of
        monkeypatch.setattr(authors, "author_of", lambda json: read.append(real(json)) or read[-1])
        assert numbers_of(database, "a", "1" * 64, 3) == [ids[author_key(challenger)]]
        assert {(one.model, one.digest) for one in read} == {("a", "1" * 64)}
        with database.reading() as connection:
            read.clear()
            assert len(numbers_by_model(connection, "a")["a"]) == 11 and read == []
