"""A training set: features under their own names in their own types, our columns beside them, nothing guessed."""

import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recorded import kept
from scoreline.core import ids
from scoreline.core.decision import Author
from scoreline.core.manifest import Manifest
from scoreline.core.schema import Field, Schema
from scoreline.operations.bundles import manifest_of
from scoreline.operations.decisions import Seen
from scoreline.operations.maturity import Manifests
from scoreline.operations.training import TrainingSet
from scoreline.records.outcomes import Report
from scoreline.records.rows import Row

FRAUD = Path(__file__).parents[1] / "formats" / "bundle-1" / "fraud-1"
OURS = ["prediction_id", "time", "model", "version"]
NOW_NS = 1_800_000_000_123_456_789


class Bundles(Manifests):
    """Manifests of schemas made up here, without bundles."""

    def __init__(self, state_dir: Path) -> None:
        self._of = manifest_of(state_dir, kept(FRAUD, state_dir))
        self.known: dict[str, Manifest] = {}

    def made(self, version: str, *fields: Field, here: bool = True, **more: Any) -> Author:
        manifest = replace(self._of, version=version, schema=Schema(fields))
        if here:
            self.known[version] = manifest
        facts = {"output": "p", "classes": (), "outcomes": ("approve", "decline")} | more
        return Author("fraud", version, version * 64, "engine 1", manifest.schema.names, **facts)

    def of(self, author: Author) -> Manifest | None:
        return self.known.get(author.version)


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(tmp_path)


def raw(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


def seen(author: Author, *values: float, number: int = 0, scores: Any = (0.25,), label: Any = None) -> Seen:
    id_ = (NOW_NS // 1_000_000 << 80 | 7 << 76 | 2 << 62 | number << 20).to_bytes(16, "big")
    row = Row(id_, NOW_NS, b"", "", "", "", raw(*values), raw(0.0), raw(*scores), 1, b"", b"", 0)
    report = None if label is None else Report(b"", (id_, "", b"", 0), label, NOW_NS + 1_000_000, NOW_NS, "ops")
    return Seen(row, author, report, "unknown" if label is None else "matured")


def rows(made: TrainingSet, *page: Seen) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made.batch(page).to_pylist()
    return found


def training(bundles: Bundles, *authors: Author, sensitive: bool = False, text_labels: bool = False) -> TrainingSet:
    return TrainingSet(authors, bundles, sensitive=sensitive, text_labels=text_labels)


AMOUNT = Field("amount", "number")
AGE = Field("age", "integer", nullable=True)
MEMBER = Field("member", "boolean", nullable=True)
PLAN = Field("plan", "category", categories=("basic", "pro"), nullable=True)
LEVEL = Field("level", "category", categories=(10, 20), nullable=True)
NAME = Field("name", "category", categories=("x", "y"), sensitive=True)


def test_features_have_their_own_names_and_types_and_missing_ones_are_null(bundles: Bundles) -> None:
    author = bundles.made("1", AMOUNT, AGE, MEMBER, PLAN, LEVEL)
    made = training(bundles, author)
    assert made.schema.names == [
        *OURS, "amount", "age", "member", "plan", "level",
        "score", "decision", "label", "label_observed_at", "label_status",
    ]  # fmt: skip
    whole, missing = rows(made, seen(author, 1.5, 30, 1, 1, 0, label=1.0), seen(author, 0.1, *[math.nan] * 4, number=1))
    assert whole["prediction_id"] == ids.text(NOW_NS // 1_000_000 << 80 | 7 << 76 | 2 << 62)
    features = {name: whole[name] for name in ("amount", "age", "member", "plan", "level")}
    assert features == {"amount": 1.5, "age": 30, "member": True, "plan": "pro", "level": 10}
    assert [type(value) for value in features.values()] == [float, int, bool, str, int]
    assert (whole["model"], whole["version"], whole["score"], whole["decision"]) == ("fraud", "1", 0.25, "decline")
    assert (whole["label"], whole["label_status"]) == (1.0, "matured")
    assert (whole["label_observed_at"] - whole["time"]).total_seconds() == 0.001
    assert [missing[name] for name in ("age", "member", "plan", "level", "label", "label_observed_at")] == [None] * 6
    assert missing["label_status"] == "unknown"


def test_our_columns_give_way_to_fields_of_their_names(bundles: Bundles) -> None:
    names = ("score", "label", "time", "scoreline_label")
    author = bundles.made("1", *(Field(name, "number") for name in names), replace(NAME, name="model"))
    made = training(bundles, author)
    assert made.schema.names == [
        "prediction_id", "scoreline_time", "scoreline_model", "version", *names,
        "scoreline_score", "decision", "scoreline_scoreline_label", "label_observed_at", "label_status",
    ]  # fmt: skip
    (row,) = rows(made, seen(author, 1, 2, 3, 4, 0, label=9.0))
    assert [row[name] for name in names] == [1, 2, 3, 4]
    assert (row["scoreline_score"], row["scoreline_scoreline_label"], row["scoreline_model"]) == (0.25, 9.0, "fraud")
    whole = training(bundles, author, sensitive=True)
    assert set(whole.schema.names) - set(made.schema.names) == {"model"}, "the other names are as they were"


def test_sensitive_fields_are_left_out_unless_asked_for_in_every_version(bundles: Bundles) -> None:
    one, other = bundles.made("1", AMOUNT, replace(NAME, sensitive=False)), bundles.made("2", AMOUNT, NAME)
    made = training(bundles, one, other)
    assert made.left_out == ("name",) and "name" not in made.schema.names
    assert training(bundles, one).left_out == ()
    (row,) = rows(training(bundles, one, other, sensitive=True), seen(other, 1, 1))
    assert row["name"] == "y"


def test_fields_of_several_versions_stand_side_by_side_in_the_order_of_the_rows(bundles: Bundles) -> None:
    one = bundles.made("1", AMOUNT, AGE, replace(PLAN, name="what"))
    other = bundles.made("2", replace(AGE, type="number"), replace(MEMBER, name="what"), PLAN)
    made = training(bundles, one, other)
    assert made.schema.names[4:8] == ["age", "what", "plan", "amount"], "the newest version's first"
    assert [made.schema.field(name).type for name in ("age", "what")] == [pa.float64(), pa.string()]
    page = [seen(one, 1, 2, 1, number=0), seen(other, 2.5, 1, 0, number=1), seen(one, 3, 4, 0, number=2)]
    found = rows(made, *page)
    assert [row["age"] for row in found] == [2.0, 2.5, 4.0]
    assert [row["what"] for row in found] == ["pro", "true", "basic"]
    assert [row["plan"] for row in found] == [None, "basic", None]
    assert [row["amount"] for row in found] == [1.0, None, 3.0]
    assert [row["version"] for row in found] == ["1", "2", "1"]


def test_without_its_bundle_nothing_says_what_may_be_exported(bundles: Bundles) -> None:
    author = bundles.made("1", AMOUNT, PLAN, NAME, here=False)
    made = training(bundles, author)
    assert (made.unknown, set(made.schema.names) & {"amount", "plan", "name"}) == (("1",), set())
    (row,) = rows(training(bundles, author, sensitive=True), seen(author, 1.5, 1, 0))
    assert (row["amount"], row["plan"], row["name"]) == (1.5, 1.0, 0.0), "codes of categories"


def test_classes_have_a_score_each_and_texts_as_labels(bundles: Bundles) -> None:
    author = bundles.made("1", AMOUNT, classes=("gold", "iron"), outcomes=("gold", "iron"))
    made = training(bundles, author)
    assert "score" not in made.schema.names
    one, other = rows(
        made, seen(author, 1, scores=(0.9, 0.1), label="iron"), seen(author, 1, scores=(0.5, 0.5), label=2.0)
    )
    assert (one["score_gold"], one["score_iron"], one["decision"], one["label"]) == (0.9, 0.1, "iron", "iron")
    assert other["label"] == "2"


def test_a_label_is_a_text_where_any_of_the_model_is(bundles: Bundles) -> None:
    author = bundles.made("1", AMOUNT)
    texts = rows(training(bundles, author, text_labels=True), *(seen(author, 1, label=one) for one in (1.0, 0.5, "x")))
    assert [row["label"] for row in texts] == ["1", "0.5", "x"]
    (late,) = rows(training(bundles, author), seen(author, 1, label="came meanwhile"))
    assert late["label"] is None


def test_a_record_that_was_altered_is_still_a_row(bundles: Bundles) -> None:
    author = bundles.made("1", AMOUNT, AGE, PLAN)
    made = training(bundles, author)
    odd = seen(author, math.inf, 1e300, 77, scores=(math.nan,))
    short = odd._replace(row=odd.row._replace(values=b"1234", scores=b"", outcome=9))
    for row in rows(made, odd, short):
        assert [row[name] for name in ("amount", "age", "plan", "score")] == [None] * 4
    assert rows(made, short)[0]["decision"] is None
