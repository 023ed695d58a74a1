"""The ledger: every action on a model's versions, numbered without a gap. What it says is what answers.

An append names the number it has seen last. Of several who saw the same one is written; the others read again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select, text

from scoreline.core.errors import LedgerMoved
from scoreline.core.manifest import canonical_json
from scoreline.records.database import Database
from scoreline.records.rollout_tables import LEDGER

STAYING: Final = ("hold", "resume", "pause", "approve", "shadow", "end_shadow")  # after these the same versions answer
_APPEND: Final = text(
    "INSERT INTO ledger (model, seq, at_ns, action, who, why, stage, evidence) "
    "SELECT CAST(:model AS TEXT), CAST(:seq AS BIGINT), CAST(:at_ns AS BIGINT), :action, :who, :why, :stage, :evidence "
    "WHERE (SELECT COALESCE(MAX(seq), 0) FROM ledger WHERE model = :model) = :seen ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One action: who did it, when and why, on what evidence, and the stage it left the model in."""

    model: str
    seq: int
    at_ns: int
    action: str
    who: str
    why: str
    stage: Mapping[str, Any]
    evidence: Mapping[str, Any]


def append(database: Database, entry: Entry) -> None:
    """Writes an entry behind the one before its number, and outlives the machine; raises LedgerMoved, DatabaseDown."""
    values = {
        "model": entry.model,
        "seq": entry.seq,
        "seen": entry.seq - 1,
        "at_ns": entry.at_ns,
        "action": entry.action,
        "who": entry.who,
        "why": entry.why,
        "stage": canonical_json(entry.stage).decode(),
        "evidence": canonical_json(entry.evidence).decode(),
    }
    with database.writing(durable=True) as connection:
        if connection.execute(_APPEND, values).rowcount != 1:
            raise LedgerMoved(f"someone else acted on {entry.model} meanwhile: look at its state, then act again")


def heads(database: Database) -> dict[str, int]:
    """The last number of each model; asked often, so it reads the index only."""
    with database.reading() as connection:
        found = connection.execute(select(LEDGER.c.model, func.max(LEDGER.c.seq).label("seq")).group_by(LEDGER.c.model))
        return {row.model: row.seq for row in found}


def last(database: Database, model: str) -> Entry | None:
    """The newest entry of a model; None where nobody has acted on it yet."""
    found = history(database, model, 1)
    return found[0] if found else None


def history(database: Database, model: str, limit: int) -> Sequence[Entry]:
    """The newest entries of a model, the newest first."""
    newest = select(LEDGER).where(LEDGER.c.model == model).order_by(LEDGER.c.seq.desc()).limit(limit)
    with database.reading() as connection:
        return [_entry(row) for row in connection.execute(newest)]


def moves_since(database: Database, model: str, time_ns: int) -> Sequence[Entry]:
    """The entries of a model since a time that changed who answers, and the one before those; the newest first."""
    moves = LEDGER.c.model == model, LEDGER.c.action.not_in(STAYING)
    before = select(func.max(LEDGER.c.seq)).where(*moves, LEDGER.c.at_ns < time_ns).scalar_subquery()
    newest = select(LEDGER).where(*moves, LEDGER.c.seq >= func.coalesce(before, 0)).order_by(LEDGER.c.seq.desc())
    with database.reading() as connection:
        return [_entry(row) for row in connection.execute(newest)]


def following(database: Database, model: str, seq: int, limit: int) -> Sequence[Entry]:
    """The entries of a model behind a number, the oldest first."""
    behind = select(LEDGER).where(LEDGER.c.model == model, LEDGER.c.seq > seq).order_by(LEDGER.c.seq).limit(limit)
    with database.reading() as connection:
        return [_entry(row) for row in connection.execute(behind)]


def entry_at(database: Database, model: str, seq: int) -> Entry | None:
    """The entry with a number."""
    one = select(LEDGER).where(LEDGER.c.model == model, LEDGER.c.seq == seq)
    with database.reading() as connection:
        row = connection.execute(one).one_or_none()
    return _entry(row) if row else None


def _entry(row: Any) -> Entry:
    model, seq, at_ns, action, who, why, stage, evidence = row
    return Entry(model, seq, at_ns, action, who, why, json.loads(stage), json.loads(evidence))
