"""What a shipped piece says of a rollout, counted in the transaction that ships it: so exactly once, as decisions are.

Counts are sums over the pieces of one writer in one step of a rollout: they are as few as workers, however long a
canary lasts, and no two hosts wait for one another's.

- An entity counts once in a rollout and kind of event, at its first event, over all hosts, steps and both arms. Its arm
  was drawn with the share of the step, whatever the entity does: that is what the evidence rests on.
- A request that names no entity is a unit of its own: its arm is drawn anew.
- Where no other arm is beside it (a share of 1) a unit counts when it is first seen in the step: `step_c`, `sight_c`.
- A champion's request that took so long that a canary's worker would have been ended for it counts as its death does.
- Rows that took a default because a feature was missing, and roles other than champion and canary, never count.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, TextClause, func, select, text

from scoreline.core.decision import Author
from scoreline.core.ids import ROW_BITS
from scoreline.core.marks import Patience
from scoreline.records.database import Database
from scoreline.records.ledger import entry_at
from scoreline.records.pieces import Piece
from scoreline.records.rollout_tables import COUNTS
from scoreline.records.rows import first_score

ERRORS: Final = "errors"
OVERRUNS: Final = "overruns"
SLOW: Final = "slow"
SCORES: Final = "scores"
DEATHS: Final = "deaths"
KINDS: Final = (ERRORS, OVERRUNS, SLOW, SCORES, DEATHS)
SEEN: Final = "seen"  # a kind of `units`, as is every step
_CANARY: Final = "canary"
_CHAMPION: Final = "champion"
_OVERRAN: Final = "overran"
_DIED: Final = "died"
_DEGRADED: Final = "degraded"
_ENTITY_AT, _MODEL_NS_AT, _DEGRADED_AT, _SCORES_AT = 2, 12, 11, 8
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Watched:
    """A step of a rollout, and what counts as an event in it. `slow_ns` 0, `high_score` None: such are not counted.

    `step` is the entry of the ledger that the step began with.
    """

    rollout: int
    step: int
    share: float
    slow_ns: int
    high_score: float | None


class Counts(NamedTuple):
    """Units of a step with their first event of a kind (k), of canary (c) and baseline (b); `share`: as drawn with.

    `late` of k were first seen in an earlier piece; `new` are units first seen in the rollout, `step_c` those that the
    canary answers for the first time in this step; `canary_ns` is when it last answered any. These and deaths (of
    workers, however often of the same unit) stand beside the kind `errors` only. `sight_c` are those of `step_c` that
    had an event when they were first seen in the step, be it their first or not.
    """

    step: int
    kind: str
    share: float
    canary_ns: int
    k_c: int
    k_b: int
    late_c: int
    late_b: int
    new_c: int
    new_b: int
    step_c: int
    deaths_c: int
    deaths_b: int
    sight_c: int


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
    """Counts pieces for the rollouts of one database.

    `over_ns`: a model's share of the latency budget, by its name. `patience`: when a canary's worker is ended.
    """

    def __init__(self, database: Database, over_ns: Callable[[str], int], patience: Patience) -> None:
        self._database = database
        self._over_ns = over_ns
        self._patience = patience
        self.watched = lru_cache(maxsize=256)(self._look_up)

    def count(self, connection: Connection, piece: Piece, writer: str, now_ns: int) -> None:
        """Adds the counts of a piece of a writer's segment, in the transaction that ships it."""
        steps = {place: step for place, author in piece.authors.items() if (step := self._step(author))}
        if not steps:
            return
        found: dict[Step, dict[str, _Arm]] = defaultdict(lambda: {_CANARY: _Arm(), _CHAMPION: _Arm()})
        self._add_decisions(piece, steps, found)
        _add_failures(piece, steps, found)
        for (model, epoch), arms in sorted(found.items()):
            watched = self.watched(model, epoch)
            if watched:
                _add(connection, model, writer, watched, arms, now_ns)

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
        return Watched(stage["rollout"], stage["stepped"], stage["share"], stage["slow_ns"], stage["high_score"])

    def _add_decisions(
        self, piece: Piece, steps: dict[int, tuple[Step, str, Watched]], found: dict[Step, dict[str, _Arm]]
    ) -> None:
        hung = self._hung(piece)
        for place, row in zip(piece.by, piece.rows, strict=True):
            if place not in steps or row[_DEGRADED_AT]:
                continue
            step, role, watched = steps[place]
            request, model_ns, events = _request(row[0]), row[_MODEL_NS_AT], []
            if model_ns > self._over_ns(step[0]):
                events.append(OVERRUNS)
            if watched.slow_ns and model_ns > watched.slow_ns:
                events.append(SLOW)
            if watched.high_score is not None and first_score(row[_SCORES_AT]) > watched.high_score:
                events.append(SCORES)
            if request in hung and role == _CHAMPION:
                events += [ERRORS, DEATHS]
            found[step][role].add(row[_ENTITY_AT], request, events)

    def _hung(self, piece: Piece) -> set[bytes]:
        """Requests that took longer than a canary is given for so many rows."""
        limit_ns, least_ns = self._patience.limit_ns, self._patience.limit_ns(1)
        long = [(_request(row[0]), row[_MODEL_NS_AT]) for row in piece.rows if row[_MODEL_NS_AT] > least_ns]
        n_rows = Counter(request for request, _ in long)
        return {request for request, model_ns in long if model_ns > limit_ns(n_rows[request])}


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
        elif kind == _DIED:
            events.append(DEATHS)
        arm.deaths += kind == _DIED
        for entity in entities or [b""]:
            arm.add(entity, _request(base), events)


def _add(connection: Connection, model: str, writer: str, watched: Watched, arms: dict[str, _Arm], now_ns: int) -> None:
    canary, champion = arms[_CANARY], arms[_CHAMPION]
    named: dict[str, Any] = {"model": model, "rollout": watched.rollout, "step": watched.step, "writer": writer}
    named |= {"share": watched.share}
    rows = [*_of_entities(connection, named, canary, champion), *_of_requests(named, canary, champion)]
    if rows:  # deaths stand in the first row only
        rows[0] |= {"deaths_c": canary.deaths, "deaths_b": champion.deaths}
        answered = canary.entities or canary.requests
        connection.execute(_ADD, [{**row, "canary_ns": now_ns if answered else 0} for row in rows])


def _of_entities(
    connection: Connection, named: dict[str, Any], canary: _Arm, champion: _Arm
) -> Iterator[dict[str, Any]]:
    """A row of each kind that has events, and of errors anyway. Who is in both arms counts as the canary's."""
    everyone = canary.entities | champion.entities
    if not everyone:
        return
    new = _first(connection, named, SEEN, everyone)
    met = _first(connection, named, str(named["step"]), canary.entities)
    seen = {"new_c": len(new & canary.entities), "new_b": len(new - canary.entities), "step_c": len(met)}
    for kind in KINDS:
        theirs = canary.by_entity[kind]
        first = _first(connection, named, kind, theirs | champion.by_entity[kind])
        if kind == ERRORS or first or theirs & met:
            counts = _counts(first & theirs, first - theirs, new) | {"sight_c": len(theirs & met)}
            yield {**named, "kind": kind, **counts} | (seen if kind == ERRORS else {})


def _of_requests(named: dict[str, Any], canary: _Arm, champion: _Arm) -> Iterator[dict[str, Any]]:
    """The same of requests that name nobody: each is new."""
    if not (canary.requests or champion.requests):
        return
    n_c, n_b = len(canary.requests), len(champion.requests)
    for kind in KINDS:
        theirs, others = canary.by_request[kind], champion.by_request[kind]
        if kind == ERRORS or theirs or others:
            counts = _counts(theirs, others, theirs | others) | {"sight_c": len(theirs)}
            yield {**named, "kind": kind, **counts} | (
                {"new_c": n_c, "new_b": n_b, "step_c": n_c} if kind == ERRORS else {}
            )


def _counts(first_c: set[bytes], first_b: set[bytes], new: set[bytes]) -> dict[str, int]:
    found = {"k_c": len(first_c), "k_b": len(first_b), "late_c": len(first_c - new), "late_b": len(first_b - new)}
    return found | dict.fromkeys(("new_c", "new_b", "step_c", "deaths_c", "deaths_b"), 0)


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


def counts_of(database: Database, model: str, rollout: int) -> Sequence[Counts]:
    """What was counted of a rollout so far, over all writers: a row of each kind in each step."""
    keys = [COUNTS.c[name] for name in ("step", "kind", "share")]
    sums = [func.sum(COUNTS.c[name]) for name in _SUMS]
    wanted = select(*keys, func.max(COUNTS.c.canary_ns), *sums).where(
        COUNTS.c.model == model, COUNTS.c.rollout == rollout
    )
    with database.reading() as connection:
        rows = connection.execute(wanted.group_by(*keys).order_by(*keys)).all()
    return [Counts(step, kind, share, *map(int, numbers)) for step, kind, share, *numbers in rows]


_SUMS: Final = Counts._fields[4:]
_KEYS: Final = ("model", "rollout", "step", "kind", "share", "writer")
_ADD: Final = text(
    f"INSERT INTO counts ({', '.join((*_KEYS, 'canary_ns', *_SUMS))}) "
    f"VALUES ({', '.join(f':{name}' for name in (*_KEYS, 'canary_ns', *_SUMS))}) "
    f"ON CONFLICT ({', '.join(name for name in _KEYS if name != 'share')}) DO UPDATE SET "
    + ", ".join(f"{name} = counts.{name} + excluded.{name}" for name in _SUMS)
    + ", canary_ns = CASE WHEN excluded.canary_ns > counts.canary_ns THEN excluded.canary_ns ELSE counts.canary_ns END"
)
