"""What a shipped piece says of a rollout, counted in the transaction that ships it: so exactly once, as decisions are.

A window is a piece of one segment: decisions that follow one another in one worker. It never changes afterwards.

- An entity counts once in a rollout and kind of event, at its first event, over all hosts, steps and both arms. Its arm
  was drawn with the share of the step, whatever the entity does: that is what the evidence rests on.
- A request that names no entity is a unit of its own, and windows of such hold the realised split instead of a share.
- Rows that took a default because a feature was missing, and roles other than champion and canary, never count.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select, text

from scoreline.core.decision import Author
from scoreline.core.ids import ROW_BITS
from scoreline.records.database import Database
from scoreline.records.ledger import entry_at
from scoreline.records.pieces import Piece
from scoreline.records.rollout_tables import UNITS, WINDOWS
from scoreline.records.rows import first_score

ERRORS: Final = "errors"
OVERRUNS: Final = "overruns"
SLOW: Final = "slow"
SCORES: Final = "scores"
KINDS: Final = (ERRORS, OVERRUNS, SLOW, SCORES)
SEEN: Final = "seen"  # among the kinds of `units`: whom a canary has answered
TAIL: Final = 2000  # windows that may still come with a lower id: transactions end in another order than they begin
_CANARY: Final = "canary"
_CHAMPION: Final = "champion"
_OVERRAN: Final = "overran"
_DIED: Final = "died"
_ENTITY_AT, _MODEL_NS_AT, _DEGRADED_AT, _SCORES_AT = 2, 12, 11, 8
_FIRST: Final = text(
    "INSERT INTO units (model, rollout, kind, unit) VALUES (:model, :rollout, :kind, :unit) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Watched:
    """A step of a rollout, and what counts as an event in it. `slow_ns` 0, `high_score` None: such are not counted."""

    rollout: int
    share: float
    over_ns: int
    slow_ns: int
    high_score: float | None


class Window(NamedTuple):
    """Counts of one piece: units (n), and those with their first event of a kind (k), of canary (c) and baseline (b).

    `share` is None where units are requests; `x_c` are units of the canary seen for the first time.
    """

    id: int
    epoch: int
    kind: str
    share: float | None
    at_ns: int
    n_c: int
    n_b: int
    k_c: int
    k_b: int
    x_c: int
    deaths_c: int
    deaths_b: int


@dataclass(slots=True)
class _Arm:
    """What a piece says of one arm: its units, and those with an event, by kind."""

    entities: set[bytes] = field(default_factory=set)
    requests: set[bytes] = field(default_factory=set)
    by_entity: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    by_request: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    deaths: int = 0

    def add(self, entity: bytes, request: bytes, events: Iterable[str]) -> None:
        units, by = (self.entities, self.by_entity) if entity else (self.requests, self.by_request)
        unit = entity or request
        units.add(unit)
        for kind in events:
            by[kind].add(unit)


Step = tuple[str, int]  # a model and an epoch


class Counting:
    """Counts pieces for the rollouts of one database. `over_ns`: a model's share of the latency budget."""

    def __init__(self, database: Database, over_ns: int) -> None:
        self._database = database
        self._over_ns = over_ns
        self.watched = lru_cache(maxsize=256)(self._look_up)

    def count(self, connection: Connection, piece: Piece, now_ns: int) -> None:
        """Adds the windows of a piece, in the transaction that ships it."""
        steps = {place: step for place, author in piece.authors.items() if (step := self._step(author))}
        if not steps:
            return
        found: dict[Step, dict[str, _Arm]] = defaultdict(lambda: {_CANARY: _Arm(), _CHAMPION: _Arm()})
        _add_decisions(piece, steps, found)
        _add_failures(piece, steps, found)
        for (model, epoch), arms in sorted(found.items()):
            watched = self.watched(model, epoch)
            if watched:
                _write(connection, model, epoch, watched, arms, now_ns)

    def _step(self, author: Author) -> tuple[Step, str, Watched] | None:
        """The step that an author's decisions belong to; None where they count for nothing."""
        if author.role not in (_CANARY, _CHAMPION) or not author.epoch:
            return None
        watched = self.watched(author.model, author.epoch)
        return ((author.model, author.epoch), author.role, watched) if watched else None

    def _look_up(self, model: str, epoch: int) -> Watched | None:
        """The step that began with an entry of the ledger; None where there was no canary in it."""
        entry = entry_at(self._database, model, epoch)
        stage = entry.stage if entry else {}
        if not stage.get("canary") or not stage["share"] > 0:
            return None
        return Watched(stage["rollout"], stage["share"], self._over_ns, stage["slow_ns"], stage["high_score"])


def _add_decisions(
    piece: Piece, steps: dict[int, tuple[Step, str, Watched]], found: dict[Step, dict[str, _Arm]]
) -> None:
    for place, row in zip(piece.by, piece.rows, strict=True):
        if place not in steps or row[_DEGRADED_AT]:
            continue
        step, role, watched = steps[place]
        model_ns, events = row[_MODEL_NS_AT], []
        if model_ns > watched.over_ns:
            events.append(OVERRUNS)
        if watched.slow_ns and model_ns > watched.slow_ns:
            events.append(SLOW)
        if watched.high_score is not None and first_score(row[_SCORES_AT]) > watched.high_score:
            events.append(SCORES)
        found[step][role].add(row[_ENTITY_AT], _request(row[0]), events)


def _add_failures(
    piece: Piece, steps: dict[int, tuple[Step, str, Watched]], found: dict[Step, dict[str, _Arm]]
) -> None:
    for place, base, _, kind, entities in piece.failed:
        if place not in steps:
            continue
        step, role, watched = steps[place]
        arm, events = found[step][role], [ERRORS]
        if kind == _OVERRAN:
            events = [OVERRUNS, SLOW] if watched.slow_ns else [OVERRUNS]
        arm.deaths += kind == _DIED
        for entity in entities or [b""]:
            arm.add(entity, _request(base), events)


def _write(
    connection: Connection, model: str, epoch: int, watched: Watched, arms: dict[str, _Arm], now_ns: int
) -> None:
    canary, champion = arms[_CANARY], arms[_CHAMPION]
    named: dict[str, Any] = {"model": model, "rollout": watched.rollout, "epoch": epoch, "at_ns": now_ns}
    rows = []
    if canary.entities or champion.entities:
        x_c = len(_first(connection, model, watched.rollout, SEEN, canary.entities))
        for kind in KINDS:
            with_event = canary.by_entity[kind] | champion.by_entity[kind]
            first = _first(connection, model, watched.rollout, kind, with_event)
            k = len(first & canary.by_entity[kind]), len(first - canary.by_entity[kind])
            counts = _counts(len(canary.entities), len(champion.entities), k, x_c)
            if kind == ERRORS or any(k):
                rows.append({**named, "kind": kind, "share": watched.share, **counts})
    if canary.requests or champion.requests:
        for kind in KINDS:
            k = len(canary.by_request[kind]), len(champion.by_request[kind])
            counts = _counts(len(canary.requests), len(champion.requests), k, len(canary.requests))
            if kind == ERRORS or any(k):
                rows.append({**named, "kind": kind, "share": None, **counts})
    if rows:  # deaths stand in the first row only
        rows[0] |= {"deaths_c": canary.deaths, "deaths_b": champion.deaths}
        connection.execute(insert(WINDOWS), rows)


def _counts(n_c: int, n_b: int, k: tuple[int, int], x_c: int) -> dict[str, int]:
    return {"n_c": n_c, "n_b": n_b, "k_c": k[0], "k_b": k[1], "x_c": x_c, "deaths_c": 0, "deaths_b": 0}


def _first(connection: Connection, model: str, rollout: int, kind: str, units: set[bytes]) -> set[bytes]:
    """Those units that were not there yet; they are now. In one order everywhere, so nobody waits in a circle."""
    named = {"model": model, "rollout": rollout, "kind": kind}
    return {unit for unit in sorted(units) if connection.execute(_FIRST, {**named, "unit": unit}).rowcount == 1}


def _request(id_: bytes) -> bytes:
    """A request's own part of the id of a row."""
    return (int.from_bytes(id_, "big") >> ROW_BITS).to_bytes(16, "big")


def windows_since(database: Database, model: str, rollout: int, after: int = 0) -> Sequence[Window]:
    """The windows of a rollout with ids above a number; the caller knows which of the last TAIL it has had."""
    columns = [WINDOWS.c[name] for name in Window._fields]
    wanted = (WINDOWS.c.model == model, WINDOWS.c.rollout == rollout, WINDOWS.c.id > after)
    with database.reading() as connection:
        return [Window(*row) for row in connection.execute(select(*columns).where(*wanted).order_by(WINDOWS.c.id))]


def forget_rollout(connection: Connection, model: str, rollout: int) -> None:
    """Forgets which units a rollout that is over has counted; its windows stay, they name nobody."""
    connection.execute(delete(UNITS).where(UNITS.c.model == model, UNITS.c.rollout == rollout))


def rollouts_with_units(connection: Connection) -> list[tuple[str, int]]:
    found = select(UNITS.c.model, UNITS.c.rollout).distinct()
    return [(model, rollout) for model, rollout in connection.execute(found)]
