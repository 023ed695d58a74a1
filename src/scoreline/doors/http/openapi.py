"""A model's schema as JSON Schema for OpenAPI 3.1: types, units, ranges, categories, and an example that works."""

import math
from typing import Any

from scoreline.core.entities import MAX_INTEGER, MAX_LENGTH, PATTERN
from scoreline.core.manifest import Manifest
from scoreline.core.schema import Field

JSON_TYPES = {"number": "number", "integer": "integer", "boolean": "boolean"}


def row_schema(manifest: Manifest) -> dict[str, Any]:
    """The JSON Schema of one row of a request."""
    sent = [field for field in manifest.schema.fields if field.source == "request"]
    return {
        "title": f"{manifest.name} row",
        "type": "object",
        "properties": {field.name: _property(field) for field in sent} | _entity(manifest.schema.entity),
        "required": [field.name for field in sent if field.default is None],
        "additionalProperties": False,
    }


def request_body(manifest: Manifest) -> dict[str, Any]:
    """The OpenAPI request body of the prediction routes: one row, or an array of rows."""
    row = row_schema(manifest)
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [row, {"type": "array", "items": row, "minItems": 1}]},
                "example": example_row(manifest),
            }
        },
    }


def answers_schema(manifest: Manifest) -> dict[str, Any]:
    """The JSON Schema of an answer: to one row, or to an array of rows with model and version told once."""
    one = answer_schema(manifest)
    once = {name: one["properties"][name] for name in ("model", "version")}
    row = {name: schema for name, schema in one["properties"].items() if name not in once}
    many = {**once, "predictions": {"type": "array", "minItems": 1, "items": _all_of(row)}}
    return {"anyOf": [one, _all_of(many)]}


def answer_schema(manifest: Manifest) -> dict[str, Any]:
    """The JSON Schema of the answer to one row."""
    score: dict[str, Any] = {"type": "number"}
    if manifest.classes:
        score = {"type": "object", "properties": {name: {"type": "number"} for name in manifest.classes}}
    properties: dict[str, Any] = {manifest.output: score}
    if manifest.policy.outcomes:
        properties["outcome"] = {"type": "string", "enum": list(manifest.policy.outcomes)}
    names = {"type": "array", "items": {"type": "string"}}
    properties |= {"prediction_id": {"type": "string", "format": "uuid"}, "defaulted": names}
    if manifest.schema.store_fields:
        properties["degraded"] = names
    properties |= {"model": {"type": "string"}, "version": {"type": "string"}}
    return _all_of(properties)


def _all_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def example_row(manifest: Manifest) -> dict[str, Any]:
    """A row the model accepts: every field that must be sent, and no more."""
    found = {
        field.name: _example(field)
        for field in manifest.schema.fields
        if field.source == "request" and field.default is None
    }
    if found:
        return found
    first = next((field for field in manifest.schema.fields if field.source == "request"), None)
    return {first.name: _example(first)} if first else {}


def _entity(name: str) -> dict[str, Any]:
    if not name:
        return {}
    text = "Whom the row is about. Kept as a keyed hash, so that outcomes find the decision."
    kinds = (
        {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": PATTERN},
        {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
        {"type": "null"},
    )
    return {name: {"anyOf": list(kinds), "description": text}}


def _property(field: Field) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _json_type(field)}
    if field.type == "category":
        found["enum"] = list(field.categories) + ([None] if field.nullable else [])
        if field.unseen == "missing":
            del found["enum"]
    if field.type in ("number", "integer"):
        found["minimum"], found["maximum"] = field.bounds
    if field.default is not None and not (isinstance(field.default, float) and math.isnan(field.default)):
        found["default"] = field.default
    text = ". ".join(part for part in (field.description, f"Unit: {field.unit}" if field.unit else "") if part)
    if text:
        found["description"] = text
    if field.unit:
        found["x-unit"] = field.unit
    return found


def _json_type(field: Field) -> str | list[str]:
    if field.type == "category":
        kind = "string" if isinstance(field.categories[0], str) else "integer"
    else:
        kind = JSON_TYPES[field.type]
    return [kind, "null"] if field.nullable else kind


def _example(field: Field) -> Any:
    if field.type == "category":
        return field.categories[0]
    if field.type == "boolean":
        return False
    low, high = field.bounds
    both = field.minimum is not None and field.maximum is not None
    value = (low + high) / 2 if both else max(low, min(high, 0.0))
    return max(math.ceil(low), math.floor(value)) if field.type == "integer" else value
