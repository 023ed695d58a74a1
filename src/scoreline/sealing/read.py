"""Which reader reads a trained model: by the ending of its file, or by the library its type is from."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import SealRefused
from scoreline.core.names import load
from scoreline.sealing.trained import Iterations, TrainedModel

Reader = Callable[[object, Iterations], TrainedModel]

READERS: Final[Mapping[str, str]] = {
    "xgboost": "scoreline.sealing.xgboost:read_xgboost",
    "lightgbm": "scoreline.sealing.lightgbm:read_lightgbm",
    "sklearn": "scoreline.sealing.sklearn:read_sklearn",
    "catboost": "scoreline.sealing.catboost:read_catboost",
    "onnx": "scoreline.sealing.onnx:read_onnx",
}
ENDINGS: Final[Mapping[str, str]] = {
    ".ubj": "xgboost",
    ".json": "xgboost",
    ".xgb": "xgboost",
    ".txt": "lightgbm",
    ".lgb": "lightgbm",
    ".cbm": "catboost",
    ".cb": "catboost",
    ".onnx": "onnx",
}
_OBJECTS: Final[Mapping[str, str]] = {
    ".skops": "scoreline.sealing.skops:read_skops",
    ".pkl": "scoreline.sealing.pickles:read_pickle",
    ".pickle": "scoreline.sealing.pickles:read_pickle",
    ".joblib": "scoreline.sealing.pickles:read_pickle",
}
MLFLOW: Final = "scoreline.sealing.mlflow:model_file"


def read_model(model: object, iterations: Iterations, *, trust_pickle: bool = False) -> TrainedModel:
    """The trained model behind a path or an object, by its own library; raises NotFound or SealRefused.

    A path is a model file, or the folder of an MLflow model. `trust_pickle` opens pickles, and accepts the types of a
    .skops file that skops does not trust.
    """
    origin: dict[str, Any] = {}
    if isinstance(model, str | Path) and Path(model).is_dir():
        model = _load(MLFLOW, "seal")(Path(model))
    if isinstance(model, str | Path) and Path(model).suffix in _OBJECTS:
        path = Path(model)
        model = _load(_OBJECTS[path.suffix], "sklearn")(path, trusted=trust_pickle)
        origin = {"source": path.name, "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if isinstance(model, str | Path):
        library = ENDINGS.get(Path(model).suffix, "")
        if not library:
            raise SealRefused(
                f"{Path(model).name}: its ending tells no kind of model; there are {', '.join([*ENDINGS, *_OBJECTS])};"
                " nothing is unpickled without --trust-pickle"
            )
    else:
        library = library_of(type(model))
        if not library:
            raise SealRefused(f"{type(model).__name__} is no model of {', '.join(READERS)}, nor a path to one")
    reader: Reader = _load(READERS[library], library)
    found = reader(model, iterations)
    return replace(found, lineage={**found.lineage, **origin})


def library_of(kind: type) -> str:
    """The library a type, or else a base of it, is from, empty for none; a user's own subclass is that estimator."""
    packages = (base.__module__.partition(".")[0] for base in kind.__mro__)
    return next((package for package in packages if package in READERS), "")


def _load(target: str, extra: str) -> Any:
    try:
        return load(target)
    except ImportError as error:
        raise SealRefused(f"reading this model needs {error.name}: install scoreline[{extra}]") from None
