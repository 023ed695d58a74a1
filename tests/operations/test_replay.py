"""One decision is replayed and explained apart, many here; what is wrong with a bundle is a verdict, not an end."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import AnyVerifier, misdirect, sealed_bundle
from recorded import decided, golden_rows, kept, program_that_dies, spooled
from scoreline.core.bundle import read_bundle
from scoreline.core.decision import Decisions
from scoreline.core.errors import ReplayRefused
from scoreline.engines.load import load_engine
from scoreline.operations import replay
from scoreline.operations.apart import Ended
from scoreline.operations.replay import backtest_many, explain_one, replay_many, replay_one
from scoreline.records.lookup import SpoolRecord
from scoreline.replay.explain import explain
from scoreline.replay.recompute import recompute

FRAUD = Path(__file__).parents[1] / "formats" / "bundle-1" / "fraud-1"


@pytest.fixture
def made(tmp_path: Path) -> Decisions:
    kept(FRAUD, tmp_path)
    return decided(FRAUD, golden_rows(FRAUD)[:1])[0]


def test_apart_gives_the_verdict_that_is_given_here(tmp_path: Path, made: Decisions) -> None:
    bundle = read_bundle(FRAUD, AnyVerifier())
    for found in (made, replace(made, margins=np.nextafter(made.margins, 9.0))):
        (here,) = recompute([found], lambda digest: bundle)
        assert replay_one(found, tmp_path) == here


def test_apart_gives_the_explanation_that_is_given_here(tmp_path: Path, made: Decisions) -> None:
    bundle = read_bundle(FRAUD, AnyVerifier())
    found = explain_one(made, tmp_path, adverse="lower", values=True)
    here = explain(made, bundle, load_engine(bundle), adverse="lower", values=True)
    assert found["contributions"] == here.contributions
    assert [reason["value"] for reason in found["reasons"]] == [reason.value for reason in here.reasons]
    assert found["id"] == here.id and json.dumps(found)


def test_without_the_bundle_the_verdict_is_missing_and_there_is_no_explanation(tmp_path: Path, made: Decisions) -> None:
    shutil.rmtree(tmp_path / "bundles")
    verdict = replay_one(made, tmp_path)
    assert (verdict.result, verdict.digest) == ("missing", made.author.digest)
    assert "scoreline pull" in verdict.note
    with pytest.raises(ReplayRefused, match="scoreline pull"):
        explain_one(made, tmp_path)


def test_a_bundle_that_ends_its_process_ends_nothing_else(
    tmp_path: Path, made: Decisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends it is put in place of the interpreter: no model file that still does is known."""
    monkeypatch.setattr(sys, "executable", str(program_that_dies(tmp_path)))
    verdict = replay_one(made, tmp_path)
    assert verdict.result == "refused" and "ended the process that loaded it (code -11)" in verdict.note
    with pytest.raises(ReplayRefused, match=r"ended the process that loaded it \(code -11\)"):
        explain_one(made, tmp_path)


def test_a_model_file_that_leads_astray_is_refused(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    (good,) = decided(path, golden_rows(path)[:1])
    misdirect(path)
    found = replace(good, author=replace(good.author, digest=kept(path, tmp_path)))
    assert "points beyond what it holds" in replay_one(found, tmp_path).note
    with pytest.raises(ReplayRefused, match="points beyond what it holds"):
        explain_one(found, tmp_path)


def test_a_bundle_that_was_swapped_is_refused(tmp_path: Path, made: Decisions) -> None:
    other = sealed_bundle(tmp_path / "other")
    folder = tmp_path / "bundles" / made.author.digest
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    verdict = replay_one(made, tmp_path)
    assert verdict.result == "refused" and "another bundle" in verdict.note
    (verdict,) = replay_many([made], tmp_path)
    assert verdict.result == "refused" and "another bundle" in verdict.note
    with pytest.raises(ReplayRefused, match="another bundle"):
        explain_one(made, tmp_path)


def test_what_takes_too_long_is_said_so(tmp_path: Path, made: Decisions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "run_apart", lambda *_, **__: Ended(None))
    assert "not over in time" in replay_one(made, tmp_path).note
    with pytest.raises(ReplayRefused, match="not over in time"):
        explain_one(made, tmp_path)


@pytest.mark.parametrize("answer", (b"", b"no json", b"[]", b"{}", b'{"id": 1}', b"\xff"))
def test_what_a_model_file_may_have_said_is_not_taken_for_a_verdict(
    tmp_path: Path, made: Decisions, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(replay, "run_apart", lambda *_, **__: Ended(0, answer=answer))
    assert replay_one(made, tmp_path).result == "refused"


def test_many_are_replayed_and_backtested_from_the_record(tmp_path: Path) -> None:
    digest = kept(FRAUD, tmp_path)
    made = spooled(tmp_path, decided(FRAUD, golden_rows(FRAUD)[:32], at_once=3))
    record = SpoolRecord(tmp_path / "spool")
    verdicts = list(replay_many(record.iterate(), tmp_path))
    assert [verdict.id for verdict in verdicts] == [decision.id for found in made for decision in found]
    assert {verdict.result for verdict in verdicts} == {"equal"}
    backtests = list(backtest_many(record.iterate("fraud"), tmp_path, digest))
    assert len(backtests) == 32
    assert all(one.scores == one.other_scores for one in backtests if one.comparable)
