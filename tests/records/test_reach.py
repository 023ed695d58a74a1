"""How far spools are in the database: nobody misses a decision by going past a host that still has it."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shipping import decided, opened, ship_all
from sqlalchemy import func, select

from scoreline.records import database as database_module
from scoreline.records import reach as reach_module
from scoreline.records.database import Database
from scoreline.records.pieces import Piece
from scoreline.records.reach import FORGET_NS, GONE_NS, SAY_NS, SLACK_NS, Reach, Reaching, forget_spools, reach
from scoreline.records.ship import Shipper
from scoreline.records.tables import SPOOLS
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of

SECOND = 1_000_000_000
AUTHOR = author_of()
START_NS = 1_900_000_000 * SECOND


@dataclass
class Clock:
    """What `time` is to hosts, and to a database of one host."""

    now_ns: int = START_NS

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / SECOND


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of all that is asked here for the time."""
    found = Clock()
    for module in (reach_module, database_module):
        monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(f"sqlite:///{tmp_path / 'x.db'}") as found:
        yield found


def piece(*times_ns: int) -> Piece:
    return Piece({0: AUTHOR}, 9, [(b"i" * 16, time_ns) for time_ns in times_ns], [0] * len(times_ns))


def bring(database: Database, spool: Reaching, *times_ns: int) -> None:
    with database.writing() as connection:
        spool.count_late(connection, piece(*times_ns))


def until(database: Database, clock: Clock) -> int:
    return reach(database, AUTHOR.model, clock.now_ns).until_ns


def test_nobody_goes_past_a_spool_that_is_heard_of(database: Database, clock: Clock, tmp_path: Path) -> None:
    assert until(database, clock) == START_NS - SLACK_NS, "no spool, nothing to wait for"
    one, two = (Reaching(database, tmp_path / name, "h") for name in "ab")
    one.begin()
    assert until(database, clock) < 0, "what is in a new one nobody knows"
    one.say(START_NS)
    two.begin()
    two.say(START_NS - 60 * SECOND)
    assert until(database, clock) == START_NS - 60 * SECOND - SLACK_NS
    clock.now_ns += GONE_NS // 4
    two.say(0)
    one.say(clock.now_ns)
    assert until(database, clock) == START_NS - 60 * SECOND - SLACK_NS, "it is behind, however long it takes"
    two.end()
    assert until(database, clock) == clock.now_ns - SLACK_NS


def test_a_spool_that_is_gone_holds_nobody_up_and_is_late_when_it_comes_back(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    one = Reaching(database, tmp_path, "h")
    one.begin()
    one.say(START_NS)
    bring(database, one, START_NS - SLACK_NS)
    clock.now_ns += GONE_NS - 1
    assert until(database, clock) == START_NS - SLACK_NS
    clock.now_ns += 1
    before = reach(database, AUTHOR.model, clock.now_ns)
    assert (before.until_ns, before.late) == (clock.now_ns - SLACK_NS, {})
    again = Reaching(database, tmp_path, "h")  # another process of the same host
    again.begin()
    bring(database, again, START_NS + 7, START_NS + 3, clock.now_ns)
    bring(database, again, START_NS + 9)
    after = reach(database, AUTHOR.model, clock.now_ns)
    assert after.until_ns == START_NS - SLACK_NS, "from now on it is waited for again"
    assert after.has_passed(before, START_NS + 4) and not after.has_passed(before, START_NS + 3)
    assert not after.has_passed(after, clock.now_ns)
    assert (after.rows_since(clock.now_ns), after.rows_since(clock.now_ns + 1)) == (3, 0)
    assert after.passed_ns == clock.now_ns
    assert reach(database, "another", clock.now_ns).late == {}
    clock.now_ns += FORGET_NS + 1
    forget_spools(database)
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(SPOOLS)) == 0


def test_what_takes_longer_than_everybody_allows_for_is_late(database: Database, clock: Clock, tmp_path: Path) -> None:
    """A request that is scored for longer than that comes after what was taken up after it."""
    one = Reaching(database, tmp_path, "h")
    one.begin()
    one.say(START_NS)
    bring(database, one, START_NS - SLACK_NS - 1)
    assert [rows for rows, _ in reach(database, AUTHOR.model, START_NS).late.values()] == [1]


def test_a_shipper_says_how_far_it_is(database_url: str, tmp_path: Path) -> None:
    with opened(database_url) as database:
        writers = [SpoolWriter(tmp_path / "spool", 1 << 20) for _ in range(2)]
        for writer in writers:
            writer.write(decided(3))
        shipper = Shipper(tmp_path / "spool", database, "here")
        ship_all(shipper)
        (through_ns,) = throughs(database)
        assert through_ns > 0 and reach(database, "m", through_ns + SECOND).until_ns == through_ns - SLACK_NS
        shipper.end()
        assert throughs(database) == [through_ns], "writers go on"
        for writer in writers:
            writer.close()
        ship_all(shipper)
        shipper.end()
        assert throughs(database) == []


def test_a_segment_that_is_refused_holds_nobody_up(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has to look at it; what comes of it then is late."""
    with opened(database_url) as database:
        writer = SpoolWriter(tmp_path, 1 << 20)
        writer.write(decided(3))
        writer.close()
        (path,) = tmp_path.glob("*.seg")
        path.chmod(0o600)
        shipper = Shipper(tmp_path, database, "here")
        real = Path.open
        monkeypatch.setattr(Path, "open", lambda self, *how: _denied(self, path, real, *how))
        shipper.ship()
        assert list(shipper.refused) == [path.name] and throughs(database)[0] > 0


def _denied(self: Path, path: Path, real: object, *how: object) -> object:
    if self == path:
        raise PermissionError(13, "denied")
    return real(self, *how)  # type: ignore[operator]


def throughs(database: Database) -> list[int]:
    with database.reading() as connection:
        return list(connection.scalars(select(SPOOLS.c.through_ns)))


@dataclass
class Host:
    """A host that takes decisions up at any time, and ships them when it can."""

    spool: Reaching
    waiting: list[int] = field(default_factory=list)


@dataclass
class Follower:
    """Who folds decisions in their order as far as they reach, and begins anew where it must."""

    seen_ns: int = 0
    known: Reach = field(default_factory=lambda: Reach(0, {}))
    has: list[int] = field(default_factory=list)

    def look(self, database: Database, clock: Clock, there: list[int]) -> None:
        found = reach(database, AUTHOR.model, clock.now_ns)
        if found.has_passed(self.known, self.seen_ns):
            self.seen_ns, self.has = 0, []
        self.has += sorted(time_ns for time_ns in there if self.seen_ns <= time_ns < found.until_ns)
        self.seen_ns, self.known = max(self.seen_ns, found.until_ns), found


STEPS = st.lists(
    st.tuples(st.sampled_from(("take", "ship", "look", "end", "restart")), st.integers(0, 2), st.integers(1, 400)),
    min_size=5,
    max_size=40,
)


@given(STEPS)
@settings(deadline=None, max_examples=40)
def test_who_looks_all_the_time_has_in_the_end_what_who_looks_once_has(steps: list[tuple[str, int, int]]) -> None:
    """Whatever hosts do, and however long they are away; in the end all are through."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        for module in (reach_module, database_module):
            patch.setattr(module, "time", clock)
        with opened(f"sqlite:///{folder}/x.db") as database:
            hosts = [Host(Reaching(database, Path(folder) / str(number), "h")) for number in range(3)]
            there: list[int] = []
            follower = Follower()
            for what, number, passed_s in [*steps, *(("ship", number, 2) for number in (0, 1, 2, 0, 1, 2))]:
                clock.now_ns += passed_s * SECOND
                host = hosts[number]
                if what == "take":
                    host.waiting.append(clock.now_ns)
                elif what == "look":
                    follower.look(database, clock, there)
                elif what == "restart":
                    host.spool = Reaching(database, Path(folder) / str(number), "h")
                elif what == "end" and not host.waiting:
                    host.spool.end()
                elif what == "ship":
                    host.spool.begin()
                    bring(database, host.spool, *host.waiting)
                    there += host.waiting
                    host.waiting.clear()
                    host.spool.say(clock.now_ns)
            clock.now_ns += SLACK_NS + SAY_NS
            for host in hosts:
                host.spool.say(clock.now_ns)
            follower.look(database, clock, there)
            fresh = Follower()
            fresh.look(database, clock, there)
            assert follower.has == fresh.has == sorted(there)[: len(fresh.has)]
            assert len(fresh.has) >= len([one for one in there if one < clock.now_ns - 20 * SECOND])
