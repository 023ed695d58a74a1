"""Drift over a real database: counted exactly once whoever dies and leads, one incident per change, told as it is."""

import math
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

sys.path.append(str(Path(__file__).parents[1] / "drift"))
sys.path.append(str(Path(__file__).parents[1] / "records"))
from shipping import decided, ship_all
from somereference import FIELDS, manifest_of, reference_of, some_fold, some_rows

from scoreline.core.errors import BundleError, NotFound, RolloutRefused
from scoreline.core.link import Floats
from scoreline.drift.counts import packed, unpacked
from scoreline.drift.fold import Fold
from scoreline.drift.folding import Folding
from scoreline.drift.reference import FORMAT
from scoreline.drift.rules import Rules
from scoreline.drift.state import State
from scoreline.evidence.tolerance import Tolerance
from scoreline.operations import drifting, rollouts
from scoreline.operations.drifting import REPLACED, References, clean, look
from scoreline.operations.driftreport import DRIFT, NO_DATA, NONE_FOUND, NOT_SURE, drift_of, standings
from scoreline.operations.rollouts import By
from scoreline.records.database import Database, open_database
from scoreline.records.drift import (
    BEGIN,
    END,
    HOUR_NS,
    Hour,
    Incident,
    hours_since,
    incidents_of,
    kept_of,
    put,
    take,
    waiting,
)
from scoreline.records.drift_tables import HOURS, INBOX, STATES
from scoreline.records.rollout_tables import LEDGER
from scoreline.records.ship import Shipper
from scoreline.records.writer import SpoolWriter
from scoreline.rollout.stages import Arm
from somedecisions import author_of

RULES = Rules(Tolerance(), 1.0, 10.0)
TICK_NS = RULES.tick_ns
FOLD = some_fold()
MODEL, DIGEST = "m", FOLD.reference.manifest.digest
AUTHOR = author_of(MODEL, len(FIELDS), digest=DIGEST, fields=tuple(field.name for field in FIELDS))
START_NS = 1_790_000_000_000_000_000


class Given(References):
    """References that are there without bundles."""

    def __init__(self, *folds: Fold) -> None:
        super().__init__(Path("unused"), RULES)
        self.given = {fold.reference.manifest.digest: fold for fold in folds}

    def _fold(self, digest: str) -> Fold:
        if digest not in self.given:
            raise NotFound("no bundle here")
        return self.given[digest]


@dataclass
class World:
    """A database with a champion, a clock that a test moves, and what is seen of it."""

    database: Database
    references: Given
    now_ns: int = START_NS

    def put(self, shift: float = 0.0, n_rows: int = 50, fold: Fold = FOLD, seed: int = 0, **change: float) -> None:
        """What a host counts of some rows."""
        values, scores = some_rows(np.random.default_rng(seed or self.now_ns % 2**32), n_rows, shift)
        for name, value in change.items():
            values[:, [field.name for field in FIELDS].index(name)] = value
        manifest = fold.reference.manifest
        with self.database.writing() as connection:
            facts = manifest.name, manifest.digest, fold.reference.basis, self.now_ns
            put(connection, *facts, packed(fold(values, scores)))

    def tick(self, shift: float = 0.0, after_ns: int = TICK_NS, **change: Any) -> None:
        self.now_ns += after_ns
        self.put(shift, **change)
        look(self.database, self.references)

    @property
    def incidents(self) -> list[Incident]:
        return list(incidents_of(self.database, MODEL, 0, 100))

    def told(self, last_s: int = 86_400) -> dict[str, Any]:
        return drift_of(self.database, self.references, MODEL, last_s)

    def counts(self, digest: str = DIGEST) -> Floats:
        """All that is in the hours of a version."""
        with self.database.reading() as connection:
            hours = hours_since(connection, Hour(MODEL, digest, 0, FORMAT))
        size = FOLD.reference.layout.size
        return sum((unpacked(raw, size) for _, raw in hours), np.zeros(size))

    def promote(self, digest: str) -> None:
        rollouts.act(
            self.database,
            MODEL,
            "promote",
            By("ada"),
            lambda stage, seq, _: replace(stage, champion=Arm("2", digest), epoch=seq),
        )


@pytest.fixture
def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    database = open_database(database_url, Path("unused"))
    database.prepare()
    found = World(database, Given(FOLD))
    monkeypatch.setattr(database, "now_ns", lambda _: found.now_ns)
    rollouts.seed(database, MODEL, Arm("1", DIGEST), By("serve"))
    yield found
    database.close()


def test_a_change_is_one_incident_however_many_alarms_it_has(world: World) -> None:
    for _ in range(20):
        world.tick()
    assert world.incidents == []
    for _ in range(5):
        world.tick(repeat=1.0)
    (begun,) = world.incidents
    assert (begun.action, begun.seq, begun.digest, begun.version) == (BEGIN, 1, DIGEST, "1")
    assert begun.evidence["leading"] == {
        "subject": "repeat", "kind": "field", "of": "true", "what": None, "direction": "up",
    }  # fmt: skip
    assert begun.evidence["evidence"] >= RULES.alarm_at
    told = world.told()
    assert told["verdict"] == DRIFT and told["incident"]["alarms"] >= 3
    assert told["subjects"][0]["subject"] == "risk"


def test_an_incident_ends_after_a_day_of_traffic_without_an_alarm_and_silence_is_none(world: World) -> None:
    world.tick(2.0)
    assert [each.action for each in world.incidents] == [BEGIN]
    world.now_ns += 40 * HOUR_NS
    look(world.database, world.references)
    assert world.told()["verdict"] == DRIFT, "a silent spool holds, never passes"
    for hour in range(23):
        world.tick(after_ns=HOUR_NS)
        assert len(world.incidents) == 1, hour
    world.tick(after_ns=HOUR_NS)
    ended = world.incidents[1]
    assert (ended.action, ended.seq, ended.evidence) == (END, 2, {"alarms": 1})
    assert ended.why == "a day of traffic without a further alarm"
    assert world.told()["verdict"] == NONE_FOUND
    world.tick(2.0)
    assert [each.action for each in world.incidents] == [BEGIN, END, BEGIN]
    assert world.told()["incident"]["alarms"] == 1


def test_a_change_that_lasts_is_one_incident_however_little_the_traffic_is(world: World) -> None:
    """A day of ten rows an hour says nothing: evidence took more to see the change."""
    for _ in range(24 * 10):
        world.tick(0.6, after_ns=HOUR_NS, n_rows=10)
    assert [each.action for each in world.incidents] == [BEGIN]
    for _ in range(24 * 20):
        world.tick(after_ns=HOUR_NS, n_rows=10)
        if len(world.incidents) > 1:
            break
    assert [each.action for each in world.incidents] == [BEGIN, END]


def test_a_further_alarm_puts_the_end_off(world: World) -> None:
    world.tick(2.0)
    for _ in range(20):
        world.tick(after_ns=HOUR_NS)
    world.tick(2.0)
    for _ in range(20):
        world.tick(after_ns=HOUR_NS)
    assert [each.action for each in world.incidents] == [BEGIN]
    assert world.told()["incident"]["alarms"] == 2


def test_an_incident_ends_with_its_champion_and_the_next_has_evidence_of_its_own(world: World) -> None:
    world.tick(2.0)
    other = Fold(reference_of(*some_rows(np.random.default_rng(4), 2000, 2.0), manifest=manifest_of(version="2")))
    world.references.given[other.reference.manifest.digest] = other
    world.promote(other.reference.manifest.digest)
    look(world.database, world.references)
    assert [(each.action, each.why) for each in world.incidents][1:] == [(END, REPLACED)]
    assert world.told()["verdict"] == NO_DATA
    world.tick(2.0, fold=other)
    world.tick(2.0)  # what the old one decided is counted late, and raises no alarm
    assert [each.action for each in world.incidents] == [BEGIN, END]
    assert world.counts()[0] == 100
    assert world.told()["version"] == "2"
    assert {each.version for each in standings(world.database, world.references)} == {"2"}


def test_an_incident_of_one_that_was_replaced_at_that_moment_ends_before_the_next_begins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tick(2.0)
    other = Fold(reference_of(*some_rows(np.random.default_rng(4), 2000), manifest=manifest_of(version="2")))
    world.references.given[other.reference.manifest.digest] = other
    monkeypatch.setattr(drifting, "open_incidents", lambda _: [])
    world.promote(other.reference.manifest.digest)
    world.tick(2.0, fold=other)
    assert [(each.action, each.version) for each in world.incidents] == [(BEGIN, "1"), (END, "1"), (BEGIN, "2")]


def test_ticks_are_no_faster_than_the_rate_of_alarms_rests_on(world: World) -> None:
    world.tick()
    world.put()
    world.now_ns += TICK_NS - 1
    look(world.database, world.references)
    with world.database.reading() as connection:
        assert waiting(connection) == [(MODEL, DIGEST)]
        assert kept_of(connection, MODEL)[DIGEST].ticks == 1
    world.now_ns += 1
    look(world.database, world.references)
    with world.database.reading() as connection:
        assert waiting(connection) == []
        assert kept_of(connection, MODEL)[DIGEST].ticks == 2
    world.now_ns -= HOUR_NS  # the clock was put back
    world.put()
    look(world.database, world.references)
    assert world.counts()[0] == 150


def test_the_evidence_is_that_of_the_recursion_over_all_that_was_counted(world: World) -> None:
    state, n = State.new(FOLD.reference), 0
    for tick in range(1, 6):
        rng_seeds = [100 * tick + host for host in range(3)]
        counts = []
        for seed in rng_seeds:
            world.put(0.1, 20 + seed % 7, seed=seed)
            n += 20 + seed % 7
            counts.append(FOLD(*some_rows(np.random.default_rng(seed), 20 + seed % 7, 0.1)))
        look(world.database, world.references)
        state = state.tick(FOLD.reference, sum(counts))
        world.now_ns += TICK_NS
    assert world.counts()[0] == n
    (whole, *subjects) = standings(world.database, world.references)
    assert whole.evidence == pytest.approx(math.exp(state.log_evidence(FOLD.reference)))
    own = [math.exp(log_e) for log_e in state.by_subject(FOLD.reference)]
    assert [one.evidence for one in subjects] == pytest.approx(own)
    assert [(one.subject, one.kind) for one in subjects][:2] == [("risk", "score"), ("amount", "field")]
    assert (whole.subject, whole.is_open, whole.alarm_at) == ("", False, RULES.alarm_at)


def test_leaders_that_look_at_once_count_everything_once(world: World) -> None:
    """Two that both think they lead, again and again, and one that dies in the middle of its transaction."""
    dying = threading.Event()

    def keep(connection: Any, kept: Any) -> None:
        original(connection, kept)
        if dying.is_set():
            dying.clear()
            raise KeyError("dies before its end")

    original, drifting.keep = drifting.keep, keep
    try:
        for number in range(1, 31):
            for host in range(3):
                world.put(seed=10 * number + host, n_rows=10)
            if number % 5 == 0:
                dying.set()
            leaders = [threading.Thread(target=self_healing, args=(world,)) for _ in range(2)]
            for leader in leaders:
                leader.start()
            for leader in leaders:
                leader.join(60)
            world.now_ns += TICK_NS
        look(world.database, world.references)
    finally:
        drifting.keep = original
    assert world.counts()[0] == 30 * 3 * 10
    with world.database.reading() as connection:
        assert kept_of(connection, MODEL)[DIGEST].ticks <= 31
        assert waiting(connection) == []


def self_healing(world: World) -> None:
    for _ in range(2):
        with suppress(KeyError):
            look(world.database, world.references)


def test_what_another_tolerance_has_counted_is_told_and_is_no_evidence(world: World) -> None:
    world.tick()
    wider = Fold(replace(FOLD.reference, tolerance=Tolerance(0.5, 0.5, 0.1)))
    world.put(2.0, fold=wider)
    world.now_ns += TICK_NS
    look(world.database, world.references)
    assert world.incidents == [] and world.counts()[0] == 100
    with world.database.reading() as connection:
        before = kept_of(connection, MODEL)[DIGEST]
    assert (before.ticks, before.basis) == (1, FOLD.reference.basis)
    world.references.given[DIGEST] = wider  # the steward was started anew with it
    world.tick(fold=wider)
    with world.database.reading() as connection:
        after = kept_of(connection, MODEL)[DIGEST]
    assert (after.ticks, after.basis) == (1, wider.reference.basis)


def test_what_nobody_can_read_is_passed_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with world.database.writing() as connection:
        put(connection, MODEL, DIGEST, FOLD.reference.basis, world.now_ns, b"damage")
        counts = packed(np.ones(FOLD.reference.layout.size))
        put(connection, MODEL, DIGEST, "999.of a newer version", world.now_ns, counts)
    world.tick()
    assert world.counts()[0] == 50
    assert "damaged" in caplog.text


def test_evidence_that_is_damaged_begins_anew_and_holds_up_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.tick(2.0)
    with world.database.writing() as connection:
        connection.execute(STATES.update().values(state=b"damage"))
    assert standings(world.database, world.references) == []
    with world.database.writing() as connection:
        connection.execute(HOURS.update().values(counts=packed(np.full(FOLD.reference.layout.size, np.nan))))
    world.tick()
    assert world.counts()[0] == 50
    with world.database.reading() as connection:
        kept = kept_of(connection, MODEL)[DIGEST]
    assert (kept.ticks, kept.alarms) == (1, 1)
    assert "begins anew" in caplog.text and "hour of m are left out" in caplog.text


def test_a_model_that_cannot_be_watched_holds_up_no_other(world: World) -> None:
    with world.database.writing() as connection:
        facts = {"action": "x", "who": "y", "why": "", "evidence": "{}", "at_ns": 1, "seq": 1}
        connection.execute(LEDGER.insert().values(model="a", stage='{"of": "a newer version"}', **facts))
        put(connection, "a", DIGEST, FOLD.reference.basis, world.now_ns, packed(np.ones(FOLD.reference.layout.size)))
    with pytest.raises(RolloutRefused, match="upgrade"):
        world.tick()
    assert world.counts()[0] == 50


def test_a_reference_that_is_wrong_holds_up_no_shipping(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Fold):
        def __call__(self, *_: Any) -> Floats:
            raise ValueError("a bug")

    wrong = Broken(FOLD.reference)
    writer = SpoolWriter(tmp_path / "spool", 1 << 20)
    for _ in range(3):
        writer.write(decided(2, 0, AUTHOR))
    writer.close()
    shipper = Shipper(tmp_path / "spool", world.database, "h", counting=[Folding(lambda _: wrong)])
    ship_all(shipper)
    assert shipper.shipped == 6
    assert caplog.text.count("cannot be counted for drift") == 1


def test_what_is_counted_waits_until_the_bundle_is_here(world: World) -> None:
    gone = world.references.given.pop(DIGEST)
    world.tick()
    assert world.counts()[0] == 0
    with pytest.raises(NotFound):
        world.told()
    world.references.given[DIGEST] = gone
    look(world.database, world.references)
    assert world.counts()[0] == 50
    with pytest.raises(NotFound, match="serve"):
        drift_of(world.database, world.references, "nobody", 60)


def test_no_data_and_not_sure_are_answers(world: World) -> None:
    told = world.told()
    assert (told["verdict"], told["decisions"], told["since"], told["expected_loss"]) == (NO_DATA, 0, None, None)
    assert {one["effect"] for one in told["subjects"]} == {None}
    world.tick(n_rows=5)
    told = world.told()
    assert told["verdict"] == NOT_SURE and 20 < told["decisions_needed"] < 500
    assert {one["effect"] for one in told["subjects"]} == {None}, "the mean of a few rows is nearly a row"
    world.tick(n_rows=told["decisions_needed"])
    assert world.told()["verdict"] == NONE_FOUND
    world.now_ns += 30 * HOUR_NS
    assert world.told()["verdict"] == NO_DATA
    assert world.told(14 * 86_400)["verdict"] == NONE_FOUND


def test_what_is_old_goes_and_incidents_stay(world: World) -> None:
    world.tick(2.0)
    world.put()
    world.now_ns += 15 * 24 * HOUR_NS
    clean(world.database)
    with world.database.reading() as connection:
        for table in (HOURS, STATES, INBOX):
            assert connection.scalar(select(func.count()).select_from(table)) == 0
    assert len(world.incidents) == 1
    world.promote("f" * 64)
    look(world.database, world.references)
    assert world.incidents[-1].evidence == {"alarms": 1}


def test_shipping_counts_champions_own_decisions_once_and_no_degraded_row(world: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    writer = SpoolWriter(tmp_path / "spool", 4096)
    kept: list[tuple[Floats, Floats]] = []
    for number in range(60):
        values, scores = some_rows(rng, 5)
        role = ("champion", "champion", "canary", "canary_failed")[number % 4]
        facts: dict[str, Any] = {"values": values, "margins": scores, "scores": scores}
        facts |= {"defaulted": {1: (1, 2)}, "degraded": {2: (0,)}}
        writer.write(decided(5, 0, replace(AUTHOR, role=role), **facts))
        if role == "champion":
            values[1, [1, 2]] = np.nan
            rows = [0, 1, 3, 4]
            kept.append((values[rows], scores[rows]))
        other = author_of("other", len(FIELDS), digest="e" * 64)
        writer.write(decided(1, 0, other))
    writer.close()
    ship_all(Shipper(tmp_path / "spool", world.database, "h", counting=[Folding(world.references.fold)]))
    with world.database.reading() as connection:
        assert waiting(connection) == [(MODEL, DIGEST)]
    with world.database.writing() as connection:
        rows = take(connection, MODEL, DIGEST)
    assert {basis for basis, _ in rows} == {FOLD.reference.basis}
    found = sum(unpacked(raw, FOLD.reference.layout.size) for _, raw in rows)
    expected = FOLD(np.concatenate([one for one, _ in kept]), np.concatenate([one for _, one in kept]))
    assert found == pytest.approx(expected)


def test_a_shipment_that_fails_counts_nothing(world: World, tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "spool", 1 << 20)
    values, scores = some_rows(np.random.default_rng(3), 50)
    writer.write(decided(50, 0, AUTHOR, values=values, margins=scores, scores=scores))
    writer.close()

    class Failing(Folding):
        def count(self, *given: Any) -> None:
            super().count(*given)
            raise KeyError("dies after it has counted")

    with suppress(KeyError):
        Shipper(tmp_path / "spool", world.database, "h", counting=[Failing(world.references.fold)]).ship()
    ship_all(Shipper(tmp_path / "spool", world.database, "h", counting=[Folding(world.references.fold)]))
    world.now_ns += TICK_NS
    look(world.database, world.references)
    assert world.counts()[0] == 50


def test_references_are_read_from_bundles_of_the_state_folder(sealed: Any, tmp_path: Path) -> None:
    import shutil

    digest = sealed.manifest.digest
    references = References(tmp_path, RULES)
    assert references.fold(digest) is None
    shutil.copytree(sealed.folder, tmp_path / "bundles" / digest)
    fold = references.fold(digest)
    assert fold is not None and fold is references.fold(digest)
    assert references.find(digest).manifest.name == "fraud"
    (tmp_path / "bundles" / digest / "profile.json").write_text("{}")
    assert References(tmp_path, RULES).fold(digest) is None
    with pytest.raises(BundleError, match="another one"):
        References(tmp_path, RULES).find(digest)
