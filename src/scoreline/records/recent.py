"""The last decisions of a version as champion: what its traffic is like before a rollout begins.

Only the newest decisions of the database are looked through, whoever made them: a version that has answered little of
late costs no walk through years. Decisions of streams, whose ids tell no time, are not among them.
"""

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
LOOKED_THROUGH: Final = 10  # times as many decisions, of all authors


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
    row = DECISIONS.c
    with database.reading() as connection:
        newest = (
            select(row.id, row.time_ns, row.model_ns, row.score, row.entity, row.author)
            .where(text(f"NOT ({OTHER_TIME[database.kind]})"), row.salt.is_not(None))
            .order_by(row.id.desc())
            .limit(most * LOOKED_THROUGH)
            .subquery()
        )
        there = newest.c
        wanted = select(there.time_ns, there.model_ns, there.score, there.entity, there.id)
        wanted = wanted.where(there.author.in_(_authors(connection, model, digest)))
        found = connection.execute(wanted.order_by(there.id.desc()).limit(most)).all()
        known = _known(connection, model, found[-1], found[0]) if found else 0
    numbers = np.array([one[:3] for one in found], np.float64).reshape(len(found), 3)
    units = len({bytes(one.entity) if one.entity else _request(one.id) for one in found})
    return Recent(numbers[:, 0], numbers[:, 1], numbers[:, 2], units, known)


def _authors(connection: Connection, model: str, digest: str) -> list[int]:
    return [number for number, one in authors_of(connection, model, digest).items() if one.role == "champion"]


def _known(connection: Connection, model: str, first: Any, last: Any) -> int:
    """Outcomes of decisions from the first to the last, by their id or by entity and time."""
    told = OUTCOMES.c
    by_id = told.prediction.between(first.id, last.id)
    by_entity = and_(told.model == model, told.event_ns.between(first.time_ns, last.time_ns))
    return connection.scalar(select(func.count()).select_from(OUTCOMES).where(or_(by_id, by_entity))) or 0


def _request(id_: bytes) -> int:
    return int.from_bytes(id_, "big") >> ROW_BITS
