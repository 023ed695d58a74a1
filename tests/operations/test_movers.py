"""Those decisions that a challenger moves furthest, from the record, and what moves them."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from models import opened
from recorded import kept, program_that_dies
from scoreline.core.batch import Batch
from scoreline.core.bundle import read_bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import BundleError, RolloutRefused
from scoreline.core.ids import IdSource
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.operations.bundles import ByDigest
from scoreline.operations.desk import Desk
from scoreline.operations.movers import GONE, movers
from scoreline.operations.paired import Pairing
from scoreline.records.kept import KeptRecord
from scoreline.records.ledger import Entry, append
from scoreline.records.segments import BEGIN, Segment
from scoreline.records.shadowed import Scored, add_scores
from scoreline.rollout.agreement import MOVERS
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Challenger, Stage
from somedesk import ADA, arm, bundles, decisions, desk, ship

SEGMENT = Segment("a" * 24, 0, Path("unused"))
N = 120


class Empty:
    """A record out of which everything has been removed."""

    def get(self, decision_id: int) -> None:
        return None


def shadowed(found: Desk, folder: Path) -> Desk:
    """Version 2 is in shadow for a minute, version 1 has decided N rows since, and 2 has scored them."""
    kept(folder / "m-2", found.host.state_dir)
    begun_ns, ids = time.time_ns() - 60_000_000_000, IdSource()
    stage = Stage(arm(folder, "1"), 1, challengers=(Challenger(arm(folder, "2"), 2, begun_ns),))
    append(found.database, Entry("m", 2, begun_ns, "shadow", "ada", "", stage.to_json(), {}))
    many = decisions(folder, N)

    def place(number: int, one: Decisions) -> None:
        one.context = replace(one.context, time_ns=begun_ns + (number + 1) * 1_000_000)
        one.base = ids.new_base(one.context.time_ns)

    ship(found.database, folder, many, place)
    bundle = read_bundle(folder / "m-2", ByDigest(opened(folder / "m-2").manifest.digest))
    scorer = Scorer(bundle.manifest, load_engine(bundle), "challenger", 2)
    again = [scorer(Batch(each.values, each.context, {}), each.base) for each in many]
    scores = [Scored(each.base.to_bytes(16, "big"), each.scores.tobytes(), 0) for each in again]
    assert add_scores(found.database, scorer.author, SEGMENT, BEGIN, BEGIN + N, scores, 0)
    pairing = Pairing(found.database, found.host.state_dir, Policy())
    return replace(found, report=pairing.report)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bundles(tmp_path / "bundles", "1", "2")


def record_of(found: Desk, tmp_path: Path) -> KeptRecord:
    return KeptRecord(tmp_path / "spool", "", tmp_path / "unused.db", database=found.database)


def test_the_fifty_furthest_are_told_with_what_moves_them(database_url: str, folder: Path, tmp_path: Path) -> None:
    with desk(database_url, folder) as plain:
        found = shadowed(plain, folder)
        told = movers(found, record_of(found, tmp_path), found.host.state_dir, "m", "")
        assert (told["model"], told["champion"], told["version"]) == ("m", "1", "2")
        distances = [abs(one["score"] - one["other_score"]) for one in told["movers"]]
        assert len(distances) == MOVERS and distances == sorted(distances, reverse=True)
        assert all(one["shifts"] and not one["note"] for one in told["movers"])
        assert told == movers(found, record_of(found, tmp_path), found.host.state_dir, "m", "2")


def test_what_is_in_no_record_any_more_is_said(database_url: str, folder: Path) -> None:
    with desk(database_url, folder) as plain:
        found = shadowed(plain, folder)
        told = movers(found, Empty(), found.host.state_dir, "m", "2")  # type: ignore[arg-type]
        assert {(one["note"], len(one["shifts"])) for one in told["movers"]} == {(GONE, 0)}


def test_without_a_challenger_or_a_report_it_is_refused(database_url: str, folder: Path, tmp_path: Path) -> None:
    with desk(database_url, folder) as found:
        record = record_of(found, tmp_path)
        with pytest.raises(RolloutRefused, match="name a version: none is in shadow"):
            movers(found, record, found.host.state_dir, "m", "")
        found.shadow("m", str(folder / "m-2"), ADA)
        with pytest.raises(RolloutRefused, match="version 7 is not in shadow; in shadow is 2"):
            movers(found, record, found.host.state_dir, "m", "7")
        with pytest.raises(RolloutRefused, match="nothing can be compared"):
            movers(found, record, found.host.state_dir, "m", "2")


def test_a_bundle_that_ends_its_process_ends_nothing_else(
    database_url: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk(database_url, folder) as plain:
        found = shadowed(plain, folder)
        monkeypatch.setattr(sys, "executable", str(program_that_dies(tmp_path)))
        with pytest.raises(BundleError, match="ended the process"):
            movers(found, record_of(found, tmp_path), found.host.state_dir, "m", "")
