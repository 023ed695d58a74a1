"""What OpenAPI says of a model's rows is what the model takes."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonrows import schemas, sent_text

from scoreline.core.manifest import EngineSpec, Manifest
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.schema import EXACT_INTEGER_MAX, Field, Schema
from scoreline.doors.http.openapi import answer_schema, example_row, request_body, row_schema


def manifest_of(schema: Schema, **more: Any) -> Manifest:
    facts: dict[str, Any] = {"link": "sigmoid", "outputs": 1, "engines": (EngineSpec("onnx", "model.onnx"),)}
    facts |= {"files": {"model.onnx": "0" * 64}, "schema": schema}
    return Manifest("fraud", "1", "fraud_probability", **(facts | more))


@given(schemas())
def test_the_example_is_a_row_the_model_takes(schema: Schema) -> None:
    row = json.loads(json.dumps(example_row(manifest_of(schema))))
    assert schema.row(row)[2] == []


@given(st.data())
def test_the_json_schema_takes_what_the_model_takes_and_refuses_what_it_refuses(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    sent = [field for field in schema.fields if field.source == "request"]
    row = {}
    for field in sent:
        if data.draw(st.integers(0, 5)):
            text = data.draw(sent_text(field).filter(lambda text, field=field: _says_exactly(field, text)))
            row[field.name] = json.loads(text)
    if data.draw(st.integers(0, 9)) == 0:
        row["an unknown one"] = 1
    assert _valid(row_schema(manifest_of(schema)), row) == (schema.row(row)[2] == []), row


def test_units_ranges_categories_and_defaults_are_shown() -> None:
    schema = Schema(
        (
            Field("amount", "number", unit="EUR", minimum=0.0, maximum=1e5, description="Amount claimed"),
            Field("country", "category", categories=("at", "de"), nullable=True, default="de"),
            Field("age", "integer", nullable=True, default=float("nan")),
            Field("balance", "number", source="store", default=0.0),
        )
    )
    shown = row_schema(manifest_of(schema))
    assert shown["properties"] == {
        "amount": {
            "type": "number",
            "minimum": 0.0,
            "maximum": 1e5,
            "description": "Amount claimed. Unit: EUR",
            "x-unit": "EUR",
        },
        "country": {"type": ["string", "null"], "enum": ["at", "de", None], "default": "de"},
        "age": {"type": ["integer", "null"], "minimum": -(2**53), "maximum": 2**53},
    }
    assert shown["required"] == ["amount"]
    assert shown["additionalProperties"] is False
    assert request_body(manifest_of(schema))["content"]["application/json"]["example"] == {"amount": 50_000.0}


def test_the_answers_schema_names_output_outcomes_classes_and_degraded() -> None:
    plain = Schema((Field("amount", "number"),))
    shown = answer_schema(manifest_of(plain, policy=ThresholdPolicy(("approve", "decline"), (0.5,))))
    assert shown["properties"]["fraud_probability"] == {"type": "number"}
    assert shown["properties"]["outcome"]["enum"] == ["approve", "decline"]
    assert "degraded" not in shown["properties"]

    store = Schema((Field("amount", "number"), Field("balance", "number", source="store", default=0.0)))
    shown = answer_schema(manifest_of(store, outputs=2, link="softmax", classes=("a", "b")))
    assert list(shown["properties"]["fraud_probability"]["properties"]) == ["a", "b"]
    assert "degraded" in shown["properties"]
    assert "degraded" not in shown["required"], "it is there where something is degraded"


def _says_exactly(field: Field, text: str) -> bool:
    """Whether JSON Schema can say of a value what the model says of it.

    It knows no bounds of exactness, and its integers are floats too, where a category is one word or another.
    """
    value = json.loads(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return abs(value) <= EXACT_INTEGER_MAX and not (field.type == "category" and isinstance(value, float))


def _valid(schema: Mapping[str, Any], value: Any) -> bool:
    """JSON Schema 2020-12, of it the keywords that are used."""
    known = {"type", "enum", "minimum", "maximum", "properties", "required", "additionalProperties"}
    assert set(schema) <= known | {"title", "description", "default", "x-unit"}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is_of(kind, value) for kind in kinds):
        return False
    if "enum" in schema and not any(type(value) is type(item) and value == item for item in schema["enum"]):
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if isinstance(value, dict):
        properties = schema["properties"]
        assert schema["additionalProperties"] is False
        return set(schema["required"]) <= set(value) <= set(properties) and all(
            _valid(properties[name], inner) for name, inner in value.items()
        )
    return True


def _is_of(kind: str, value: object) -> bool:
    if kind in ("number", "integer"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (kind == "number" or value == int(value))
    python = {"null": type(None), "boolean": bool, "string": str, "object": dict}[kind]
    return isinstance(value, python)
