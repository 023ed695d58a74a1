"""What shipping counts of a rollout equals a plain count over the same decisions, however they come to be shipped."""

import random
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shipping import NOON_NS, decided, opened, ship_all

from scoreline.core.decision import Author, Decisions
from scoreline.core.marks import Patience
from scoreline.records import segments
from scoreline.records.counting import KINDS, Counting, Counts, counts_of
from scoreline.records.database import Database, open_database
from scoreline.records.frames import frame_failed
from scoreline.records.ledger import Entry, append
from scoreline.records.ship import Shipper
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of

OVER_NS, SLOW_NS, HIGH = 140_000_000, 3_000_000, 0.8
PATIENCE = Patience(1_000_000_000, OVER_NS)
ROLLOUT, STEPS = 2, {2: 0.1, 3: 0.5}
ROLES = ("champion", "canary", "canary_failed", "mixed", "pinned")
KINDS_OF = {
    "raised": {"errors"},
    "not_finite": {"errors"},
    "died": {"errors", "deaths"},
    "overran": {"overruns", "slow"},
}
UNCOUNTED = "degraded"
Item = tuple[Author, bytes, dict[str, Any]]  # of a request: by whom, about whom, and what came of it


class Writer(SpoolWriter):
    def failed(self, author: Author, base: int, time_ns: int, kind: str, entities: list[bytes]) -> None:
        self._ready(time_ns)
        self._append(frame_failed(self._index(author), base, time_ns, kind, entities))


def by(database: Database) -> list[Counting]:
    return [Counting(database, lambda _: OVER_NS, PATIENCE)]


def begun(database: Database) -> None:
    """A ledger: a champion, then a canary at two steps."""
    for seq in (1, *STEPS):
        stage = {"rollout": ROLLOUT, "stepped": seq, "share": STEPS.get(seq, 0.0)}
        stage |= {"slow_ns": SLOW_NS, "high_score": HIGH}
        canary = {"version": "2"} if seq in STEPS else None
        append(database, Entry("fraud", seq, NOON_NS, "step", "ada", "", {**stage, "canary": canary}, {}))


def some_items(rng: random.Random, n: int, *, entities: int) -> list[Item]:
    """Requests of a few entities, each in its arm, and some that name none."""
    authors = {(role, epoch): author_of(role=role, epoch=epoch) for role in ROLES for epoch in (1, 2, 3, 7)}
    arm = {number: rng.choice(("champion", "canary")) for number in range(entities)}
    found: list[Item] = []
    for _ in range(n):
        number = rng.randrange(entities + entities // 3)
        entity = b"" if number >= entities else number.to_bytes(16, "big")
        role = rng.choice(ROLES) if rng.random() < 0.2 else arm.get(number, rng.choice(("champion", "canary")))
        facts: dict[str, Any] = {"model_ns": rng.choice((1000, 1000, SLOW_NS + 1, OVER_NS + 1))}
        facts |= {"score": rng.choice((0.1, 0.5, 0.9)), "degraded": {0: (1,)} if rng.random() < 0.1 else {}}
        if role in ("champion", "canary") and rng.random() < 0.3:
            facts = {"failed": rng.choice([*KINDS_OF, UNCOUNTED])}
        found.append((authors[role, rng.choice((1, 2, 2, 3, 3, 7))], entity, facts))
    return found


def write(writer: Writer, item: Item) -> None:
    author, entity, facts = item
    found: Decisions = decided(1, NOON_NS, author, entities=[entity] if entity else ())
    if "failed" in facts:
        writer.failed(author, found.base, NOON_NS, facts["failed"], [entity] if entity else [])
    else:
        score = np.full((1, 1), facts["score"])
        writer.write(replace(found, scores=score, model_ns=facts["model_ns"], degraded=facts["degraded"]))


def events_of(facts: dict[str, Any]) -> set[str]:
    if "failed" in facts:
        return KINDS_OF[facts["failed"]]
    found = {"overruns"} if facts["model_ns"] > OVER_NS else set()
    found |= {"slow"} if facts["model_ns"] > SLOW_NS else set()
    return found | ({"scores"} if facts["score"] > HIGH else set())


def counted(items: list[Item]) -> dict[str, Any]:
    """The plain count, where which of an entity's arms and steps has its first event does not matter."""
    found: dict[str, Any] = defaultdict(int)
    evented: dict[str, set[bytes]] = defaultdict(set)
    entities, in_step = set[bytes](), set[tuple[int, bytes]]()
    for author, entity, facts in items:
        if author.role not in ("champion", "canary") or author.epoch not in STEPS or facts.get("degraded"):
            continue
        if facts.get("failed") == UNCOUNTED:
            continue
        arm = author.role[1:2]  # h, a
        found[f"died {arm}"] += facts.get("failed") == "died"
        if not entity:
            found["units"] += 1
            found["in step"] += arm == "a"
            for kind in events_of(facts):
                found[kind] += 1
            continue
        entities.add(entity)
        if arm == "a":
            in_step.add((author.epoch, entity))
        for kind in events_of(facts):
            evented[kind].add(entity)
    for kind, units in evented.items():
        found[kind] += len(units)
    found["units"] += len(entities)
    found["in step"] += len(in_step)
    return {name: value for name, value in found.items() if value}


def summed(found: Sequence[Counts]) -> dict[str, Any]:
    """What was counted, as far as a plain count says the same."""
    sums: dict[str, Any] = defaultdict(int)
    for counts in found:
        assert counts.share == STEPS[counts.step]
        assert counts.late_c <= counts.k_c and counts.late_b <= counts.k_b
        sums["died a"] += counts.deaths_c
        sums["died h"] += counts.deaths_b
        sums["units"] += counts.new_c + counts.new_b
        sums["in step"] += counts.step_c
        sums[counts.kind] += counts.k_c + counts.k_b
    return {name: value for name, value in sums.items() if value}


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_a_plain_count_for_any_hosts_pieces_and_repetitions(
    database_url: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(segments, "READ_BYTES", rng.choice((2000, 20_000, 1 << 20)))
    items = some_items(rng, 600, entities=60)
    with opened(database_url) as database, tempfile.TemporaryDirectory() as name:
        begun(database)
        spools = [Path(name) / str(host) for host in range(3)]
        writers = [Writer(spool, rng.choice((4096, 1 << 20))) for spool in spools]
        shippers = [Shipper(spool, database, "h", counting=by(database)) for spool in spools]
        for item in items:
            write(rng.choice(writers), item)
            if rng.random() < 0.02:
                rng.choice(shippers).ship()
        for writer in writers:
            writer.close()
        with closing(open_database(database_url, Path(name))) as other:  # another that ships the same
            ship_all(Shipper(spools[0], other, "again", counting=by(other)))
        for shipper in shippers:
            ship_all(shipper)
        found = counts_of(database, "fraud", ROLLOUT)
    assert summed(found) == counted(items)
    assert sorted((counts.step, counts.kind) for counts in found) == sorted(product(STEPS, KINDS)), "as few as that"


def test_what_a_transaction_takes_back_is_not_counted(database_url: str, tmp_path: Path) -> None:
    with opened(database_url) as database:
        begun(database)
        writer, counting = Writer(tmp_path, 1 << 20), Counting(database, lambda _: OVER_NS, PATIENCE)
        write(writer, (author_of(role="canary", epoch=2), b"e" * 16, {"failed": "raised"}))
        writer.close()

        class Failing(Counting):
            def count(self, *args: Any) -> None:
                super().count(*args)
                raise RuntimeError("the steward dies here")

        with pytest.raises(RuntimeError):
            Shipper(tmp_path, database, "h", counting=[Failing(database, lambda _: OVER_NS, PATIENCE)]).ship()
        assert counts_of(database, "fraud", ROLLOUT) == []
        ship_all(Shipper(tmp_path, database, "h", counting=[counting]))
        (counts,) = counts_of(database, "fraud", ROLLOUT)
        assert (counts.kind, counts.k_c, counts.late_c, counts.new_c, counts.step_c) == ("errors", 1, 0, 1, 1)
        assert (counts.new_b, counts.sight_c) == (0, 1)


def test_in_a_new_step_an_entity_counts_once_more_when_it_is_first_seen_there(
    database_url: str, tmp_path: Path
) -> None:
    canary = {epoch: author_of(role="canary", epoch=epoch) for epoch in STEPS}
    champion, fine = author_of(epoch=2), {"score": 0.1, "model_ns": 1, "degraded": ()}
    bad, good = {"failed": "raised"}, fine
    made = [(canary[2], bad), (canary[2], bad), (canary[3], bad), (canary[3], bad), (canary[3], good)]
    items = [(author, b"b" * 16, facts) for author, facts in made]
    items += [(canary[3], b"g" * 16, good), (canary[3], b"g" * 16, bad)]
    items += [(champion, b"c" * 16, good), (champion, b"d" * 16, bad)]
    with opened(database_url) as database:
        begun(database)
        for number, item in enumerate(items):  # each in a piece of its own
            writer = Writer(tmp_path / str(number), 1 << 20)
            write(writer, item)
            writer.close()
            ship_all(Shipper(tmp_path / str(number), database, "h", counting=by(database)))
        first, second = (one for one in counts_of(database, "fraud", ROLLOUT) if one.kind == "errors")
    assert (first.k_c, first.step_c, first.sight_c) == (1, 1, 1)
    assert (first.new_b, first.k_b, first.late_b) == (2, 1, 0)
    assert (second.k_c, second.step_c, second.sight_c) == (1, 2, 1), "one failed in another step, one later in this"


def test_a_champion_that_takes_as_long_as_a_canary_is_ended_for_counts_as_dead(
    database_url: str, tmp_path: Path
) -> None:
    """By the rows of the request: so identical arms on a slow host have the same deaths."""
    champion = author_of(epoch=2)
    with opened(database_url) as database:
        begun(database)
        writer = Writer(tmp_path, 1 << 20)
        for n_rows in (1, 3):
            for more_ns in (0, 1):
                took = decided(n_rows, NOON_NS, champion)
                writer.write(replace(took, model_ns=PATIENCE.limit_ns(n_rows) + more_ns))
        writer.close()
        ship_all(Shipper(tmp_path, database, "h", counting=by(database)))
        found = {one.kind: one for one in counts_of(database, "fraud", ROLLOUT)}
    assert (found["deaths"].k_b, found["errors"].k_b, found["errors"].new_b) == (2, 2, 4)
