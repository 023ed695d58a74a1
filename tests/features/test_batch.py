"""Files get their features in bulk: from columns where they bring some, else from the store, by whom a row is about."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scoreline.core.errors import StoreDown
from scoreline.core.scorer import Scorer
from scoreline.doors.batch import run_batch
from scoreline.engines.load import load_engine
from scoreline.features.known import Known
from scoreline.features.ladder import Ladder
from scoreline.features.redis import RedisStore
from scoreline.features.sqlite import SqliteStore
from service import SealedModel, run_scoreline
from stored import DAY_NS, DEFAULTS, NOW_NS, rows_of, seal_stored

from .serving import N, expected, features_of

ROWS = 5000  # of them every 50th about somebody the store does not know


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> SealedModel:
    return seal_stored(tmp_path_factory.mktemp("risk"))


def asked() -> pd.DataFrame:
    people = [f"c{at % N}" if at % 50 else "nobody" for at in range(ROWS)]
    return pd.DataFrame({"customer": people, "amount": [float(at % 1000) for at in range(ROWS)]})


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def wanted_of(model: SealedModel) -> list[float]:
    rows = []
    for at in range(ROWS):
        features = features_of(at % N) if at % 50 else DEFAULTS
        rows.append({"amount": float(at % 1000), **features})
    return expected(model, *rows)


def job(model: SealedModel, store: Any, source: Path, target: Path, **options: Any) -> Any:
    bundle = model.bundle
    lookup = Ladder(store, Known(0)).looking(bundle.manifest.schema)
    score = Scorer(bundle.manifest, load_engine(bundle))
    return run_batch(score, bundle.manifest, source, target, lookup=lookup, **options)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_every_row_is_scored_with_the_features_of_whom_it_is_about(
    kind: str, suffix: str, stored: SealedModel, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store: Any = SqliteStore(tmp_path / "features.db")
    if kind == "redis":
        store = RedisStore(request.getfixturevalue("redis_store").url)
    for view, rows in rows_of(N).items():
        store.put(view, rows)
    source, target = write(asked(), tmp_path / f"in{suffix}"), tmp_path / "out.parquet"
    report = job(stored, store, source, target, rows_per_chunk=999, rows_per_part=2000, keep=("amount",))
    assert (report.scored, report.rejected) == (ROWS, 0)
    found = pd.read_parquet(target)
    assert found["risk"].tolist() == wanted_of(stored)
    assert found["defaulted"].tolist() == ["" if at % 50 else "visits,ratio" for at in range(ROWS)]
    assert set(found["degraded"]) == {""}


def test_a_column_of_the_file_goes_before_the_store(stored: SealedModel, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "features.db")
    for view, rows in rows_of(N).items():
        store.put(view, rows)
    frame = asked().assign(visits=11)
    job(stored, store, write(frame, tmp_path / "in.parquet"), tmp_path / "out.parquet")
    rows = []
    for at in range(ROWS):
        ratio = features_of(at % N)["ratio"] if at % 50 else DEFAULTS["ratio"]
        rows.append({"amount": float(at % 1000), "visits": 11, "ratio": ratio})
    assert pd.read_parquet(tmp_path / "out.parquet")["risk"].tolist() == expected(stored, *rows)


def test_a_job_waits_for_a_store_that_is_down_rather_than_score_from_defaults(
    stored: SealedModel, redis: Any, tmp_path: Path
) -> None:
    store = RedisStore(redis.url)
    for view, rows in rows_of(N).items():
        store.put(view, rows)
    source, target = write(asked(), tmp_path / "in.parquet"), tmp_path / "out.parquet"
    sizes = {"rows_per_chunk": 500, "rows_per_part": 500}

    def kill_it(reached: Any) -> None:
        if 1000 <= reached.rows_done < ROWS:
            redis.kill()

    with pytest.raises(StoreDown):
        job(stored, store, source, target, progress=kill_it, **sizes)
    assert not target.exists()
    redis.start()
    report = job(stored, store, source, target, **sizes)
    assert report.resumed_rows >= 1000
    assert pd.read_parquet(target)["risk"].tolist() == wanted_of(stored)


def test_rows_without_an_indispensable_feature_are_rejected_with_the_reason(tmp_path: Path) -> None:
    model = seal_stored(tmp_path, need={"source": "store", "indispensable": True, "max_age_s": 3600})
    store = SqliteStore(tmp_path / "features.db")
    bundle = model.bundle
    store.put("customer", [row._replace(values={"visits": 1, "need": 2.0}) for row in rows_of(3)["customer"]])
    old = rows_of(4, NOW_NS - DAY_NS)["customer"][-1]
    store.put("customer", [old._replace(values={"visits": 1, "need": 2.0})])
    people = ["c0", "c3", "c9", None]
    source = write(pd.DataFrame({"customer": people, "amount": 1.0}), tmp_path / "in.jsonl")
    lookup = Ladder(store, Known(0), lambda: NOW_NS).looking(bundle.manifest.schema)
    score = Scorer(bundle.manifest, load_engine(bundle))
    report = run_batch(score, bundle.manifest, source, tmp_path / "out.csv", lookup=lookup)
    assert (report.scored, report.rejected) == (1, 3)
    rejects = [json.loads(line) for line in (tmp_path / "out.rejects.jsonl").read_text().splitlines()]
    problems = [(reject["row"], reject["problems"][0]["problem"]) for reject in rejects]
    there, say = (
        "is not in the feature store, or too old there",
        "is looked up by 'customer': say whom the row is about",
    )
    assert problems == [(1, there), (2, there), (3, say)]


def test_the_command_looks_up_by_its_settings(stored: SealedModel, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / ".scoreline" / "features.db")
    for view, rows in rows_of(N).items():
        store.put(view, rows)
    write(asked(), tmp_path / "in.parquet")
    arguments = ["batch", str(stored.folder), "in.parquet", "out.parquet", "--trust", str(stored.public_key)]
    found = run_scoreline(*arguments, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert pd.read_parquet(tmp_path / "out.parquet")["risk"].tolist() == wanted_of(stored)
