"""What a shipped piece says of a rollout, counted in the transaction that ships it: so exactly once, as decisions are.

A window is a piece of one segment: decisions that follow one another in one worker. It never changes afterwards.

- An entity counts once in a rollout and kind of event, at its first event, over all hosts, steps and both arms. Its arm
  was drawn with the share of the step, whatever the entity does: that is what the evidence rests on.
- A request that names no entity is a unit of its own: its arm is drawn anew.
- Rows that took a default because a feature was missing, and roles other than champion and canary, never count.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, TextClause, delete, insert, select, text

from scoreline.core.decision import Author
from scoreline.core.ids import ROW_BITS
from scoreline.records.database import Database
from scoreline.records.ledger import entry_at, history
from scoreline.records.pieces import Piece
from scoreline.records.rollout_tables import UNITS, WINDOWS
from scoreline.records.rows import first_score

ERRORS: Final = "errors"
OVERRUNS: Final = "overruns"
SLOW: Final = "slow"
SCORES: Final = "scores"
KINDS: Final = (ERRORS, OVERRUNS, SLOW, SCORES)
SEEN: Final = "seen"  # a kind of `units`, as is every epoch
TAIL: Final = 2000  # windows that may still come with a lower id: transactions end in another order than they begin
_CANARY: Final = "canary"
_CHAMPION: Final = "champion"
_OVERRAN: Final = "overran"
_DIED: Final = "died"
_DEGRADED: Final = "degraded"
_ENTITY_AT, _MODEL_NS_AT, _DEGRADED_AT, _SCORES_AT = 2, 12, 11, 8
KEPT_NS: Final = 30 * 86_400_000_000_000
ENTRIES: Final = 10_000
_AT_ONCE: Final = 200


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

    Sticky units are entities, others requests; `share` is what arms were drawn with. `late` of k were first seen in an
    earlier window; `new_c` are units that the canary saw first in the rollout, `step_c` those it answers for the first
    time in this step.
    """

    id: int
    epoch: int
    kind: str
    share: float
    sticky: bool
    at_ns: int
    n_c: int
    n_b: int
    k_c: int
    k_b: int
    late_c: int
    late_b: int
    new_c: int
    step_c: int
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
        if place not in steps or kind == _DEGRADED:
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
    named |= {"share": watched.share}
    rows = [*_of_entities(connection, named, canary, champion), *_of_requests(named, canary, champion)]
    if rows:  # deaths stand in the first row only
        rows[0] |= {"deaths_c": canary.deaths, "deaths_b": champion.deaths}
        connection.execute(insert(WINDOWS), rows)


def _of_entities(
    connection: Connection, named: dict[str, Any], canary: _Arm, champion: _Arm
) -> Iterator[dict[str, Any]]:
    """A row of each kind that has events, and of errors anyway. Who is in both arms counts as the canary's."""
    everyone = canary.entities | champion.entities
    if not everyone:
        return
    new = _first(connection, named, SEEN, everyone)
    step_c = len(_first(connection, named, str(named["epoch"]), canary.entities))
    for kind in KINDS:
        theirs = canary.by_entity[kind]
        first = _first(connection, named, kind, theirs | champion.by_entity[kind])
        if kind == ERRORS or first:
            counts = _counts(len(canary.entities), len(champion.entities), first & theirs, first - theirs, new)
            yield {**named, "kind": kind, "sticky": True, **counts} | (
                {"new_c": len(new & canary.entities), "step_c": step_c} if kind == ERRORS else {}
            )


def _of_requests(named: dict[str, Any], canary: _Arm, champion: _Arm) -> Iterator[dict[str, Any]]:
    """The same of requests that name nobody: each is new."""
    if not (canary.requests or champion.requests):
        return
    n_c, n_b = len(canary.requests), len(champion.requests)
    for kind in KINDS:
        theirs, others = canary.by_request[kind], champion.by_request[kind]
        if kind == ERRORS or theirs or others:
            counts = _counts(n_c, n_b, theirs, others, theirs | others)
            yield {**named, "kind": kind, "sticky": False, **counts} | (
                {"new_c": n_c, "step_c": n_c} if kind == ERRORS else {}
            )


def _counts(n_c: int, n_b: int, first_c: set[bytes], first_b: set[bytes], new: set[bytes]) -> dict[str, int]:
    late_c, late_b = len(first_c - new), len(first_b - new)
    found = {"n_c": n_c, "n_b": n_b, "k_c": len(first_c), "k_b": len(first_b), "late_c": late_c, "late_b": late_b}
    return found | {"new_c": 0, "step_c": 0, "deaths_c": 0, "deaths_b": 0}


def _first(connection: Connection, named: dict[str, Any], kind: str, units: set[bytes]) -> set[bytes]:
    """Those units that were not there yet; they are now. In one order everywhere, so nobody waits in a circle."""
    found, left = set[bytes](), iter(sorted(units))
    of = {"model": named["model"], "rollout": named["rollout"], "kind": kind}
    while piece := list(islice(left, _AT_ONCE)):
        values = {f"unit_{place}": unit for place, unit in enumerate(piece)}
        found.update(bytes(unit) for (unit,) in connection.execute(_insert_units(len(piece)), of | values))
    return found


@lru_cache(maxsize=_AT_ONCE)
def _insert_units(n: int) -> TextClause:
    rows = ", ".join(f"(:model, :rollout, :kind, :unit_{place})" for place in range(n))
    return text(f"INSERT INTO units (model, rollout, kind, unit) VALUES {rows} ON CONFLICT DO NOTHING RETURNING unit")


def _request(id_: bytes) -> bytes:
    """A request's own part of the id of a row."""
    return (int.from_bytes(id_, "big") >> ROW_BITS).to_bytes(16, "big")


def windows_since(database: Database, model: str, rollout: int, after: int = 0) -> Sequence[Window]:
    """The windows of a rollout with ids above a number; the caller knows which of the last TAIL it has had."""
    columns = [WINDOWS.c[name] for name in Window._fields]
    wanted = (WINDOWS.c.model == model, WINDOWS.c.rollout == rollout, WINDOWS.c.id > after)
    with database.reading() as connection:
        return [Window(*row) for row in connection.execute(select(*columns).where(*wanted).order_by(WINDOWS.c.id))]


def forget_units(database: Database, now_ns: int) -> None:
    """Forgets whom rollouts have counted that ended 30 days ago; their windows stay, which name nobody.

    Raises DatabaseDown or DatabaseRefused.
    """
    with database.reading() as connection:
        found = connection.execute(select(UNITS.c.model, UNITS.c.rollout).distinct()).all()
    for model, rollout in found:
        ended_ns = _ended_ns(database, model, rollout)
        if ended_ns is not None and ended_ns + KEPT_NS <= now_ns:
            with database.writing() as connection:
                connection.execute(delete(UNITS).where(UNITS.c.model == model, UNITS.c.rollout == rollout))


def _ended_ns(database: Database, model: str, rollout: int) -> int | None:
    """When a rollout ended; None while it goes on."""
    ended_ns = None
    for entry in history(database, model, ENTRIES):
        if entry.seq <= rollout or entry.stage.get("rollout") == rollout:
            return ended_ns
        ended_ns = entry.at_ns
    return ended_ns
