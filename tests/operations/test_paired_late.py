"""Decisions that come to the database late: they are compared all the same, and whoever looked before begins anew."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from operations.test_paired import Shadowed
from scoreline.core.decision import Decisions
from scoreline.operations.paired import Pairing
from scoreline.records.reach import SLACK_NS
from scoreline.records.segments import Segment
from scoreline.records.ship import Shipper
from scoreline.records.tables import SPOOLS
from scoreline.records.writer import SpoolWriter
from scoreline.rollout.policy import Policy
from somedesk import MODEL_NS, bundles, desk, ship

N = 300
OTHER = Segment("b" * 24, 0, Path("unused"))


def change(shadowed: Shadowed, many: list[Decisions], role: str = "champion") -> Callable[[int, Decisions], None]:
    places = {id(one): place for place, one in enumerate(shadowed.many)}

    def changed(number: int, found: Decisions) -> None:
        shadowed.place(places[id(many[number])], found)
        found.author = replace(found.author, role=role)

    return changed


def score(shadowed: Shadowed, many: list[Decisions], segment: Segment) -> None:
    champion = [one.scores[0, 0] for one in many]
    every, shadowed.many = shadowed.many, many
    shadowed.score(champion, segment=segment)
    shadowed.many = every


def anew(shadowed: Shadowed) -> int:
    found = Pairing(shadowed.desk.database, shadowed.desk.host.state_dir, Policy(delta=0.02))
    return int(found.report("m", shadowed.stage, shadowed.stage.challengers[0]).report["agreement"]["rows"])


def test_what_another_host_ships_after_an_outage_is_compared(database_url: str, tmp_path: Path) -> None:
    folder = bundles(tmp_path / "bundles", "1", "2")
    with desk(database_url, folder) as found:
        shadowed = Shadowed(folder, found, N, Policy(delta=0.02))
        first, late = shadowed.many[::2], shadowed.many[1::2]
        ship(found.database, folder, first, change(shadowed, first))
        score(shadowed, first, Segment("a" * 24, 0, Path("unused")))
        assert shadowed.report().report["agreement"]["rows"] == N // 2
        ship(found.database, folder, late, change(shadowed, late))
        score(shadowed, late, OTHER)
        report = shadowed.report().report
        assert report["agreement"]["rows"] == anew(shadowed) == N
        assert (report["unscored"], report["late_shipped"]) == (0, N)


def test_a_host_that_is_behind_is_waited_for(database_url: str, tmp_path: Path) -> None:
    """It was heard of, and then the database was away from it: nobody goes past what it may still have."""
    folder = bundles(tmp_path / "bundles", "1", "2")
    with desk(database_url, folder) as found:
        shadowed = Shadowed(folder, found, N, Policy(delta=0.02))
        first, late = shadowed.many[::2], shadowed.many[1::2]
        behind = Shipper(tmp_path / "behind", found.database, "behind")
        behind.ship()
        with found.database.writing() as connection:  # since when it is
            half_ns = shadowed.begun_ns + N // 2 * 1_000_000
            connection.execute(SPOOLS.update().values(through_ns=half_ns + SLACK_NS))
        ship(found.database, folder, first, change(shadowed, first))
        score(shadowed, first, Segment("a" * 24, 0, Path("unused")))
        assert shadowed.report().report["agreement"]["rows"] == N // 4
        writer, place = SpoolWriter(tmp_path / "behind", 1 << 26), change(shadowed, late)
        for number, one in enumerate(late):
            one.model_ns = MODEL_NS
            place(number, one)
            writer.write(one)
        writer.close()
        score(shadowed, late, OTHER)
        while behind.ship():
            pass
        behind.end()
        assert shadowed.report().report["agreement"]["rows"] == anew(shadowed) == N


def test_who_asked_for_a_version_is_no_pair(database_url: str, tmp_path: Path) -> None:
    folder = bundles(tmp_path / "bundles", "1", "2")
    with desk(database_url, folder) as found:
        shadowed = Shadowed(folder, found, N, Policy(delta=0.02))
        drawn, pinned = shadowed.many[::2], shadowed.many[1::2]
        ship(found.database, folder, drawn, change(shadowed, drawn))
        ship(found.database, folder, pinned, change(shadowed, pinned, "pinned"))
        score(shadowed, drawn, Segment("a" * 24, 0, Path("unused")))
        score(shadowed, pinned, OTHER)
        report = shadowed.report()
        assert (report.seen.rows, report.report["unscored"]) == (N // 2, 0)
