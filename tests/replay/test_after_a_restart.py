"""Every sample model there is: what one process decided, another computes again, all of it equal."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from formats.test_bundle_1 import FOLDERS
from models import keys
from recorded import decided, golden_rows, kept, spooled
from sample_models import SAMPLES, Make, schema_of
from scoreline.sealing import seal
from service import run_scoreline

FORMATS = Path(__file__).parents[1] / "formats"


def replayed_elsewhere(state_dir: Path) -> list[dict[str, Any]]:
    ended = run_scoreline("replay", "--all", "--json", "--state-dir", state_dir, cwd=state_dir)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def check(state_dir: Path, bundles: list[Path]) -> None:
    made = []
    for at, bundle in enumerate(bundles):
        kept(bundle, state_dir)
        made += decided(bundle, golden_rows(bundle), at_once=(1, 7, 64)[at % 3])
    spooled(state_dir, made)
    verdicts = replayed_elsewhere(state_dir)
    assert len(verdicts) == sum(map(len, made))
    assert Counter(verdict["result"] for verdict in verdicts) == {"equal": len(verdicts)}
    assert len({verdict["digest"] for verdict in verdicts}) == len(bundles)


def test_of_every_bundle_that_is_kept(tmp_path: Path) -> None:
    check(tmp_path, [FORMATS / folder / "fraud-1" for folder in FOLDERS.values()])


@pytest.mark.parametrize("models", SAMPLES.values(), ids=SAMPLES)
def test_of_every_kind_of_model(models: dict[str, Make], tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    bundles = []
    for at, make in enumerate(models.values()):
        model, rows = make()
        given = {"name": f"m{at}", "output": "score", "reference": rows, "key": private, "schema": schema_of(rows)}
        bundles.append(seal(model, out=tmp_path / f"m{at}-1", **given).path)
    check(tmp_path / "state", bundles)
