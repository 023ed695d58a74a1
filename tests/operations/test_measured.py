"""How long a bundle takes is measured apart; what goes wrong there goes wrong there only."""

import sys
from pathlib import Path

import pytest

from models import opened, sealed_bundle
from recorded import program_that_dies
from scoreline.core.bundle import Bundle
from scoreline.core.errors import BundleError
from scoreline.operations import measured
from scoreline.operations.apart import Ended
from scoreline.operations.measured import ROWS, measure


def test_a_bundle_is_measured_row_by_row_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    found = measure(path, opened(path).manifest.digest)
    assert found.rows == ROWS
    assert 0 < found.p50_ms <= found.p99_ms < 1000


def test_golden_and_random_rows_by_turns(tmp_path: Path) -> None:
    bundle = opened(sealed_bundle(tmp_path))
    rows = list(measured._rows(bundle))
    assert {row.shape for row in rows} == {(1, 3)}
    golden = bundle.golden.values
    assert all(row.tobytes() == golden[place % len(golden)].tobytes() for place, row in enumerate(rows[::2]))
    assert len({row.tobytes() for row in rows[1::2]}) > len(rows) // 3


def test_a_slow_model_is_measured_on_the_rows_there_was_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "LASTS_S", -1.0)
    found = measured._measure(opened(sealed_bundle(tmp_path)))
    assert found.rows == 1 and found.p50_ms == found.p99_ms > 0


def test_a_bundle_that_ends_its_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sealed_bundle(tmp_path)
    monkeypatch.setattr(sys, "executable", str(program_that_dies(tmp_path)))
    with pytest.raises(BundleError, match=r"ended the process that measured it \(code -11\)"):
        measure(path, opened(path).manifest.digest)


def test_another_bundle_than_the_one_named_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="another bundle than the one to try"):
        measure(sealed_bundle(tmp_path), "0" * 64)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Ended(None), "not over in time"),
        (Ended(0, b"what"), "cannot be read"),
        (Ended(0, b'{"rows": 1}'), "cannot be read"),
        (Ended(0, b'{"rows": 1, "p50_ms": 1, "p99_ms": NaN}'), "no time"),
        (Ended(0, b'{"rows": 1, "p50_ms": 1, "p99_ms": -1}'), "no time"),
        (Ended(0, b'{"rows": true, "p50_ms": 1, "p99_ms": 1}'), "no time"),
    ],
)
def test_what_is_no_measurement_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: Ended, said: str
) -> None:
    monkeypatch.setattr(measured, "run_apart", lambda *_, **__: ended)
    path = sealed_bundle(tmp_path)
    with pytest.raises(BundleError, match=said):
        measure(path, "0" * 64)
    assert isinstance(opened(path), Bundle)
