"""A model's schema as JSON Schema for OpenAPI 3.1: types, units, ranges, categories, and an example that works."""

import math
from collections.abc import Sequence
from typing import Any

from scoreline.core.entities import MAX_INTEGER, MAX_LENGTH, PATTERN
from scoreline.core.manifest import Manifest
from scoreline.core.schema import Field

Json = dict[str, Any]
DEGRADED = "degraded"
DATATYPES = {"number": ["FP64", "FP32"], "integer": ["INT64"], "boolean": ["BOOL"]}
JSON_TYPES = {"number": "number", "integer": "integer", "boolean": "boolean"}


def row_schema(manifest: Manifest) -> Json:
    """The JSON Schema of one row of a request."""
    sent = [field for field in manifest.schema.fields if field.source == "request"]
    return {
        "title": f"{manifest.name} row",
        "type": "object",
        "properties": {field.name: _property(field) for field in sent} | _entity(manifest.schema.entity),
        "required": [field.name for field in sent if field.default is None],
        "additionalProperties": False,
    }


def request_body(manifest: Manifest) -> Json:
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


def instances_schema(manifests: Sequence[Manifest]) -> Json:
    """The body of KServe v1 for any of these models."""
    return _object({"instances": _any_of([_rows(manifest) for manifest in manifests])}, "instances")


def invocations_schema(manifest: Manifest) -> Json:
    """The body of MLflow's scoring server: one of its forms."""
    lists = {"type": "array", "items": {"type": "array"}, "minItems": 1}
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}
    split = _object({"columns": names, "data": lists, "index": {"type": "array"}}, "columns", "data")
    forms = {name: _rows(manifest) for name in ("dataframe_records", "instances", "inputs")} | {
        "dataframe_split": split
    }
    return {"anyOf": [_object({name: form}, name) for name, form in forms.items()]}


def tensors_schema(manifests: Sequence[Manifest]) -> Json:
    """The body of the Open Inference Protocol v2 for any of these models: one tensor per field."""
    inputs = [{"type": "array", "minItems": 1, "items": _any_of(_tensors(manifest))} for manifest in manifests]
    wanted = {"type": "array", "items": {"type": "object", "required": ["name"]}}
    known = {"id": {"type": "string", "maxLength": 1024}, "parameters": {"type": "object"}, "outputs": wanted}
    return {"type": "object", "properties": {"inputs": _any_of(inputs), **known}, "required": ["inputs"]}


def _tensors(manifest: Manifest) -> list[Json]:
    """A tensor of each field a caller sends, and of whom the rows are about, as JSON."""
    fields = [field for field in manifest.schema.fields if field.source == "request"]
    found = [_tensor(field.name, _datatypes(field), _property(field)) for field in fields]
    about = _entity(manifest.schema.entity)
    return found + [_tensor(name, ["BYTES", "INT64"], value) for name, value in about.items()]


def _tensor(name: str, datatypes: list[str], value: Json) -> Json:
    shape = {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer", "minimum": 1}}
    data = {"type": "array", "minItems": 1, "items": value}
    properties = {"name": {"const": name}, "datatype": {"enum": datatypes}, "shape": shape, "data": data}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _datatypes(field: Field) -> list[str]:
    if field.type == "category":
        return ["BYTES" if isinstance(field.categories[0], str) else "INT64"]
    return DATATYPES[field.type]


def _rows(manifest: Manifest) -> Json:
    return {"type": "array", "minItems": 1, "items": row_schema(manifest)}


def _any_of(schemas: Sequence[Json]) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def answers_schema(manifests: Sequence[Manifest]) -> Json:
    """The JSON Schema of an answer: to one row, or to an array of rows with model and version told once.

    Any of the versions may have answered.
    """
    found: list[Json] = []
    for one in map(answer_schema, manifests):
        once = {name: one["properties"][name] for name in ("model", "version")}
        row = {name: schema for name, schema in one["properties"].items() if name not in once}
        many = {**once, "predictions": {"type": "array", "minItems": 1, "items": _all_of(row)}}
        found += [form for form in (one, _all_of(many)) if form not in found]
    return {"anyOf": found}


def answer_schema(manifest: Manifest) -> Json:
    """The JSON Schema of the answer to one row."""
    score: Json = {"type": "number"}
    if manifest.classes:
        score = {"type": "object", "properties": {name: {"type": "number"} for name in manifest.classes}}
    properties: Json = {manifest.output: score}
    if manifest.policy.outcomes:
        properties["outcome"] = {"type": "string", "enum": list(manifest.policy.outcomes)}
    names = {"type": "array", "items": {"type": "string"}}
    properties |= {"prediction_id": {"type": "string", "format": "uuid"}, "defaulted": names}
    if manifest.schema.store_fields:
        properties[DEGRADED] = names
    properties |= {"model": {"type": "string"}, "version": {"type": "string"}}
    return _all_of(properties)


def _all_of(properties: Json) -> Json:
    """An object with all of them; `degraded` stands there only where something is."""
    required = [name for name in properties if name != DEGRADED]
    return {"type": "object", "properties": properties, "required": required}


def example_row(manifest: Manifest) -> Json:
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


def _entity(name: str) -> Json:
    if not name:
        return {}
    text = "Whom the row is about. Kept as a keyed hash, so that outcomes find the decision."
    kinds = (
        {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": PATTERN},
        {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
        {"type": "null"},
    )
    return {name: {"anyOf": list(kinds), "description": text}}


def _property(field: Field) -> Json:
    found: Json = {"type": _json_type(field)}
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
