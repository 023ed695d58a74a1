"""`scoreline features`: load, also through kills; get; stats; and export as of a time."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.errors import FeaturesRefused, NotFound
from scoreline.core.ports import FeatureRow
from scoreline.features.redis import RedisStore
from scoreline.features.sqlite import SqliteStore
from scoreline.operations.featureexport import History, joined, write_table
from scoreline.operations.featurefiles import FeatureFile
from service import COMMAND, clean_environment, run_scoreline, wait_until

DAY_S = 86_400
FRAME = pd.DataFrame(
    {
        "customer_id": ["a", "b", "a", "c"],
        "since": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-05", "2026-01-06"], utc=True),
        "visits": [1, 2, 3, 4],
        "ratio": [0.5, np.nan, 0.25, 1e-300],
        "vip": [True, False, True, False],
        "word": ["x", None, "z", "größer"],
    }
)


def run(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    found = run_scoreline("features", *arguments, cwd=cwd, **environment)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_what_is_loaded_is_looked_up_with_its_types(
    kind: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file, view = tmp_path / f"f{suffix}", f"loaded{suffix[1:]}"
    FRAME.to_parquet(file) if suffix == ".parquet" else FRAME.to_csv(file, index=False)
    environment, store = {}, SqliteStore(tmp_path / ".scoreline" / "features.db")
    if kind == "redis":
        url = request.getfixturevalue("redis_store").url
        environment = {"SCORELINE_FEATURES__STORE": "redis", "SCORELINE_FEATURES__URL": url}
        store = RedisStore(url)  # type: ignore[assignment]
    said = run("load", file, "--view", view, "--key", "customer_id", "--time", "since", cwd=tmp_path, **environment)
    assert f"{view}: 4 rows loaded" in said
    names = ("visits", "ratio", "vip", "word")
    (a,), (b,), (nobody,) = store.get({view: names}, ["a", "b", "d"])
    assert a == FeatureRow("a", 1_767_571_200 * 10**9, {"visits": 3, "ratio": 0.25, "vip": True, "word": "z"})
    assert b is not None and b.values == {"visits": 2, "ratio": None, "vip": False, "word": None}
    assert nobody is None
    assert run("get", view, "a", "visits", "else", cwd=tmp_path, **environment).splitlines() == [
        "visits\t3\t2026-01-05T00:00:00+00:00",
        "else\t(not there)\t2026-01-05T00:00:00+00:00",
    ]
    stats = run("stats", cwd=tmp_path, **environment)
    assert f"{view}\t3\t2026-01-02T00:00:00+00:00\t2026-01-06T00:00:00+00:00" in stats.splitlines()
    assert run_scoreline("features", "get", view, "d", "visits", cwd=tmp_path, **environment).returncode == 1


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_load_that_is_killed_goes_on_where_it_stopped(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    n_rows, file = 400_000, tmp_path / "many.parquet"
    ids = np.arange(n_rows)
    pq.write_table(pa.table({"id": ids, "n": ids * 3, "word": [f"w{at}" for at in ids]}), file)
    environment: dict[str, str] = {}
    store: Any = SqliteStore(tmp_path / ".scoreline" / "features.db")
    if kind == "redis":
        url = request.getfixturevalue("redis").url
        environment = {"SCORELINE_FEATURES__STORE": "redis", "SCORELINE_FEATURES__URL": url}
        store = RedisStore(url)
    arguments = ["features", "load", str(file), "--view", "many", "--key", "id"]
    process = subprocess.Popen([COMMAND, *arguments], cwd=tmp_path, env=clean_environment(**environment))
    marker = tmp_path / ".scoreline" / "feature-loads"
    wait_until(
        lambda: any('"rows": 0' not in path.read_text() for path in marker.glob("*.json")), "some are loaded", 60
    )
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(marker.glob("*.json")), "it was killed in the middle"
    said = run(*arguments[1:], cwd=tmp_path, **environment)
    assert f"many: {n_rows:,} rows loaded" in said
    assert "of them in an earlier run" in said
    assert not list(marker.glob("*.json"))
    people = [str(at) for at in range(0, n_rows, 997)]
    times = set()
    for entity, (row,) in zip(people, store.get({"many": ("n", "word")}, people), strict=True):
        assert row is not None and row.values == {"n": int(entity) * 3, "word": f"w{entity}"}
        times.add(row.time_ns)
    assert len(times) == 1, "all hold from when the first run began"
    assert next(iter(store.views())).entities == n_rows


def test_a_file_that_changed_is_loaded_from_its_beginning(tmp_path: Path) -> None:
    file, arguments = tmp_path / "f.csv", ("--view", "v", "--key", "k")
    file.write_text("k,n\na,1\nb,2\n,3\n")
    found = run_scoreline("features", "load", file, *arguments, cwd=tmp_path)
    assert found.returncode == 1
    assert "f.csv, row 2: 'k' must be a text" in found.stderr
    file.write_text("k,n\na,5\nb,2\nc,3\n")
    assert "3 rows loaded" in run("load", file, *arguments, cwd=tmp_path)
    assert "n\t5\t" in run("get", "v", "a", "n", cwd=tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,n\n1,2\n", "has no column 'k'"),
        ("k\n1\n", "there is no feature"),
        ("k,t,n\n1,2090-01-01T00:00:00Z,5\n", "times of the future"),
        ("k,t,n\n1,soon,5\n", "no time"),
        ("k,t,n\n1,,5\n", "is missing"),
        ("k,t,n\n1,2020-01-01,5,6\n", "cannot be read"),
        ("k,t,@time\n1,2020-01-01,5\n", "no feature is called '@time'"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused_without_its_values(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "f.csv").write_text(text)
    time = ("--time", "t") if ",t," in text else ()
    found = run_scoreline("features", "load", "f.csv", "--view", "v", "--key", "k", *time, cwd=tmp_path)
    assert found.returncode == 1
    assert problem in found.stderr
    assert "Traceback" not in found.stderr and "soon" not in found.stderr


def test_what_is_no_file_of_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        FeatureFile(tmp_path / "none.parquet", "k").rows_total()
    (tmp_path / "f.txt").write_text("k,n\n")
    with pytest.raises(FeaturesRefused, match="parquet"):
        next(FeatureFile(tmp_path / "f.txt", "k").chunks(0, 0))


def test_export_has_what_was_known_at_a_time_and_nothing_later(tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    FRAME.to_parquet(file)
    arguments = ("--view", "v", "--key", "customer_id")
    run("load", file, *arguments, "--time", "since", cwd=tmp_path)
    run("export", "then.csv", *arguments, "--as-of", "2026-01-03", cwd=tmp_path)
    then = pd.read_csv(tmp_path / "then.csv")
    assert then["customer_id"].tolist() == ["a", "b"]
    assert then["visits"].tolist() == [1, 2]
    run("export", "now.parquet", *arguments, cwd=tmp_path)
    assert pd.read_parquet(tmp_path / "now.parquet")["visits"].tolist() == [3, 2, 4]


@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_rows_get_what_was_known_at_their_own_time(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    FRAME.to_parquet(file)
    asked = pd.DataFrame(
        {
            "customer_id": ["a", "a", "a", "b", "d"],
            "since": pd.to_datetime(["2026-01-05", "2026-01-04", "2025-12-31", "2026-02-01", "2026-02-01"], utc=True),
            "label": [1, 0, 1, 0, 1],
        }
    )
    asked.to_parquet(tmp_path / "asked.parquet")
    arguments = ("--view", "v", "--key", "customer_id", "--time", "since")
    environment = {}
    if kind == "sqlite":
        run("load", file, *arguments, cwd=tmp_path)
    else:
        environment = {"SCORELINE_FEATURES__STORE": "redis", "SCORELINE_FEATURES__URL": "redis://127.0.0.1:1/0"}
        refused = run_scoreline("features", "export", "o.parquet", *arguments, cwd=tmp_path, **environment)
        assert "keeps the latest only" in refused.stderr
        arguments = (*arguments, "--history", "f.parquet")
    run("export", "o.parquet", *arguments, "--rows", "asked.parquet", cwd=tmp_path, **environment)
    found = pd.read_parquet(tmp_path / "o.parquet")
    assert found["label"].tolist() == [1, 0, 1, 0, 1]
    assert found["visits"].fillna(-1).tolist() == [3, 1, -1, 2, -1]
    assert found["word"].tolist() == ["z", "x", None, None, None]
    run(
        "export",
        "p.parquet",
        *arguments,
        "--rows",
        "asked.parquet",
        "--max-age-s",
        "86400",
        cwd=tmp_path,
        **environment,
    )
    assert pd.read_parquet(tmp_path / "p.parquet")["visits"].fillna(-1).tolist() == [3, -1, -1, -1, -1]


times = st.integers(0, 20)
people = st.sampled_from("ab")


@given(st.lists(st.tuples(people, times)), people, times, st.integers(0, 25))
def test_a_join_never_looks_into_the_future(rows: list[tuple[str, int]], who: str, at: int, max_age: int) -> None:
    history = History()
    history.add(FeatureRow(entity, time, {"n": place}) for place, (entity, time) in enumerate(rows))
    history.sort()
    found = history.at(who, at, max_age)
    fit = [(time, place) for place, (entity, time) in enumerate(rows) if entity == who and at - max_age <= time <= at]
    assert (None if found is None else (found.time_ns, found.values["n"])) == (max(fit) if fit else None)


def test_an_export_overwrites_nothing_and_says_what_would_clash(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(FeaturesRefused, match="nothing is overwritten"):
        write_table(pa.table({"a": [1]}), tmp_path / "there.csv")
    (tmp_path / "rows.csv").write_text("k,t,n\na,5,1\n")
    history = History()
    history.add([FeatureRow("a", 1, {"n": 1})])
    with pytest.raises(FeaturesRefused, match="'n' is a feature and a column"):
        joined(history, FeatureFile(tmp_path / "rows.csv", "k", "t"), 1e18)
