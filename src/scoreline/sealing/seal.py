"""Sealing: a trained model and reference rows in, a signed bundle out, or a refusal with the reason.

Delivery order:
  1. the model is read by its own library, and its schema settled;
  2. the reference rows pass that schema;
  3. engines are built from the very bytes that will be sealed, and must equal the trainer's library bit for bit, and on
     the reference rows in their own types too;
  4. profile, golden rows and costs are measured with those engines;
  5. everything is written to a folder beside the target, signed, read back with the public key, and renamed into place.
"""

import datetime
import hashlib
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

import scoreline
from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.bundle import GOLDEN, PROFILE, read_bundle
from scoreline.core.errors import RowsRefused, SealRefused, SettingError
from scoreline.core.link import LINKS, Floats
from scoreline.core.manifest import MANIFEST, EngineSpec, Manifest, canonical_json
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.ports import Engine
from scoreline.core.rows import read_rows
from scoreline.core.schema import Schema
from scoreline.core.scorer import Scorer
from scoreline.engines.load import build_engines, load_engine
from scoreline.engines.twin import TwinEngine
from scoreline.sealing.daily import Days
from scoreline.sealing.declare import declare_schema, read_declared
from scoreline.sealing.parity import Parity, check_parity, check_types
from scoreline.sealing.probes import probe_rows
from scoreline.sealing.profile import make_profile
from scoreline.sealing.read import read_model
from scoreline.sealing.reference import Reference, read_reference
from scoreline.sealing.sign import sign_folder
from scoreline.sealing.trained import Iterations, TrainedModel
from scoreline.signing import TrustStore, public_pem_of

TWIN_MAX_ROWS: Final = 64
PREPARE: Final = "prepare.onnx"
MAX_REFERENCE_ROWS: Final = 100_000
GOLDEN_ROWS: Final = 64
SEED: Final = 20_240_229


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle just sealed: where it is, its manifest, what the parity gate saw, and why there is no twin (if so)."""

    path: Path
    manifest: Manifest
    parity: Parity
    twin_reason: str


def seal(
    model: object,
    *,
    name: str,
    output: str,
    reference: object,
    key: str | Path,
    out: str | Path,
    version: str | None = None,
    schema: str | Path | Mapping[str, Mapping[str, Any]] | None = None,
    thresholds: Mapping[str, float] | None = None,
    otherwise: str = "approve",
    classes: Sequence[str] | None = None,
    iterations: Iterations = "best",
    entity: str = "",
    maturity_s: int = 0,
    origin: Mapping[str, str] | None = None,
    time_column: str = "",
    trust_pickle: bool = False,
) -> Sealed:
    """Seals a trained model into the folder `out`.

    `model`: a file of XGBoost (.ubj, .json), LightGBM (.txt), CatBoost (.cbm), ONNX (.onnx) or skops (.skops), MLflow's
    folder of such a model, a Booster, a fitted estimator of theirs or a pipeline of scikit-learn.
    `reference`: training rows, as a .parquet or .csv file, an Arrow table or a pandas frame. `key`: the private key in
    PEM. `version`: else the end of `out` after `NAME-`, else "1". `schema`: a schema.toml or its [fields] as a mapping.
    `thresholds`: outcome to the score it starts at; scores below all of them have the outcome `otherwise`. `classes`:
    names for a multi-class model. `iterations`: "best" keeps the trees up to early stopping's best iteration.
    `entity`: the name by which a row may say whom it is about. `maturity_s`: how long an outcome may change. `origin`:
    what the lineage says of where the model came from, besides its library and file. `time_column`: the column of the
    reference that says when its rows were, for how far days lie apart. `trust_pickle`: open a pickle (.pkl, .joblib),
    which may run anything, and a .skops file with types that skops does not trust.

    Raises SealRefused, SchemaError, SettingError or NotFound; nothing is left behind then.
    """
    target = Path(out)
    if target.exists():
        raise SettingError(f"{target} exists; a bundle is never overwritten: choose another folder")
    public_pem_of(Path(key))  # a key that cannot sign is told before the work, not after
    trained = read_model(model, iterations, trust_pickle=trust_pickle)
    trained = replace(trained, lineage={**trained.lineage, **(origin or {})})
    if classes is not None:
        trained = _with_classes(trained, tuple(classes))
    rows = read_reference(reference)
    days = Days.of(rows.table, time_column, _picked(rows)) if time_column else Days()
    declared = read_declared(Path(schema)) if isinstance(schema, str | Path) else dict(schema or {})
    settled = replace(declare_schema(trained, rows, declared), entity=entity)
    if settled.store_fields and not entity:
        raise SealRefused("fields from the feature store are looked up by entity: say with --entity what rows call it")
    draft = Manifest(
        name=name,
        version=version or _version_of(target, name),
        output=output,
        link=trained.link,
        outputs=trained.n_outputs,
        schema=settled,
        engines=_engine_specs(trained),
        files={file: hashlib.sha256(raw).hexdigest() for file, raw in _model_files(trained).items()},
        classes=trained.classes,
        policy=_policy(trained, thresholds or {}, otherwise),
        maturity_s=maturity_s,
    )
    values = _reference_values(settled, rows)
    built = build_engines(draft, _model_files(trained))
    engines = [engine for engine, _ in built]
    rows_to_prove = np.concatenate([values, _probe_rows(settled, values, trained)])
    check_types(trained, values, _as_given(settled, rows), draft.policy)
    parity = check_parity(trained, engines, rows_to_prove, draft.policy)
    engine = engines[0] if len(engines) == 1 else TwinEngine(built)
    manifest, files = _finish(draft, trained, rows, values, engine, days)
    _write(target, manifest, files, Path(key))
    return Sealed(target, manifest, parity, trained.twin_reason)


def _with_classes(trained: TrainedModel, classes: tuple[str, ...]) -> TrainedModel:
    if len(classes) != trained.n_outputs or trained.n_outputs == 1:
        raise SettingError(f"the model has {len(trained.classes) or 'no'} classes, and {len(classes)} names are given")
    return replace(trained, classes=classes)


def _version_of(target: Path, name: str) -> str:
    prefix = f"{name}-"
    return target.name.removeprefix(prefix) if target.name.startswith(prefix) else "1"


def _engine_specs(trained: TrainedModel) -> tuple[EngineSpec, ...]:
    prepare = PREPARE if trained.prepare else ""
    bulk = EngineSpec(trained.kind, trained.file, prepare=prepare, sources=trained.sources)
    return (EngineSpec("onnx", "model.onnx", TWIN_MAX_ROWS, prepare), bulk) if trained.twin else (bulk,)


def _model_files(trained: TrainedModel) -> dict[str, bytes]:
    files = ((trained.file, trained.raw), ("model.onnx", trained.twin), (PREPARE, trained.prepare))
    return {name: raw for name, raw in files if raw is not None}


def _policy(trained: TrainedModel, thresholds: Mapping[str, float], otherwise: str) -> ThresholdPolicy:
    if trained.n_outputs > 1:
        if thresholds:
            raise SettingError("a multi-class model has no thresholds: its outcome is the likeliest class")
        return ThresholdPolicy(trained.classes, likeliest=True)
    if not thresholds:
        return ThresholdPolicy()
    rising = sorted(thresholds.items(), key=lambda item: item[1])
    policy = ThresholdPolicy((otherwise, *(outcome for outcome, _ in rising)), tuple(start for _, start in rising))
    if trained.link == "sigmoid" and not all(0 < start <= 1 for start in policy.thresholds):
        raise SettingError("a probability lies between 0 and 1: no score would ever reach, or miss, such a threshold")
    return policy


def _reference_values(schema: Schema, reference: Reference) -> Floats:
    """The reference rows as the model sees them, at most 100,000 of them, drawn evenly; raises SealRefused."""
    picked = _picked(reference)
    # What a store will provide is read from the reference like the rest: the profile shows how it lies there.
    schema = Schema(tuple(field.unstored() for field in schema.fields))
    columns = {name: reference.columns[name].values for name in schema.names if name in reference.columns}
    rows = [{name: values[row] for name, values in columns.items()} for row in picked]
    try:
        return read_rows(schema, rows, Context(0)).values
    except RowsRefused as refused:
        first = refused.problems[0]
        raise SealRefused(
            f"{len({problem.row for problem in refused.problems})} or more reference rows break the schema: "
            f"row {picked[first.row]}, field {first.field!r}: {first.problem}"
        ) from None


def _picked(reference: Reference) -> range:
    return range(0, reference.n_rows, -(-reference.n_rows // MAX_REFERENCE_ROWS))


def _as_given(schema: Schema, reference: Reference) -> pa.Table | None:
    """The same rows and fields in the reference's own types; None where it does not have all fields."""
    if not set(schema.names) <= set(reference.table.column_names):
        return None
    return reference.table.select(schema.names).take(list(_picked(reference)))


def _finish(
    draft: Manifest, trained: TrainedModel, reference: Reference, values: Floats, engine: Engine, days: Days
) -> tuple[Manifest, dict[str, bytes]]:
    margins = engine.predict(values)
    scores = LINKS[draft.link](margins)
    absent = [name not in reference.columns for name in draft.schema.names]
    given = np.where(absent, np.nan, values)  # a default says nothing of how a field lies
    names = draft.classes or (draft.output,)
    golden = _golden_rows(draft.schema, trained, values)
    are = draft.are_probabilities
    profile = make_profile(draft.schema, given, scores, names, draft.policy, days, are_probabilities=are)
    files = _model_files(trained) | {
        PROFILE: canonical_json(profile),
        GOLDEN: canonical_json({"rows": _plain(golden), "margins": _plain(engine.predict(golden))}),
    }
    manifest = replace(
        draft,
        files={name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()},
        lineage={
            **trained.lineage,
            "reference": reference.lineage,
            "twin": trained.twin_reason or "onnx",
            "sealed_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "sealed_with": f"scoreline {scoreline.__version__}",
        },
        measured=_measure(draft, engine, values),
    )
    return manifest, files


def _golden_rows(schema: Schema, trained: TrainedModel, values: Floats) -> Floats:
    rng = np.random.default_rng(SEED)
    usual = values[rng.integers(0, len(values), GOLDEN_ROWS // 2)]
    probes = _probe_rows(schema, values, trained)
    return np.concatenate([usual, probes[rng.integers(0, len(probes), GOLDEN_ROWS // 2)]])


def _probe_rows(schema: Schema, values: Floats, trained: TrainedModel) -> Floats:
    how = (trained.slopes, trained.precision, trained.refuses_missing)
    return probe_rows(schema, values, trained.splits, SEED, *how)


def _plain(rows: Floats) -> list[list[float | None]]:
    return [[None if value != value else value for value in row] for row in rows.tolist()]


def _measure(draft: Manifest, engine: Engine, values: Floats) -> dict[str, Any]:
    """What a row costs here: p50 and p99 of single rows through the scorer in microseconds, and rows/s in bulk."""
    scorer = Scorer(draft, engine)
    singles = [Batch(values[row : row + 1], Context(0), NO_DEFAULTS) for row in range(min(len(values), 500))]
    times_us = []
    for number in range(2000):
        start = time.perf_counter_ns()
        scorer(singles[number % len(singles)])
        times_us.append((time.perf_counter_ns() - start) / 1e3)
    bulk = np.resize(values, (20_000, values.shape[1]))
    start = time.perf_counter_ns()
    engine.predict(bulk)
    elapsed_s = (time.perf_counter_ns() - start) / 1e9
    return {
        "row_p50_us": round(float(np.quantile(times_us, 0.5)), 1),
        "row_p99_us": round(float(np.quantile(times_us, 0.99)), 1),
        "bulk_rows_per_s": round(len(bulk) / elapsed_s),
        "engine": engine.name,
        "machine": f"{platform.machine()} {platform.system()}",
    }


def _write(target: Path, manifest: Manifest, files: Mapping[str, bytes], key: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        folder = staging / target.name
        folder.mkdir()
        for name, raw in {**files, MANIFEST: manifest.canonical}.items():
            (folder / name).write_bytes(raw)
        sign_folder(folder, key)
        load_engine(read_bundle(folder, TrustStore([public_pem_of(key)])))
        try:
            folder.rename(target)
        except OSError:
            raise SealRefused(f"{target} appeared while sealing; nothing was overwritten") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
