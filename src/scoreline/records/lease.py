"""Leases: what one steward does for all hosts of a database. It is taken, renewed, and runs out by itself.

A lease spares work, it guards nothing: whoever acts on one also holds the database's lock while it acts.
"""

import os
import socket
from typing import Final

from sqlalchemy import text

from scoreline.records.database import Database

LEASE_S: Final = 10.0
_TAKE: Final = text(
    "INSERT INTO leases (name, holder, until_ns) VALUES (:name, :holder, :until_ns) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ns = excluded.until_ns "
    "WHERE leases.holder = excluded.holder OR leases.until_ns < :now_ns RETURNING holder"
)
_GIVE: Final = text("DELETE FROM leases WHERE name = :name AND holder = :holder")


class Lease:
    """One name, held by at most one process at a time."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._names = {"name": name, "holder": f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"}

    def hold(self) -> bool:
        """Takes it, or renews it for LEASE_S; whether it is held now. Raises DatabaseDown or DatabaseRefused."""
        with self._database.writing() as connection:
            now_ns = self._database.now_ns(connection)
            until_ns = now_ns + int(LEASE_S * 1e9)
            times = {"now_ns": now_ns, "until_ns": until_ns}
            return connection.execute(_TAKE, self._names | times).one_or_none() is not None

    def give_back(self) -> None:
        with self._database.writing() as connection:
            connection.execute(_GIVE, self._names)
