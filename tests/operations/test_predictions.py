"""A recorded decision as people see it: by name and value, and nothing that is sensitive."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from recorded import decided, golden_rows, kept, spooled
from scoreline.core import ids
from scoreline.core.decision import Decisions
from scoreline.core.errors import NotFound
from scoreline.operations import maturity
from scoreline.operations.maturity import LatestActual
from scoreline.operations.predictions import find, prediction
from scoreline.records.lookup import SpoolRecord, one_row
from scoreline.records.outcomes import Known, Report

FRAUD = Path(__file__).parents[1] / "formats" / "bundle-1" / "fraud-1"


@pytest.fixture
def made(tmp_path: Path) -> Decisions:
    """One decision: at, country sensitive, distance missing."""
    kept(FRAUD, tmp_path)
    row = np.array([[5000.0, 12.0, 3.0, 1.0, np.nan, 2.0]])
    (found,) = decided(FRAUD, row, caller="shop")
    return replace(found, defaulted={0: (1, 5)}, degraded={0: (5,)})


def test_everything_stands_by_name(tmp_path: Path, made: Decisions) -> None:
    found = asdict(prediction(made, tmp_path))
    (decision,) = made
    assert found["features"] == {
        "amount": 5000.0, "age_days": 12, "country": None, "repeat": True, "distance": None, "visits": 2.0,
    }  # fmt: skip
    assert type(found["features"]["age_days"]) is int and found["features"]["repeat"] is True
    assert found["masked"] == ("country",)
    assert found["margins"] == {"fraud_probability": decision.margins[0]}
    assert found["scores"] == {"fraud_probability": decision.scores[0]}
    assert (found["id"], found["outcome"], found["caller"]) == (decision.id, decision.outcome, "shop")
    assert (found["model"], found["version"], found["digest"]) == ("fraud", "1", made.author.digest)
    assert (found["role"], found["epoch"], found["engine"]) == ("champion", 0, made.author.engine)
    assert found["flags"] == {"defaulted": ("age_days", "visits"), "degraded": ("visits",)}
    assert found["time"].endswith("+00:00")
    json.dumps(found, allow_nan=False)


def test_without_its_bundle_nothing_says_what_may_be_shown(tmp_path: Path, made: Decisions) -> None:
    shutil.rmtree(tmp_path / "bundles")
    found = prediction(made, tmp_path)
    assert set(found.features.values()) == {None}
    assert found.masked == made.author.fields


def test_what_is_known_is_final_once_its_model_has_matured(
    tmp_path: Path, made: Decisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = [Report(b"", (b"", "", b"", 0), float(value), value, 5_000, "ops") for value in (1, 2_000)]
    known = Known(reports[1], reports[:1])
    day_ns = 86_400_000_000_000

    def after(days: float) -> LatestActual:
        shown = prediction(made, tmp_path, known, made.context.time_ns + int(days * day_ns))
        assert shown.actual is not None
        return shown.actual

    assert prediction(made, tmp_path).actual is None
    assert after(0).matured is True, "no maturity is declared"
    of = maturity.manifest_of
    monkeypatch.setattr(maturity, "manifest_of", lambda *given: replace(of(*given), maturity_s=30 * 86_400))
    assert [after(days).matured for days in (0, 29.9, 30, 99)] == [False, False, True, True]
    assert (after(0).value, after(0).observed_at) == (2_000.0, "1970-01-01T00:00:00.000002+00:00")
    assert [(one.value, one.received_at) for one in after(0).history] == [(1.0, "1970-01-01T00:00:00.000005+00:00")]
    json.dumps(asdict(after(0)), allow_nan=False)
    shutil.rmtree(tmp_path / "bundles")
    assert after(99).matured is None, "nobody here can say"


def test_a_record_that_was_altered_is_still_json(tmp_path: Path, made: Decisions) -> None:
    values = made.values.copy()
    values[0, 0] = np.inf
    odd = replace(made, values=values, margins=np.array([[np.nan]]), scores=np.array([[np.inf]]))
    found = asdict(prediction(odd, tmp_path))
    assert (found["features"]["amount"], found["margins"], found["scores"]) == (
        None, {"fraud_probability": None}, {"fraud_probability": None},
    )  # fmt: skip
    values[0, 2] = 99.0
    assert prediction(replace(made, values=values), tmp_path).masked == made.author.fields
    json.dumps(found, allow_nan=False)


def test_callers_find_their_own_and_cannot_tell_others_from_none(tmp_path: Path) -> None:
    mine, theirs = (decided(FRAUD, golden_rows(FRAUD)[:3], caller=caller, at_once=3) for caller in ("me", "them"))
    spooled(tmp_path, [*mine, *theirs])
    record = SpoolRecord(tmp_path / "spool")
    for number, given in enumerate(mine[0]):
        assert find(record, given.id, "me").base == mine[0].base | number
    said = set()
    for wanted, caller in ((theirs[0][0].id, "me"), (ids.text(1 << 70), "me"), ("no id", None)):
        with pytest.raises(NotFound) as refused:
            find(record, wanted, caller)
        said.add(str(refused.value))
    assert len(said) == 1
    assert find(record, theirs[0][0].id).base == one_row(theirs[0], 0).base
