"""What shipping counts of a rollout equals a plain count over the same decisions, however they come to be shipped."""

import random
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shipping import NOON_NS, decided, opened, ship_all
from somedecisions import author_of

from scoreline.core.decision import Author, Decisions
from scoreline.records import segments
from scoreline.records.database import Database, open_database
from scoreline.records.frames import frame_failed
from scoreline.records.ledger import Entry, append
from scoreline.records.ship import Shipper
from scoreline.records.windows import KINDS, Counting, Window, windows_since
from scoreline.records.writer import SpoolWriter

OVER_NS, SLOW_NS, HIGH = 140_000_000, 3_000_000, 0.8
ROLLOUT, STEPS = 2, {2: 0.1, 3: 0.5}
ROLES = ("champion", "canary", "canary_failed", "mixed", "pinned")
KINDS_OF = {"raised": {"errors"}, "not_finite": {"errors"}, "died": {"errors"}, "overran": {"overruns", "slow"}}
UNCOUNTED = "degraded"
Item = tuple[Author, bytes, dict[str, Any]]  # of a request: by whom, about whom, and what came of it


class Writer(SpoolWriter):
    def failed(self, author: Author, base: int, time_ns: int, kind: str, entities: list[bytes]) -> None:
        self._ready(time_ns)
        self._append(frame_failed(self._index(author), base, time_ns, kind, entities))


def begun(database: Database) -> None:
    """A ledger: a champion, then a canary at two steps."""
    for seq in (1, *STEPS):
        stage = {"rollout": ROLLOUT, "share": STEPS.get(seq, 0.0), "slow_ns": SLOW_NS, "high_score": HIGH}
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
        facts |= {"score": rng.choice((0.1, 0.5, 0.9)), "degraded": (1,) if rng.random() < 0.1 else ()}
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
    in_step: set[tuple[int, bytes]] = set()
    for author, entity, facts in items:
        if author.role not in ("champion", "canary") or author.epoch not in STEPS or facts.get("degraded"):
            continue
        if facts.get("failed") == UNCOUNTED:
            continue
        arm = author.role[1:2]  # h, a
        found[f"deaths {arm}"] += facts.get("failed") == "died"
        if not entity:
            found[f"requests {arm}"] += 1
            for kind in events_of(facts):
                found[f"{kind} {arm} of requests"] += 1
            continue
        if arm == "a":
            in_step.add((author.epoch, entity))
        for kind in events_of(facts):
            evented[kind].add(entity)
    entities = {f"{kind} of entities": len(units) for kind, units in evented.items()}
    return {**found, **entities, "in step": len(in_step)}


def summed(windows: list[Window]) -> dict[str, Any]:
    found: dict[str, Any] = defaultdict(int)
    for window in windows:
        found["deaths a"] += window.deaths_c
        found["deaths h"] += window.deaths_b
        assert window.share == STEPS[window.epoch]
        if not window.sticky:
            found[f"{window.kind} a of requests"] += window.k_c
            found[f"{window.kind} h of requests"] += window.k_b
            if window.kind == "errors":
                found["requests a"] += window.n_c
                found["requests h"] += window.n_b
        else:
            found[f"{window.kind} of entities"] += window.k_c + window.k_b
            found["in step"] += window.step_c
            assert window.late_c <= window.k_c <= window.n_c and window.new_c <= window.n_c
            assert window.late_b <= window.k_b <= window.n_b
    return {name: value for name, value in found.items() if value}


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
        shippers = [Shipper(spool, database, "h", counting=Counting(database, OVER_NS)) for spool in spools]
        for item in items:
            write(rng.choice(writers), item)
            if rng.random() < 0.02:
                rng.choice(shippers).ship()
        for writer in writers:
            writer.close()
        with closing(open_database(database_url, Path(name))) as other:  # another that ships the same
            ship_all(Shipper(spools[0], other, "again", counting=Counting(other, OVER_NS)))
        for shipper in shippers:
            ship_all(shipper)
        found = list(windows_since(database, "fraud", ROLLOUT))
    expected = {name: value for name, value in counted(items).items() if value}
    assert summed(found) == expected
    assert {window.kind for window in found} == set(KINDS)


def test_what_a_transaction_takes_back_is_not_counted(database_url: str, tmp_path: Path) -> None:
    with opened(database_url) as database:
        begun(database)
        writer, counting = Writer(tmp_path, 1 << 20), Counting(database, OVER_NS)
        write(writer, (author_of(role="canary", epoch=2), b"e" * 16, {"failed": "raised"}))
        writer.close()

        class Failing(Counting):
            def count(self, *args: Any) -> None:
                super().count(*args)
                raise RuntimeError("the steward dies here")

        with pytest.raises(RuntimeError):
            Shipper(tmp_path, database, "h", counting=Failing(database, OVER_NS)).ship()
        assert windows_since(database, "fraud", ROLLOUT) == []
        ship_all(Shipper(tmp_path, database, "h", counting=counting))
        (window,) = windows_since(database, "fraud", ROLLOUT)
        assert (window.kind, window.k_c, window.late_c, window.new_c, window.step_c) == ("errors", 1, 0, 1, 1)
