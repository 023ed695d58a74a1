"""From a verified bundle to a working engine: chosen by name from one table, and self-tested on its golden rows."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from scoreline.core.bundle import Bundle, Golden
from scoreline.core.errors import BundleError, EngineFailed, ScorelineError, SelfTestFailed
from scoreline.core.manifest import EngineSpec, Manifest
from scoreline.core.names import load
from scoreline.core.ports import Engine
from scoreline.engines.prepared import PreparedEngine
from scoreline.engines.twin import TwinEngine

ENGINES: Final[Mapping[str, str]] = {
    "lightgbm": "scoreline.engines.lightgbm:LightGBMEngine",
    "onnx": "scoreline.engines.onnx:OnnxEngine",
    "onnx-rows": "scoreline.engines.onnx:OnnxRowsEngine",
    "xgboost": "scoreline.engines.xgboost:XGBoostEngine",
}


def load_engine(bundle: Bundle) -> Engine:
    """The engine of a bundle, once it has repeated its golden margins; raises BundleError, SelfTestFailed."""
    try:
        engines = build_engines(bundle.manifest, bundle.files)
    except EngineFailed as error:
        raise BundleError(f"the bundle's model does not load: {error}") from None
    golden = bundle.golden
    for engine, _ in engines:
        self_test(engine, golden)
    return engines[0][0] if len(engines) == 1 else TwinEngine(engines)


def build_engines(manifest: Manifest, files: Mapping[str, bytes]) -> list[tuple[Engine, int]]:
    """Every engine the manifest lists with its `max_rows`, loaded from the verified bytes."""
    n_fields = len(manifest.schema.fields)
    return [(_build(spec, files, n_fields, manifest.outputs), spec.max_rows) for spec in manifest.engines]


def self_test(engine: Engine, golden: Golden) -> None:
    """All golden rows at once and some alone must give the sealed margins bit for bit; raises SelfTestFailed."""
    try:
        together = engine.predict(golden.values)
        alone = [engine.predict(golden.values[row : row + 1]) for row in range(min(8, len(golden.values)))]
    except ScorelineError as error:
        raise SelfTestFailed(f"{engine.name} cannot score the bundle's golden rows: {error}") from None
    same = _same_bits(together, golden.margins) and _same_bits(np.concatenate(alone), golden.margins[: len(alone)])
    if not same:
        raise SelfTestFailed(
            f"{engine.name} does not repeat the bundle's golden margins on this machine; seal the model again here"
        )


def _build(spec: EngineSpec, files: Mapping[str, bytes], n_fields: int, n_outputs: int) -> Engine:
    engine_class = _engine_class(spec.kind)
    if not spec.prepare:
        engine: Engine = engine_class(files[spec.file], n_fields, n_outputs)
        return engine
    prepare = _engine_class("onnx")(files[spec.prepare], n_fields)
    return PreparedEngine(prepare, engine_class(files[spec.file], prepare.n_outputs, n_outputs), spec.sources)


def _engine_class(kind: str) -> Any:
    if kind not in ENGINES:
        raise BundleError(f"engine {kind!r} is unknown to this version; known: {', '.join(ENGINES)}")
    try:
        return load(ENGINES[kind])
    except ImportError as error:
        raise BundleError(f"engine {kind!r} needs {error.name}: install scoreline[{kind.partition('-')[0]}]") from None


def _same_bits(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    return found.shape == wanted.shape and found.tobytes() == wanted.tobytes()
