"""Requests to erase, each signed for in the chain when it is made: the keeper erases for nothing else."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, not_, select

from scoreline.core.errors import SignatureRefused
from scoreline.records.actions import Action, By, put_down
from scoreline.records.chain import ERASURE, KEY, KIND, Act, Checkpoint, add_link, append
from scoreline.records.database import Database
from scoreline.records.tables import CHECKPOINTS, ERASURES, SEGMENTS
from scoreline.signing import Signer, TrustStore


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was asked for, and how far it is; `waiting` segments of then have not ended and may still hold decisions.

    Until it is `done` the keeper looks each minute for what comes up.
    """

    number: int
    at_ns: int
    who: str
    reason: str
    decisions: int
    outcomes: int
    waiting: int
    done: bool


def ask(connection: Connection, signer: Signer, entity: bytes, reason: str, who: str) -> tuple[int, int]:
    """Puts a request down and signs for it; its number and time. In a transaction that holds the database's lock."""
    at_ns = time.time_ns()
    last = connection.scalar(select(func.max(SEGMENTS.c.id))) or 0
    asked = {"entity": entity, "reason": reason, "who": who, "at_ns": at_ns, "last_segment": last, "link": 0}
    number = int(connection.execute(ERASURES.insert().values(**asked).returning(ERASURES.c.id)).scalar_one())
    link = append(connection, signer, at_ns, Act(ERASURE, _facts(number, entity, at_ns)))
    connection.execute(ERASURES.update().where(ERASURES.c.id == number).values(link=link.seq))
    return number, at_ns


def change_key(database: Database, signer: Signer, now_ns: int, by: By) -> Checkpoint:
    """Goes on with another key than the chain's last link was signed with; both must be trusted from here on.

    Requests that the chain has are signed for anew, so that the keeper goes on with them.
    """
    with database.writing(durable=True) as connection:
        database.lock(connection)
        changed = add_link(connection, signer, now_ns, (), Act(KEY, {}))
        put_down(connection, Action(now_ns, by, "audit key changed", {"checkpoint": changed.seq}))
        for asked in connection.execute(select(ERASURES).order_by(ERASURES.c.id)).all():
            body = connection.scalar(select(CHECKPOINTS.c.body).where(CHECKPOINTS.c.seq == asked.link))
            if body and Checkpoint.from_body(body).act == Act(ERASURE, _facts(asked.id, asked.entity, asked.at_ns)):
                link = append(connection, signer, now_ns, Act(ERASURE, _facts(asked.id, asked.entity, asked.at_ns)))
                connection.execute(ERASURES.update().where(ERASURES.c.id == asked.id).values(link=link.seq))
        return changed


def is_asked(connection: Connection, signer: Signer, erasure: Any) -> bool:
    """Whether a row of `erasures` is what was signed for with this key."""
    wanted = select(CHECKPOINTS.c.body, CHECKPOINTS.c.signature).where(CHECKPOINTS.c.seq == erasure.link)
    found = connection.execute(wanted).one_or_none()
    if found is None:
        return False
    try:
        link = Checkpoint.from_body(found.body)
        TrustStore([signer.public_pem]).vouches(link.key, KIND, found.body.encode(), found.signature)
        facts = _facts(erasure.id, erasure.entity, erasure.at_ns)
    except (SignatureRefused, ValueError, TypeError, AttributeError, OverflowError):  # SQLite takes anything anywhere
        return False
    return link.seq == erasure.link and link.act == Act(ERASURE, facts)


def erasures(database: Database) -> list[Erasure]:
    """All that were asked for, the oldest first."""
    wait = select(func.count()).where(not_(SEGMENTS.c.final), SEGMENTS.c.id <= ERASURES.c.last_segment)
    facts = [ERASURES.c[name] for name in ("at_ns", "who", "reason", "decisions", "outcomes")]
    waiting = wait.correlate(ERASURES).scalar_subquery().label("waiting")
    done = ERASURES.c.done_ns.is_not(None).label("done")
    wanted = select(ERASURES.c.id.label("number"), *facts, waiting, done).order_by(ERASURES.c.id)
    with database.reading() as connection:
        return [Erasure(**found._mapping) for found in connection.execute(wanted)]


def _facts(number: int, entity: bytes, at_ns: int) -> dict[str, Any]:
    """What is signed: the entity cannot be told from it by who does not know it, nor the row be another's."""
    return {"erasure": number, "request": hashlib.sha256(entity + at_ns.to_bytes(8, "big")).hexdigest()}
