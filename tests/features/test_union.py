"""A canary with other features: one lookup serves both, and what only it misses degrades only it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scoreline.core.arms import Guard
from scoreline.core.batch import Context
from scoreline.core.decision import Decision
from scoreline.core.errors import StoreDown
from scoreline.core.marks import Marks
from scoreline.core.ports import FeatureRow, Score
from scoreline.core.rows import read_rows
from scoreline.engines.load import load_engine
from scoreline.features.known import Known
from scoreline.features.ladder import Ladder
from scoreline.operations.standing import Model, Opened, stand
from scoreline.operations.state import Assignment, Canary, Pin
from service import SealedModel
from stored import DEFAULTS, NOW_NS, seal_stored

from .serving import ROW, expected

TRIPS = {"source": "store", "default": 4.5, "view": "trips", "feature": "n", "max_age_s": 60}
CUSTOMER = FeatureRow("anna", NOW_NS, {"visits": 31})
RATIO = FeatureRow("anna", NOW_NS, {"r": 0.75})


class Shelf:
    """A store in memory that counts its lookups."""

    def __init__(self, **views: FeatureRow) -> None:
        self.views = views
        self.asked: list[list[str]] = []
        self.down = False

    def get(self, views: Any, entities: Any) -> Any:
        return [[self.views.get(view) for view in views] for _ in entities]

    async def aget(self, views: Any, entities: Any) -> Any:
        if self.down:
            raise StoreDown("down")
        self.asked.append(list(views))
        return self.get(views, entities)

    async def aclose(self) -> None: ...


class Lease:
    until_ns = 2**63


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[SealedModel, SealedModel]:
    folder = tmp_path_factory.mktemp("risk")
    return seal_stored(folder), seal_stored(folder, "2", trips=TRIPS)


def standing(pair: tuple[SealedModel, SealedModel], share: float, *, pinned: bool = False) -> Model:
    """Both versions, of which the canary answers all or nothing, or is pinned."""
    opened = {model.manifest.digest: Opened(model.manifest, load_engine(model.bundle)) for model in pair}
    champion, other = (model.manifest for model in pair)
    assignment = Assignment(
        "1",
        champion.digest,
        canary=None if pinned else Canary("2", other.digest, share, "00"),
        pins=(Pin("2", other.digest, 2**62),) if pinned else (),
    )
    guard = Guard(Lease(), Marks(), lambda *_: None, lambda *_: None, b"k", lambda _: 10**12)
    return stand(assignment, opened.__getitem__, _plain, guard)


def _plain(score: Score) -> Score:
    return score


def ask(model: Model, shelf: Shelf, pin: str = "", *, twice: bool = False) -> Decision:
    """One row about anna; `twice`: once before the store goes down, and the second counts."""
    lookup = Ladder(shelf, Known(10), lambda: NOW_NS).looking(model.schema, 0.05)
    assert lookup is not None
    batch = read_rows(model.schema, [{**ROW, "customer": "anna"}], Context(1, pin=pin))

    async def filled() -> Any:
        found = await lookup.in_time(batch)
        shelf.down = twice
        return await lookup.in_time(batch) if twice else found

    (decision,) = model.score(asyncio.run(filled()))
    return decision


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_lookup_has_what_either_needs(pair: tuple[SealedModel, SealedModel], share: float) -> None:
    shelf = Shelf(customer=CUSTOMER, ratios=RATIO, trips=FeatureRow("anna", NOW_NS, {"n": 8.25}))
    decision = ask(standing(pair, share), shelf)
    assert shelf.asked == [["customer", "ratios", "trips"]]
    features = {**ROW, "visits": 31, "ratio": 0.75} | ({"trips": 8.25} if share else {})
    assert dict(decision.features) == features
    assert decision.scores[0] == expected(pair[int(share)], features)[0]
    assert (decision.defaulted, decision.degraded) == ((), ())


def test_whoever_is_pinned_to_it_gets_its_features(pair: tuple[SealedModel, SealedModel]) -> None:
    shelf = Shelf(customer=CUSTOMER, ratios=RATIO, trips=FeatureRow("anna", NOW_NS, {"n": 8.25}))
    model = standing(pair, 0.0, pinned=True)
    pinned, champion = ask(model, shelf, pair[1].manifest.digest), ask(model, shelf)
    assert (pinned.author.version, champion.author.version) == ("2", "1")
    assert pinned.features["trips"] == 8.25
    assert "trips" not in champion.features


@pytest.mark.parametrize("age_ns", [0, 61 * 10**9])
def test_what_only_the_canary_misses_degrades_only_the_canary(
    pair: tuple[SealedModel, SealedModel], age_ns: int
) -> None:
    trips = {"trips": FeatureRow("anna", NOW_NS - age_ns, {"n": 8.25})} if age_ns else {}
    champion, canary = (
        ask(standing(pair, share), Shelf(customer=CUSTOMER, ratios=RATIO, **trips)) for share in (0.0, 1.0)
    )
    assert (champion.defaulted, champion.degraded) == ((), ())
    assert canary.defaulted == ("trips",)
    assert canary.degraded == (("trips",) if age_ns else ())
    assert canary.scores[0] == expected(pair[1], {**ROW, "visits": 31, "ratio": 0.75, "trips": 4.5})[0]


def test_while_the_store_is_down_both_are_degraded_by_their_own_fields(pair: tuple[SealedModel, SealedModel]) -> None:
    champion, canary = (
        ask(standing(pair, share), Shelf(customer=CUSTOMER, ratios=RATIO), twice=True) for share in (0.0, 1.0)
    )
    assert champion.degraded == ("visits", "ratio")
    assert canary.degraded == ("visits", "ratio", "trips")
    assert champion.features["visits"] == canary.features["visits"] == 31, "it was looked up before"


def test_who_asks_for_the_version_by_its_number_is_read_by_its_own_schema(
    pair: tuple[SealedModel, SealedModel],
) -> None:
    model = standing(pair, 0.0)
    for version, sealed in zip(model.versions, pair, strict=True):
        assert version.score is not None
        schema = version.manifest.schema
        (decision,) = version.score(read_rows(schema, [{**ROW, "customer": "anna"}], Context(1)))
        defaults = {name: {**DEFAULTS, "trips": 4.5}[name] for name in schema.names[1:]}
        assert decision.scores[0] == expected(sealed, {**ROW, **defaults})[0]


def test_the_champion_alone_is_as_it_was(pair: tuple[SealedModel, SealedModel], tmp_path: Path) -> None:
    model = standing(pair[:1] * 2, 0.0)
    assert model.schema is model.manifest.schema
