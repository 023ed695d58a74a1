"""The gates: what is compatible by law, and what each refusal says."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scoreline.core.budget import Budget
from scoreline.core.errors import RolloutRefused, SchemaError
from scoreline.core.manifest import EngineSpec, Manifest
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.schema import Field, Schema
from scoreline.rollout.gates import ShadowEvidence, check_budget, check_compatible, check_shadow, refused_rows
from scoreline.rollout.policy import Policy

AGE = Field("age", "integer", unit="years", minimum=18, maximum=99)
BONUS = Field("bonus", "number", nullable=True, default=0.5, minimum=0, maximum=1)
KIND = Field("kind", "category", categories=("car", "van", "bus"))
SEEN = Field("seen", "boolean", source="store", default=False)
CHAMPION = Schema((AGE, BONUS, KIND, SEEN), "customer")


def with_fields(*fields: Field, entity: str = "customer") -> list[str]:
    return list(refused_rows(CHAMPION, Schema(fields, entity)))


@pytest.mark.parametrize(
    "fields",
    [
        (AGE, BONUS, KIND, SEEN),
        (SEEN, KIND, BONUS, AGE),
        (AGE, BONUS, KIND),
        (replace(AGE, type="number"), BONUS, KIND, SEEN),
        (replace(AGE, minimum=17.5, maximum=None), BONUS, KIND, SEEN),
        (replace(AGE, unit="", nullable=True, default=40), BONUS, KIND, SEEN),
        (AGE, replace(BONUS, default=math.nan), KIND, SEEN),
        (AGE, BONUS, replace(KIND, categories=("bus", "bike", "car", "van")), SEEN),
        (AGE, BONUS, replace(KIND, categories=("bike",), unseen="missing"), SEEN),
        (AGE, BONUS, KIND, replace(SEEN, source="request")),
        (AGE, BONUS, KIND, SEEN, Field("new", "number", default=1.0)),
        (AGE, BONUS, KIND, SEEN, Field("new", "number", default=1.0, source="store")),
    ],
)
def test_what_accepts_as_much_or_more_is_compatible(fields: tuple[Field, ...]) -> None:
    assert with_fields(*fields) == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ((BONUS, KIND), "field 'age' is not one of it, so rows that bring it would be refused"),
        (
            (replace(AGE, source="store", default=40), BONUS, KIND),
            "field 'age' comes from the store, so rows that bring it would be refused",
        ),
        ((AGE, replace(BONUS, type="integer", default=1), KIND), "field 'bonus' was number and is integer"),
        (
            (AGE, BONUS, KIND, replace(SEEN, default=math.nan, indispensable=True)),
            "field 'seen' becomes indispensable, so rows without it would be refused; give it a default",
        ),
        ((replace(AGE, unit="months"), BONUS, KIND), "field 'age' was in years and is in months"),
        ((AGE, replace(BONUS, nullable=False), KIND), "field 'bonus' may be null and no longer could"),
        (
            (AGE, replace(BONUS, default=None), KIND),
            "field 'bonus' may be left out and no longer could; give it a default",
        ),
        ((replace(AGE, minimum=18.5), BONUS, KIND), "field 'age' goes down to 18 and would to 18.5 only"),
        ((replace(AGE, maximum=65), BONUS, KIND), "field 'age' goes up to 99 and would to 65 only"),
        (
            (AGE, BONUS, replace(KIND, categories=("car",))),
            "field 'kind' no longer knows 2 of its categories ('van', 'bus')",
        ),
        (
            (AGE, BONUS, replace(KIND, categories=(1, 2))),
            "field 'kind' has texts for categories in one version and integers in the other",
        ),
        (
            (AGE, BONUS, KIND, Field("new", "number")),
            "field 'new' is new and required; give it a default, or take it from the store",
        ),
    ],
)
def test_what_accepts_less_is_refused_by_field_with_its_reason(fields: tuple[Field, ...], problem: str) -> None:
    assert with_fields(*fields) == [problem]


def test_unseen_categories_and_entities_stay_acceptable() -> None:
    before = Schema((replace(KIND, unseen="missing"),), "customer")
    assert list(refused_rows(before, Schema((KIND,), "customer"))) == [
        "field 'kind' takes unseen categories as missing and would refuse them"
    ]
    assert with_fields(AGE, BONUS, KIND, entity="") == [
        "rows say with 'customer' whom they are about, which it does not know"
    ]
    assert list(refused_rows(Schema((KIND,)), Schema((KIND,), "customer"))) == []


def test_whole_numbers_are_held_against_whole_numbers() -> None:
    before = Schema((replace(AGE, minimum=17.5, maximum=99.9),))
    assert list(refused_rows(before, Schema((replace(AGE, minimum=18, maximum=99),)))) == []


@st.composite
def some_field(draw: st.DrawFn, name: str) -> Field:
    kind = draw(st.sampled_from(("number", "integer", "category", "category", "boolean")))
    given: dict[str, Any] = {"nullable": draw(st.booleans())}
    if kind == "category":
        words: Any = draw(st.sampled_from((("a", "b", "c"), (1, 2, 3))))
        given["categories"] = tuple(draw(st.lists(st.sampled_from(words), min_size=1, max_size=3, unique=True)))
        given["unseen"] = draw(st.sampled_from(("refuse", "missing")))
        defaults = st.sampled_from(given["categories"])
    elif kind == "boolean":
        defaults = st.booleans()
    else:
        given["minimum"] = draw(st.none() | st.sampled_from((-1.0, 0.0, 0.5)))
        given["maximum"] = draw(st.none() | st.sampled_from((1.0, 2.5, 1e300)))
        defaults = st.just(1)
    given["default"] = draw(st.none() | st.just(math.nan) | defaults)
    given["source"] = "request" if given["default"] is None else draw(st.sampled_from(("request", "store")))
    return Field(name, kind, **given)


@st.composite
def some_schema(draw: st.DrawFn) -> Schema:
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    try:
        return Schema(tuple(draw(some_field(name)) for name in names), draw(st.sampled_from(("", "e"))))
    except SchemaError:
        assume(False)
        raise


VALUES = (
    *(None, True, False, "a", "b", "c", "z", 1, 2, 3, 9),
    *(-1.0, 0.0, 0.5, 1.0, 2.0, 2.5, -0.5, 1.5, 2**53, -(2**53), 3e38, -3e38),
)
ROWS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(VALUES), max_size=3)


@given(some_schema(), some_schema(), st.lists(ROWS, min_size=1, max_size=20), st.booleans())
def test_a_compatible_challenger_accepts_every_row_the_champion_accepts(
    champion: Schema, challenger: Schema, rows: list[dict[str, Any]], same: bool
) -> None:
    if same:  # most pairs of schemas have little in common: start from the champion's fields
        left = [field for field in challenger.fields if field.name not in champion.index]
        challenger = Schema((*champion.fields, *left), challenger.entity)
    if list(refused_rows(champion, challenger)):
        return
    for row in rows:
        told = {**row, champion.entity: "someone"} if champion.entity else row
        if not champion.row(told)[2]:
            assert challenger.row(told)[2] == []


def witness(field: Field) -> list[object]:
    """Values at the edges of what a field accepts."""
    return [value for value in (*VALUES, *field.bounds, *field.categories) if not field.read(value)[1]]


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(some_field("a"), some_field("a"))
def test_what_is_refused_without_words_of_type_or_unit_has_a_row_that_shows_it(before: Field, after: Field) -> None:
    """The gate refuses nothing that would do: but for changed types, some row is accepted by one and not the other."""
    assume(before.type == after.type and before.source == "request")
    problems = list(refused_rows(Schema((before,)), Schema((after,))))
    rows: list[dict[str, object]] = [{}, *({"a": value} for value in witness(before))]
    shown = [row for row in rows if not Schema((before,)).row(row)[2] and Schema((after,)).row(row)[2]]
    assert bool(problems) == bool(shown)


def manifest(**changed: Any) -> Manifest:
    files = {"model.ubj": "0" * 64}
    policy = ThresholdPolicy(("accept", "review", "decline"), (0.3, 0.7))
    given: dict[str, Any] = {"name": "m", "version": "2", "output": "score", "link": "sigmoid", "outputs": 1}
    given |= {"schema": CHAMPION, "engines": (EngineSpec("xgboost", "model.ubj"),), "files": files, "policy": policy}
    return Manifest(**given | changed)


def test_outputs_classes_and_outcomes_are_those_callers_know() -> None:
    check_compatible(manifest(), manifest(version="3"))
    check_compatible(manifest(), manifest(policy=ThresholdPolicy(("accept", "decline"), (0.5,))))
    with pytest.raises(RolloutRefused) as refused:
        check_compatible(
            manifest(version="1"),
            manifest(
                name="n",
                output="risk",
                schema=Schema((BONUS, KIND), "customer"),
                policy=ThresholdPolicy(("accept", "ask", "stop"), (0.3, 0.7)),
            ),
        )
    assert str(refused.value) == (
        "version 2 cannot answer for version 1; seal it so that it can: its model 'n' should be 'm'; "
        "its output 'risk' should be 'score'; outcomes 'ask', 'stop' are new to those who ask; "
        "field 'age' is not one of it, so rows that bring it would be refused"
    )
    for policy in (ThresholdPolicy(), manifest().policy):
        other = ThresholdPolicy() if policy.outcomes else manifest().policy
        with pytest.raises(RolloutRefused, match="only one of the two has outcomes"):
            check_compatible(manifest(policy=policy), manifest(policy=other))
    classes = {"outputs": 2, "link": "softmax", "policy": ThresholdPolicy()}
    with pytest.raises(RolloutRefused, match=r"its classes \['b', 'a'\] should be \['a', 'b'\]"):
        check_compatible(manifest(classes=("a", "b"), **classes), manifest(classes=("b", "a"), **classes))


def test_a_version_over_its_share_of_the_time_is_refused_with_figures() -> None:
    check_budget("2", 140.0, Budget())
    with pytest.raises(RolloutRefused) as refused:
        check_budget("2", 187.25, Budget())
    assert str(refused.value) == (
        "version 2: p99 of 187.2 ms is over the model's 140 ms (200 ms less 50 for the network and 10 for features); "
        "make it faster, or set latency.model_ms"
    )
    for unknown in (None, math.nan, math.inf):
        with pytest.raises(RolloutRefused, match="its time is not measured; let it run in shadow first"):
            check_budget("2", unknown, Budget())


@pytest.mark.parametrize(
    ("gate", "seen", "words"),
    [
        ("outcomes", ShadowEvidence(), "not proven SAFE within 0.005: e-value 1 of 100 after 0 outcomes"),
        ("outcomes", ShadowEvidence(rows=10**6, pairs=700, e_safe=99.0), "e-value 99 of 100 after 700 outcomes"),
        ("outcomes", ShadowEvidence(pairs=700, e_safe=100.0), ""),
        ("outcomes", ShadowEvidence(pairs=700, e_better=100.0), ""),
        ("outcomes", ShadowEvidence(pairs=700, e_safe=100.0, e_worse=100.0), "version 2 is WORSE on outcomes"),
        ("outcomes", ShadowEvidence(e_safe=math.nan), "not proven SAFE"),
        ("outcomes", ShadowEvidence(rows=950, unscored=50, pairs=700, e_safe=100.0), ""),
        (
            "outcomes",
            ShadowEvidence(rows=666, unscored=334, pairs=600, e_safe=1e9),
            r"has no score for 334 of the champion's 1000 rows \(33.4 %, at most 5 %\)",
        ),
        ("agreement", ShadowEvidence(rows=900, unscored=100), r"no score for 100 .* \(10 %, at most 5 %\)"),
        ("none", ShadowEvidence(rows=1, unscored=1), ""),
        ("agreement", ShadowEvidence(rows=499), "on 499 of 500 rows; wait"),
        ("agreement", ShadowEvidence(rows=500), ""),
        ("agreement", ShadowEvidence(rows=500, e_worse=1e9), "WORSE"),
        ("none", ShadowEvidence(), ""),
        ("none", ShadowEvidence(e_worse=1e9), "WORSE"),
    ],
)
def test_a_version_leaves_shadow_by_what_the_policy_asks_for_and_never_when_worse(
    gate: str, seen: ShadowEvidence, words: str
) -> None:
    policy = Policy(shadow_gate=gate)
    if not words:
        check_shadow("2", seen, policy)
        return
    with pytest.raises(RolloutRefused, match=words):
        check_shadow("2", seen, policy)


def test_a_feature_of_the_same_name_stays_where_it_is_looked_up() -> None:
    def problems(champion: Schema, **changed: str) -> list[str]:
        return list(refused_rows(champion, Schema((AGE, replace(SEEN, **changed)), "customer")))

    champion = Schema((AGE, SEEN), "customer")
    assert problems(champion) == problems(champion, view="customer", feature="seen") == []
    for changed in ({"view": "policy"}, {"feature": "seen_before"}):
        assert problems(champion, **changed) == [
            "field 'seen' would be looked up elsewhere than before; give it another name"
        ]
    assert problems(Schema((AGE, SEEN)), view="policy") == [], "without an entity nothing was looked up before"
