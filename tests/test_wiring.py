"""What is assigned becomes what answers: a canary beside its champion, and engines are loaded once."""

import gc
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from models import opened, sealed_bundle, trust
from scoreline.core.arms import Guard
from scoreline.core.batch import Context
from scoreline.core.bundle import Bundle
from scoreline.core.decision import Author, Decisions
from scoreline.core.errors import BundleError, NotFound, QuoteLapsed
from scoreline.core.marks import Marks
from scoreline.core.ports import Score
from scoreline.core.rows import read_rows
from scoreline.operations.standing import Model
from scoreline.operations.state import Assignment, Canary, Challenged, Pin, State
from scoreline.wiring import open_state

FOREVER_NS = 2**63 - 1
SALT = "ab" * 16
ROW = {"a": 1.5, "b": 0.25, "c": 7}


class Lasting:
    """A lease that lasts until a test ends it."""

    until_ns = FOREVER_NS


class Host:
    """A state folder with bundles, and its models as they are opened one state after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state_dir = folder, folder / "state"
        self.recorded = 0
        self.lease = Lasting()
        self.models: dict[str, Model] = {}
        self.guard = Guard(self.lease, Marks(), _none_fails, lambda *_: None, b"", lambda _: 10**12)

    def install(self, version: str, **options: object) -> Bundle:
        path = sealed_bundle(self.folder, version=version, **options)  # type: ignore[arg-type]
        bundle = opened(path)
        shutil.copytree(path, self.state_dir / "bundles" / bundle.manifest.digest)
        return bundle

    def assign(self, assignment: Assignment) -> Model:
        state = State({"m": assignment}, default="m")
        self.models = open_state(state, self.state_dir, trust(self.folder), self._record, self.guard, self.models)
        return self.models["m"]

    def _record(self, score: Score) -> Score:
        self.recorded += 1
        return score


def _none_fails(author: Author, base: int, time_ns: int, kind: str, entities: Sequence[bytes]) -> None:
    raise AssertionError(f"version {author.version} {kind}")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def champion(host: Host) -> Assignment:
    manifest = host.install("1").manifest
    return Assignment("1", manifest.digest, epoch=3)


def beside(host: Host, champion: Assignment, version: str = "2", share: float = 1.0, **options: object) -> Assignment:
    """The champion with another version as its canary."""
    manifest = host.install(version, parameters={"eta": 0.7}, **options).manifest
    return replace(champion, canary=Canary(version, manifest.digest, share, SALT))


def answer(model: Model, pin: str = "") -> Decisions:
    return model.score(read_rows(model.manifest.schema, [ROW], Context(1, pin=pin)))


def roles(model: Model) -> list[tuple[str, str, float]]:
    return [(version.manifest.version, version.role, version.share) for version in model.versions]


def test_nothing_is_kept_from_being_freed_when_a_version_comes(host: Host, champion: Assignment) -> None:
    """What is open at that moment, connections too, would else stay for ever: ten thousand bytes for each version."""
    frozen = gc.get_freeze_count()
    host.assign(champion)
    assert gc.get_freeze_count() <= frozen


def test_a_champion_alone_is_only_its_scorer(host: Host, champion: Assignment) -> None:
    model = host.assign(champion)
    assert type(model.score).__name__ == "Scorer", "nothing lies between"
    assert roles(model) == [("1", "champion", 1.0)]
    assert answer(model).author.epoch == 3
    assert (host.recorded, model.authors, list(model.opened)) == (1, (), [champion.digest])


def test_a_canary_answers_its_share_while_there_is_a_lease(host: Host, champion: Assignment) -> None:
    model = host.assign(beside(host, champion))
    author = answer(model).author
    assert (author.version, author.role, author.epoch) == ("2", "canary", 3)
    assert roles(model) == [("1", "champion", 0.0), ("2", "canary", 1.0)]
    host.lease.until_ns = 0
    assert (answer(model).author.version, answer(model).author.role) == ("1", "lapsed")


def test_another_share_epoch_or_stage_loads_nothing(host: Host, champion: Assignment) -> None:
    staged = beside(host, champion, share=0.0)
    assert staged.canary
    first = host.assign(staged)
    shutil.rmtree(host.state_dir / "bundles")
    stages: list[tuple[Assignment, str]] = [
        (replace(staged, epoch=4, canary=replace(staged.canary, share=1.0)), "canary"),
        (replace(staged, epoch=5), "champion"),
        (Assignment("2", staged.canary.digest, epoch=6), "champion"),
    ]
    for assignment, role in stages:
        model = host.assign(assignment)
        assert (answer(model).author.role, answer(model).author.epoch) == (role, assignment.epoch)
        assert all(model.opened[digest].engine is first.opened[digest].engine for digest in model.opened)
    assert answer(model).author.version == "2"
    assert list(model.opened) == [staged.canary.digest], "nothing keeps the other engine"


def test_what_stays_as_it_is_assigned_stays_as_it_is(host: Host, champion: Assignment) -> None:
    staged = beside(host, champion)
    assert host.assign(staged) is host.assign(replace(staged))


def test_who_is_in_shadow_changes_nothing_of_what_answers(host: Host, champion: Assignment) -> None:
    model = host.assign(champion)
    shutil.rmtree(host.state_dir / "bundles")
    assert host.assign(replace(champion, challengers=(Challenged("2", "c" * 64, 4),))) is model
    assert host.assign(champion) is model
    assert host.recorded == 1


def spoilt(host: Host, assignment: Assignment) -> None:
    assert assignment.canary
    (host.state_dir / "bundles" / assignment.canary.digest / "model.ubj").write_bytes(b"")


def gone(host: Host, assignment: Assignment) -> None:
    assert assignment.canary
    shutil.rmtree(host.state_dir / "bundles" / assignment.canary.digest)


@pytest.mark.parametrize("harm", (spoilt, gone))
def test_a_canary_that_cannot_be_loaded_leaves_the_champion(
    host: Host, champion: Assignment, harm: Callable[[Host, Assignment], None], caplog: pytest.LogCaptureFixture
) -> None:
    staged = beside(host, champion)
    harm(host, staged)
    with caplog.at_level(logging.ERROR):
        model = host.assign(staged)
    assert (answer(model).author.role, roles(model)) == ("champion", [("1", "champion", 1.0)])
    assert "version 2 of m goes without: " in caplog.text
    assert "Traceback" not in caplog.text


def test_a_canary_whose_answers_have_another_form_leaves_the_champion(
    host: Host, champion: Assignment, caplog: pytest.LogCaptureFixture
) -> None:
    model = host.assign(beside(host, champion, thresholds={"decline": 0.5}))
    assert answer(model).author.role == "champion"
    assert "another form than the champion's" in caplog.text


def test_a_champion_that_cannot_be_loaded_is_told(host: Host, champion: Assignment) -> None:
    shutil.rmtree(host.state_dir / "bundles" / champion.digest)
    with pytest.raises((BundleError, NotFound)):
        host.assign(champion)


def test_who_asks_for_a_version_gets_it_and_counts_for_neither_arm(host: Host, champion: Assignment) -> None:
    staged = beside(host, champion)
    assert staged.canary
    model = host.assign(staged)
    for version, digest in zip(model.versions, (champion.digest, staged.canary.digest), strict=True):
        assert version.score
        by_number = version.score(read_rows(version.manifest.schema, [ROW], Context(1))).author
        by_pin = answer(model, pin=digest).author
        assert by_number == by_pin
        assert (by_pin.version, by_pin.role) == (version.manifest.version, "pinned")
        assert by_pin in model.authors
    host.lease.until_ns = 0
    with pytest.raises(QuoteLapsed, match="ask for a new quote"):
        answer(model, pin=staged.canary.digest)
    with pytest.raises(NotFound, match="this version of the model is not served here"):
        model.versions[1].score(read_rows(model.manifest.schema, [ROW], Context(1)))  # type: ignore[misc]
    assert answer(model, pin=champion.digest).author.role == "pinned"


def test_a_version_kept_for_pins_answers_those_and_nobody_else(host: Host, champion: Assignment) -> None:
    old = host.install("0", parameters={"eta": 0.9}).manifest
    model = host.assign(replace(champion, pins=(Pin("0", old.digest, FOREVER_NS), Pin("1", champion.digest, 9))))
    host.lease.until_ns = 0
    assert answer(model).author.role == "champion"
    author = answer(model, pin=old.digest).author
    assert (author.version, author.role) == ("0", "pinned")
    assert roles(model) == [("1", "champion", 1.0), ("0", "pinned", 0.0)]
    assert [version.score for version in model.versions] == [None, None], "by its number nobody gets it"


def test_a_canary_that_is_pinned_too_needs_no_lease_for_that(host: Host, champion: Assignment) -> None:
    staged = beside(host, champion)
    assert staged.canary
    model = host.assign(replace(staged, pins=(Pin("2", staged.canary.digest, FOREVER_NS),)))
    host.lease.until_ns = 0
    assert answer(model, pin=staged.canary.digest).author.version == "2"
    assert roles(model) == [("1", "champion", 0.0), ("2", "canary", 1.0)]
