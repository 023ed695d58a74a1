"""The last decisions of a version as champion: what its traffic is like before a rollout begins.

An index has each author's decisions in the order of their ids, so it does not matter how busy other models are.
Decisions of streams, whose ids tell no time, are not among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, and_, func, or_, select, text

from scoreline.core.ids import ROW_BITS
from scoreline.core.link import Floats
from scoreline.records.authors import authors_of
from scoreline.records.database import Database
from scoreline.records.tables import DECISIONS, OTHER_TIME, OUTCOMES

MOST: Final = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Recent:
    """Columns of at most MOST decisions, one row each, the newest first: time and the model's time, first score.

    `units`: entities, or requests that name none, among them; `known`: outcomes that were reported of that time.
    """

    time_ns: Floats
    model_ns: Floats
    scores: Floats
    units: int
    known: int

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def span_s(self) -> float:
        """From the first to the last of them."""
        return float(np.ptp(self.time_ns)) / 1e9 if len(self) else 0.0


def recent(database: Database, model: str, digest: str, most: int = MOST) -> Recent:
    """What a bundle decided last as the champion of a model; raises DatabaseDown or DatabaseRefused."""
    found = list[Any]()
    with database.reading() as connection:
        for author in _authors(connection, model, digest):  # one for each entry of the ledger, the newest first
            found += _newest(connection, database.kind, author, most, found[-1].id if len(found) == most else None)
            found = sorted(found, key=lambda row: row.id, reverse=True)[:most]
        known = _known(connection, model, found[-1], found[0]) if found else 0
    numbers = np.array([one[:3] for one in found], np.float64).reshape(len(found), 3)
    units = len({bytes(one.entity) if one.entity else _request(one.id) for one in found})
    return Recent(numbers[:, 0], numbers[:, 1], numbers[:, 2], units, known)


def _newest(connection: Connection, kind: str, author: int, most: int, after: bytes | None) -> Sequence[Any]:
    """An author's newest decisions, of those with ids above a given one; the index `decisions_author` has them so."""
    row = DECISIONS.c
    wanted = select(row.time_ns, row.model_ns, row.score, row.entity, row.id).where(
        row.author == author, text(f"NOT ({OTHER_TIME[kind]})"), row.salt.is_not(None)
    )
    if after is not None:
        wanted = wanted.where(row.id > after)
    return connection.execute(wanted.order_by(row.id.desc()).limit(most)).all()


def _authors(connection: Connection, model: str, digest: str) -> list[int]:
    """The numbers of a champion, the newest first."""
    found = authors_of(connection, model, digest).items()
    return sorted((number for number, one in found if one.role == "champion"), reverse=True)


def _known(connection: Connection, model: str, first: Any, last: Any) -> int:
    """Outcomes of decisions from the first to the last, by their id or by entity and time."""
    told = OUTCOMES.c
    by_id = told.prediction.between(first.id, last.id)
    by_entity = and_(told.model == model, told.event_ns.between(first.time_ns, last.time_ns))
    return connection.scalar(select(func.count()).select_from(OUTCOMES).where(or_(by_id, by_entity))) or 0


def _request(id_: bytes) -> int:
    return int.from_bytes(id_, "big") >> ROW_BITS
