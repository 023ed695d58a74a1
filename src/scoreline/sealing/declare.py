"""The schema of a model: what schema.toml declares, and for the rest what the model and the reference rows show."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scoreline.core.errors import NotFound, SchemaError, SealRefused
from scoreline.core.schema import Field, Schema, Unseen
from scoreline.sealing.reference import Column, Reference
from scoreline.sealing.trained import TrainedModel


def declare_schema(model: TrainedModel, reference: Reference, declared: Mapping[str, Mapping[str, Any]]) -> Schema:
    """One field per feature, in the model's order; `declared` (the [fields] of schema.toml) goes before inference.

    Raises SchemaError or SealRefused with what is missing.
    """
    names = [_as_trained(name, reference) for name in model.feature_names] or _names_from_reference(model, reference)
    unknown = sorted(set(declared) - set(names))
    if unknown:
        raise SchemaError(f"schema.toml declares {unknown[0]!r}, which is not a feature of the model")
    return Schema(
        tuple(
            _field(name, position, model, reference.columns.get(name), declared.get(name, {}))
            for position, name in enumerate(names)
        )
    )


def read_declared(path: Path) -> dict[str, dict[str, Any]]:
    """The `[fields.NAME]` tables of a schema.toml; raises NotFound or SchemaError."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError:
        raise NotFound(f"no schema at {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path.name} is not TOML: {error}") from None
    fields = found.pop("fields", {})
    if found or not isinstance(fields, dict) or not all(isinstance(settings, dict) for settings in fields.values()):
        raise SchemaError(f"{path.name} holds [fields.NAME] tables and nothing else")
    return dict(fields)


def _as_trained(name: str, reference: Reference) -> str:
    """A feature's name as the training rows had it: LightGBM keeps a name with `_` for every space."""
    spaced = [column for column in reference.columns if column.replace(" ", "_") == name]
    return name if name in reference.columns or len(spaced) != 1 else spaced[0]


def _names_from_reference(model: TrainedModel, reference: Reference) -> Sequence[str]:
    if len(reference.columns) != model.n_features:
        raise SealRefused(
            f"the model keeps no feature names and the reference has {len(reference.columns)} columns for its "
            f"{model.n_features} features; give a reference with exactly the feature columns, in the order of training"
        )
    return list(reference.columns)


def _field(name: str, position: int, model: TrainedModel, column: Column | None, declared: Mapping[str, Any]) -> Field:
    settings = dict(declared)
    if column is None and "type" not in settings:
        raise SealRefused(f"the reference has no column {name!r} and schema.toml does not declare it")
    is_category = position in model.categories
    if is_category:
        known = model.categories[position]
        found = column.categories if column is not None and model.fits(position, column.categories) else ()
        settings = {"type": "category", "categories": _categories(name, known, settings, found), **settings}
        words = settings["categories"]
        if not isinstance(words, list):
            raise SchemaError(f"field {name!r}: categories is a list")
        settings = _with_unseen(name, settings, model.unseen.get(position))
        if (known is not None and words != list(known)) or model.fits(position, words) is False:
            raise SchemaError(f"field {name!r}: the categories are not the model's, in the order of training")
    elif column is not None:
        settings = {"type": column.kind, **settings}
    if settings["type"] not in ("number", "integer", "boolean", "category"):
        raise SealRefused(f"column {name!r} holds {settings['type']}, and the model takes a number there")
    if (settings["type"] == "category") != is_category:
        raise SchemaError(
            f"field {name!r}: {'the model takes' if is_category else 'the model does not take'} categories"
        )
    if column is not None and column.has_missing:
        settings = {"nullable": True, **settings}
    field = Field.from_settings(name, settings)
    default = field.default_value
    may_default = default is not None and math.isnan(default) and not field.indispensable
    if position in model.refuses_missing and (field.nullable or may_default):
        raise SealRefused(
            f"the pipeline takes no missing value in {name!r}: leave such rows out of the reference and missing out of "
            "schema.toml, or impute the column in the pipeline"
        )
    return field


def _with_unseen(name: str, settings: dict[str, Any], unseen: Unseen | None) -> dict[str, Any]:
    """What becomes of a word never seen is the trainer's to say, where the trainer says it."""
    if unseen == "refuse" and settings.get("unseen") == "missing":
        raise SealRefused(f"to the pipeline a word of {name!r} it never saw is not the same as a missing one")
    return {"unseen": unseen, **settings} if unseen else settings


def _categories(name: str, known: Sequence[Any] | None, declared: Mapping[str, Any], checked: Sequence[Any]) -> object:
    """The words of a category field: the model's, else the declared ones, else the reference's that fit the model."""
    if known is not None:
        return list(known)
    if "categories" in declared:
        return declared["categories"]
    if checked:
        return list(checked)
    raise SealRefused(
        f"the model does not keep the categories of {name!r}: list them in schema.toml in the order of training (a "
        "reference alone cannot show that order)"
    )
