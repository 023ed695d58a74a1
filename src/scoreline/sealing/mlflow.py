"""MLflow's model folders: which file of one holds the model. No loader runs, of MLflow's or named in MLmodel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from scoreline.core.errors import NotFound, SealRefused

MLMODEL: Final = "MLmodel"
_FILE_OF: Final[Mapping[str, str]] = {
    "xgboost": "data",
    "lightgbm": "data",
    "catboost": "data",
    "onnx": "data",
    "sklearn": "pickled_model",
}


def model_file(folder: Path) -> Path:
    """The model file of an MLflow model folder, by the flavor of its library; raises NotFound or SealRefused."""
    if not (folder / MLMODEL).is_file():
        raise SealRefused(f"{folder.name} is a folder without {MLMODEL}: give the model's file, or MLflow's folder")
    flavors = _flavors(folder)
    flavor = next((flavor for flavor in _FILE_OF if flavor in flavors), "")
    if not flavor:
        raise SealRefused(
            f"the MLflow model has the flavors {', '.join(flavors) or 'none'}; those that can be sealed are "
            f"{', '.join(_FILE_OF)}: log it with mlflow.{next(iter(_FILE_OF))}.log_model, or seal the fitted estimator "
            "with `scoreline.sealing.seal`"
        )
    name = flavors[flavor].get(_FILE_OF[flavor])
    if not isinstance(name, str):
        raise SealRefused(f"{MLMODEL} does not say which file holds the {flavor} model")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SealRefused(f"{MLMODEL} names a {flavor} file outside its own folder")
    if not path.is_file():
        raise NotFound(f"{MLMODEL} names {name}, which is not in its folder")
    return path


def _flavors(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        found = yaml.safe_load((folder / MLMODEL).read_text("utf-8"))
        return {str(name): dict(settings) for name, settings in found["flavors"].items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        raise SealRefused(f"{MLMODEL} cannot be read: it lists no flavors") from None
