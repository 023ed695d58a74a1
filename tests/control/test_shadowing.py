"""Challengers on one host: each scores all there is, once; who misbehaves stops nobody else."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

import canaries
from models import edit, keys, opened, sealed_bundle
from recorded import decided, golden_rows
from scoreline.control import shadowing
from scoreline.control.shadowing import Shadow
from scoreline.control.shadowmark import Mark
from scoreline.core.bundle import SIGNATURE
from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import DatabaseDown
from scoreline.core.manifest import MANIFEST
from scoreline.engines import load
from scoreline.operations.state import Assignment, Challenged, State
from scoreline.records.database import Database, open_database
from scoreline.records.rollout_tables import SHADOW_SCORES
from scoreline.records.rows import rows_of
from scoreline.records.segments import BEGIN, Segment, segments
from scoreline.records.shadowed import numbers_of, place_of, progress
from scoreline.records.shadowplaces import Key, add_lost, behind, read_places
from scoreline.records.ship import Shipper
from scoreline.records.writer import SpoolWriter
from scoreline.settings import Settings, load_settings

DEATHS = ("before", "after")


@pytest.fixture(autouse=True)
def misbehaving_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process knows it for a test, as the program `canaries` does for good."""
    monkeypatch.setitem(load.ENGINES, canaries.KIND, "canaries:Misbehaving")  # type: ignore[arg-type]


class Dead(BaseException):
    """What nothing catches, as a death."""


class Host:
    """A state folder with bundles and a spool, and a shadow beside it that may be followed by another."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.state_dir = folder / "models", folder / "state"
        self.folder.mkdir()
        self.spool = self.state_dir / "spool"
        given = {"trust.keys": [str(keys(self.folder)[1])], "state_dir": str(self.state_dir), "records.database": url}
        self.settings: Settings = load_settings(None, {}, given)
        self.database: Database = open_database(url, folder / "unused.db")
        self.database.prepare()
        self.mark = Mark(self.state_dir / "shadow" / "mark.json", 60)
        self.writer = SpoolWriter(self.spool, 1 << 20)
        self.shadow = self.new_shadow()
        self.challengers: list[Challenged] = []

    def new_shadow(self) -> Shadow:
        return Shadow(self.settings, self.mark, self.database)

    def install(self, path: Path) -> Path:
        target = self.state_dir / "bundles" / opened(path).manifest.digest
        if not target.exists():
            shutil.copytree(path, target)
        return path

    def challenge(self, path: Path) -> Key:
        """Puts a version in shadow."""
        manifest = opened(self.install(path)).manifest
        self.challengers.append(Challenged(manifest.version, manifest.digest, len(self.challengers) + 2))
        return Key("m", manifest.digest, self.challengers[-1].since)

    def decide(self, path: Path, rows: Any, role: str = "champion") -> list[Decisions]:
        """Records what a version decides, in requests of three rows."""
        found = decided(path, np.ascontiguousarray(rows), at_once=3)
        for one in found:
            one.author = replace(one.author, role=role)
            self.writer.write(one)
        return found

    @property
    def state(self) -> State:
        return State({"m": Assignment("1", "a" * 64, challengers=tuple(self.challengers))})

    def look(self) -> int:
        return self.shadow.look(self.state)

    def follow(self) -> None:
        while self.look():
            pass

    def scores(self, key: Key) -> dict[bytes, tuple[bytes, int | None]]:
        numbers = numbers_of(self.database, *key)
        with self.database.reading() as connection:
            rows = connection.execute(select(SHADOW_SCORES).where(SHADOW_SCORES.c.author.in_(numbers))).all()
        found = {bytes(row.id): (bytes(row.scores), row.outcome) for row in rows}
        assert len(found) == len(rows)
        return found

    def progress(self, key: Key) -> Any:
        return progress(self.database, numbers_of(self.database, *key))


@pytest.fixture
def host(database_url: str, tmp_path: Path) -> Iterator[Host]:
    found = Host(tmp_path, database_url)
    yield found
    found.writer.close()
    found.database.close()


def version(host: Host, number: str, **options: Any) -> Path:
    parameters = {"seed": int(number), "subsample": 0.7}
    return host.install(sealed_bundle(host.folder, version=number, parameters=parameters, **options))


def misbehaving(path: Path) -> Path:
    """The same bundle, on an engine that does what it is asked to."""

    def change(manifest: Any) -> None:
        manifest["engines"] = [
            engine | {"kind": canaries.KIND} for engine in manifest["engines"] if engine["kind"] == "xgboost"
        ]

    target = path.with_name(f"{path.name}-misbehaving")
    shutil.copytree(path, target, ignore=shutil.ignore_patterns(SIGNATURE))
    edit(target, MANIFEST, change)
    return target


def ids(many: Sequence[Decisions]) -> list[bytes]:
    return [row.id for found in many for row in rows_of(found)]


def own(path: Path, many: Sequence[Decisions]) -> dict[bytes, tuple[bytes, int | None]]:
    """What a version itself makes of rows that others have decided, each alone."""
    values = np.concatenate([found.values for found in many])
    rows = [row for found in decided(path, values) for row in rows_of(found)]
    outcomes = [None if row.outcome < 0 else row.outcome for row in rows]
    return {id_: (row.scores, code) for id_, row, code in zip(ids(many), rows, outcomes, strict=True)}


def asked(path: Path, *firsts: float) -> Any:
    """Rows that the schema takes, with these in the first field."""
    rows = golden_rows(path)[: len(firsts)].copy()
    rows[:, 0] = firsts
    return rows


def test_every_answer_has_the_challengers_own_score_whoever_gave_it(host: Host) -> None:
    one, two = version(host, "1"), version(host, "2", thresholds={"review": 0.3, "decline": 0.7})
    key, rows = host.challenge(two), golden_rows(one)[:60]
    many = []
    for place, role in enumerate(("champion", "canary", "canary_failed", "mixed", "lapsed")):
        many += host.decide(one if place % 2 else two, rows[place * 9 : place * 9 + 9], role)
    for role in ("challenger", "pinned"):
        host.decide(one, rows[:5], role)
    host.follow()
    assert host.scores(key) == own(two, many)
    assert host.progress(key)[:2] == (len(ids(many)), 0)
    place = read_places(host.state_dir)[key]
    assert (place.scored, place.given_up, place.lag_bytes(segments(host.spool))) == (len(ids(many)), False, 0)


@pytest.mark.parametrize("death", DEATHS)
def test_a_death_at_a_transaction_repeats_and_loses_nothing(
    host: Host, death: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (version(host, number) for number in "123")
    theirs = {host.challenge(path): path for path in (two, three)}
    many = []
    add_scores = shadowing.add_scores

    def dying(*given: Any) -> bool:
        if death == "after":
            add_scores(*given)
        raise Dead

    for part in range(3):
        many += host.decide(one, golden_rows(one)[part * 9 : part * 9 + 9])
        with monkeypatch.context() as patch, pytest.raises(Dead):
            patch.setattr(shadowing, "add_scores", dying)
            host.look()
        host.shadow = host.new_shadow()
        if part:
            host.look()
    host.follow()
    for key, path in theirs.items():
        assert host.scores(key) == own(path, many)
        assert host.progress(key) == (len(ids(many)), 0, {}, False)


@pytest.mark.parametrize("wish", [canaries.RAISES, canaries.ANOTHER_ERROR])
def test_who_raises_is_given_up_after_two_and_others_go_on_at_once(
    host: Host, wish: float, caplog: pytest.LogCaptureFixture
) -> None:
    one, two, three = (version(host, number) for number in "123")
    bad, good = host.challenge(misbehaving(two)), host.challenge(three)
    many = host.decide(one, asked(one, 1.0, wish, 2.0))
    with caplog.at_level(logging.ERROR):
        host.look()
    assert host.scores(good) == own(three, many), "in the same look"
    host.follow()
    host.look()
    assert (host.scores(bad), host.progress(bad)) == ({}, (0, 0, {"raised": 2}, True))
    assert "a row's own words" not in caplog.text
    (segment,) = segments(host.spool)
    end = segment.path.stat().st_size
    assert behind(host.state_dir, [bad, good], segment, end) == [], "no segment waits for it"
    host.shadow = host.new_shadow()
    many += host.decide(one, asked(one, 3.0))
    host.follow()
    assert host.scores(bad) == {}, "nor does the next process score it"
    assert host.scores(good) == own(three, many)


def test_rows_it_has_no_number_for_are_missed_and_others_are_scored(host: Host) -> None:
    one, two = version(host, "1"), version(host, "2")
    key = host.challenge(misbehaving(two))
    many = host.decide(one, asked(one, 1.0, canaries.NO_NUMBER, 2.0, canaries.NO_NUMBER))
    host.follow()
    wanted = own(two, many)
    for lost in (ids(many)[1], ids(many)[3]):
        del wanted[lost]
    assert host.scores(key) == wanted
    assert host.progress(key) == (2, 2, {}, False)


def test_rows_of_another_schema_are_fitted_and_missed_where_nothing_fits(host: Host) -> None:
    with_words, without = version(host, "1", categories=True), version(host, "2")
    narrower, wider = host.challenge(without), host.challenge(with_words)
    rows = golden_rows(with_words)[:30]
    many = host.decide(with_words, rows)
    host.follow()
    fields = opened(with_words).manifest.schema.names
    for found in many:
        found.values = found.values[:, [fields.index(name) for name in opened(without).manifest.schema.names]]
    assert host.scores(narrower) == own(without, many)
    assert host.progress(wider)[:2] == (30, 0)
    host.decide(without, golden_rows(without)[:7])
    host.follow()
    assert host.progress(wider) == (30, 7, {}, False), "its new field has no default"
    assert host.progress(narrower)[:2] == (37, 0)


def test_decisions_of_a_version_that_is_not_here_any_more_are_missed(host: Host) -> None:
    one, two = version(host, "1"), version(host, "2")
    shutil.rmtree(host.state_dir / "bundles" / opened(one).manifest.digest)
    key = host.challenge(two)
    host.decide(one, golden_rows(one)[:4])
    host.follow()
    assert host.progress(key) == (0, 4, {}, False)


def test_a_database_that_is_down_costs_lag_and_one_line(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = version(host, "1"), version(host, "2")
    key = host.challenge(two)
    many = host.decide(one, golden_rows(one)[:9])
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(shadowing, "add_scores", down)
        assert [host.look() for _ in range(3)] == [0, 0, 0]
    assert len(caplog.records) == 1
    assert read_places(host.state_dir)[key].lag_bytes(segments(host.spool)) > 0
    host.follow()
    assert host.scores(key) == own(two, many)
    assert host.progress(key).faults == {}


def test_a_commit_whose_answer_is_lost_is_found_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = version(host, "1"), version(host, "2")
    key = host.challenge(two)
    many = host.decide(one, golden_rows(one)[:9])
    host.follow()
    many += host.decide(one, golden_rows(one)[9:18])
    add_scores = shadowing.add_scores

    def cut(*given: Any) -> bool:
        add_scores(*given)
        raise DatabaseDown("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(shadowing, "add_scores", cut)
        assert host.look() == 0
    assert host.look() == 0, "all is there already"
    assert host.scores(key) == own(two, many)
    assert host.progress(key)[:2] == (18, 0)


def test_a_challenger_that_cannot_be_opened_holds_up_no_other(host: Host) -> None:
    one, two, three = (version(host, number) for number in "123")
    missing, key = host.challenge(two), host.challenge(three)
    shutil.rmtree(host.state_dir / "bundles" / missing.digest)
    many = host.decide(one, golden_rows(one)[:9])
    host.follow()
    assert host.scores(key) == own(three, many)
    (segment,) = segments(host.spool)
    assert behind(host.state_dir, [missing, key], segment, BEGIN + 1) == [missing]


def test_a_mark_that_was_left_blames_its_challenger_twice_at_one_place(host: Host) -> None:
    one, two, three = (version(host, number) for number in "123")
    key, other = host.challenge(two), host.challenge(three)
    many = host.decide(one, golden_rows(one)[:9])
    host.look()
    (segment,) = segments(host.spool)
    author = author_of(host, key)
    for _ in range(2):
        host.mark.set(author, place_of(host.shadow._host, segment, BEGIN))
        host.shadow = host.new_shadow()
        host.look()
        assert host.mark.left() is None
    many += host.decide(one, golden_rows(one)[9:18])
    host.follow()
    assert host.progress(key) == (9, 0, {"crashed": 2}, True)
    assert host.scores(other) == own(three, many)


def test_what_was_deleted_unread_is_missed_once_it_is_gone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = version(host, "1"), version(host, "2")
    key = host.challenge(two)
    host.decide(one, golden_rows(one)[:9])
    host.follow()
    host.decide(one, golden_rows(one)[:6])
    (segment,) = segments(host.spool)
    kept = segment.path.read_bytes()
    host.writer.close()
    shipper = Shipper(host.spool, host.database, "here", delete_unread(host, key))
    while shipper.ship():
        pass
    segment.path.write_bytes(kept)  # whoever said so died before it deleted
    host.shadow = host.new_shadow()
    with monkeypatch.context() as patch:
        patch.setattr(shadowing, "add_scores", down)
        host.look()
    assert host.progress(key)[:2] == (9, 0), "it is there to be scored"
    host.look()
    assert host.progress(key)[:2] == (15, 0), "it is scored after all"
    segment.path.unlink()
    host.shadow = host.new_shadow()
    host.look()
    assert host.progress(key)[:2] == (15, 0)

    host.writer = SpoolWriter(host.spool, 1 << 20)
    host.decide(one, golden_rows(one)[:5])
    host.writer.close()
    while shipper.ship():
        pass
    for _ in range(2):
        host.look()
        assert host.progress(key)[:2] == (15, 5)
        host.shadow = host.new_shadow()


def test_who_is_in_shadow_no_more_is_not_waited_for_and_not_scored(host: Host) -> None:
    one, two = version(host, "1"), version(host, "2")
    key = host.challenge(two)
    host.decide(one, golden_rows(one)[:3])
    host.follow()
    host.challengers.clear()
    host.decide(one, golden_rows(one)[:3])
    assert host.look() == 0
    assert read_places(host.state_dir) == {}
    assert host.progress(key)[:2] == (3, 0)


def down(*_: Any) -> bool:
    raise DatabaseDown("no route")


def author_of(host: Host, key: Key) -> Author:
    return host.shadow._followed[key].author


def delete_unread(host: Host, key: Key) -> Any:
    def may_delete(segment: Segment, _: int) -> bool:
        add_lost(host.state_dir, segment, [key])
        return True

    return may_delete
