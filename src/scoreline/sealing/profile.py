"""The profile: how features, scores and outcomes lie on the reference rows. Drift is measured against it."""

from typing import Any, Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.schema import Field, Schema

DECILES: Final = np.arange(1, 10) / 10


def make_profile(
    schema: Schema, values: Floats, scores: Floats, output_names: tuple[str, ...], policy: ThresholdPolicy
) -> dict[str, Any]:
    """Plain JSON: per field its missing share and deciles or category counts; per output the same; outcome shares."""
    codes = np.asarray(policy.codes(scores), dtype=np.int64)
    return {
        "rows": len(values),
        "fields": {field.name: _field(field, values[:, position]) for position, field in enumerate(schema.fields)},
        "scores": {name: _numbers(scores[:, position]) for position, name in enumerate(output_names)},
        "outcomes": {name: float((codes == code).mean()) for code, name in enumerate(policy.outcomes)},
    }


def _field(field: Field, column: Floats) -> dict[str, Any]:
    present = column[~np.isnan(column)]
    found: dict[str, Any] = {"missing": float(np.isnan(column).mean())}
    if field.type == "category":
        counts = np.bincount(present.astype(np.int64), minlength=len(field.categories))
        return found | {"counts": counts.tolist()}
    return found | (_numbers(present) if len(present) else {})


def _numbers(column: Floats) -> dict[str, Any]:
    return {
        "least": float(column.min()),
        "greatest": float(column.max()),
        "mean": float(column.mean()),
        "deviation": float(column.std()),
        "deciles": np.quantile(column, DECILES).tolist(),
    }
