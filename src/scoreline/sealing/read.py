"""Which reader reads a trained model: by the ending of its file, or by the library its type is from."""

from collections.abc import Callable, Mapping
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
}
ENDINGS: Final[Mapping[str, str]] = {
    ".ubj": "xgboost",
    ".json": "xgboost",
    ".xgb": "xgboost",
    ".txt": "lightgbm",
    ".lgb": "lightgbm",
}
MLFLOW: Final = "scoreline.sealing.mlflow:model_file"


def read_model(model: object, iterations: Iterations) -> TrainedModel:
    """The trained model behind a path or an object, by its own library; raises NotFound or SealRefused.

    A path is a model file, or the folder of an MLflow model.
    """
    if isinstance(model, str | Path) and Path(model).is_dir():
        model = _load(MLFLOW, "seal")(Path(model))
    if isinstance(model, str | Path):
        library = ENDINGS.get(Path(model).suffix, "")
        if not library:
            raise SealRefused(
                f"{Path(model).name}: save an XGBoost model as .ubj or .json, a LightGBM model as .txt with "
                "`save_model`; nothing is unpickled"
            )
    else:
        library = library_of(type(model))
        if not library:
            raise SealRefused(f"{type(model).__name__} is no model of {', '.join(READERS)}, nor a path to one")
    reader: Reader = _load(READERS[library], library)
    return reader(model, iterations)


def _load(target: str, extra: str) -> Any:
    try:
        return load(target)
    except ImportError as error:
        raise SealRefused(f"reading this model needs {error.name}: install scoreline[{extra}]") from None


def library_of(kind: type) -> str:
    """The library a type, or else a base of it, is from, empty for none; a user's own subclass is that estimator."""
    packages = (base.__module__.partition(".")[0] for base in kind.__mro__)
    return next((package for package in packages if package in READERS), "")
