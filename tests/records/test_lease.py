"""A lease has one holder at a time, runs out by itself, and is given back."""

from contextlib import closing
from pathlib import Path

import pytest
from shipping import opened
from sqlalchemy import update

from scoreline.records import lease
from scoreline.records.database import open_database
from scoreline.records.lease import Lease
from scoreline.records.tables import LEASES


def test_one_holds_it_and_renews_it_and_nobody_else_does(database_url: str, tmp_path: Path) -> None:
    with opened(database_url) as database, closing(open_database(database_url, tmp_path)) as another:
        one, other = Lease(database, "keeper"), Lease(another, "keeper")
        assert [one.hold(), other.hold(), one.hold(), other.hold()] == [True, False, True, False]
        assert Lease(another, "something else").hold()
        other.give_back()
        assert not other.hold(), "it was not its own to give"
        one.give_back()
        assert [other.hold(), one.hold()] == [True, False]


def test_it_runs_out(database_url: str) -> None:
    with opened(database_url) as database:
        one, other = Lease(database, "keeper"), Lease(database, "keeper")
        assert one.hold()
        with database.writing() as connection:
            connection.execute(update(LEASES).values(until_ns=LEASES.c.until_ns - int(lease.LEASE_S * 1e9)))
        assert [other.hold(), one.hold()] == [True, False]


@pytest.mark.parametrize("n_stewards", (2, 7))
def test_of_many_that_want_it_one_has_it(database_url: str, n_stewards: int) -> None:
    with opened(database_url) as database:
        assert sum(Lease(database, "keeper").hold() for _ in range(n_stewards)) == 1
