"""The manifest: its canonical form is its identity, and nothing else is read as one."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import plain_manifest
from scoreline.core.errors import BundleError
from scoreline.core.manifest import EngineSpec, Manifest, canonical_json
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.schema import Field, Schema

from .fields import some_fields

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    n_outputs = draw(st.integers(1, 4))
    classes = tuple(draw(st.lists(words, min_size=n_outputs, max_size=n_outputs, unique=True))) if n_outputs > 1 else ()
    policy = ThresholdPolicy()
    if draw(st.booleans()):
        thresholds = tuple(sorted(draw(st.lists(st.floats(0, 1), min_size=1, max_size=3, unique=True))))
        outcomes = draw(st.lists(words, min_size=len(thresholds) + 1, max_size=len(thresholds) + 1, unique=True))
        policy = ThresholdPolicy(classes, likeliest=True) if classes else ThresholdPolicy(tuple(outcomes), thresholds)
    fields = draw(st.lists(some_fields(), min_size=1, max_size=3, unique_by=lambda field: field.name))
    prepare = draw(st.sampled_from(["", "model.onnx"]))
    sources = st.lists(st.integers(0, len(fields) - 1), max_size=4)
    return plain_manifest(
        name=draw(names),
        version=draw(names),
        output="out-" + draw(names),
        outputs=n_outputs,
        classes=classes,
        policy=policy,
        schema=Schema(tuple(fields)),
        engines=(
            EngineSpec("onnx", "model.onnx", draw(st.integers(0, 100))),
            EngineSpec("xgboost", "model.ubj", 0, prepare, tuple(draw(sources)) if prepare else ()),
        ),
        files={"model.onnx": draw(digests), "model.ubj": draw(digests)},
        lineage=draw(st.dictionaries(words, plain, max_size=3)),
        measured=draw(st.dictionaries(words, plain, max_size=3)),
    )


@given(manifests())
def test_manifest_read_from_its_canonical_form_is_the_same(manifest: Manifest) -> None:
    found = Manifest.from_bytes(manifest.canonical)
    assert repr(found.schema) == repr(manifest.schema)  # repr: NaN, as a default that means missing, equals itself
    schema = Schema(tuple(Field(f"f{place}", "number") for place in range(3)))
    assert replace(found, schema=schema) == replace(manifest, schema=schema)
    assert found.digest == manifest.digest == hashlib.sha256(manifest.canonical).hexdigest()


def test_canonical_form_is_sorted_and_has_no_spaces() -> None:
    manifest = plain_manifest(lineage={"z": 1, "a": "ü"})
    assert b" " not in manifest.canonical
    assert '"lineage":{"a":"ü","z":1}'.encode() in manifest.canonical
    keys = list(json.loads(manifest.canonical))
    assert keys == sorted(keys)


def test_digest_does_not_depend_on_the_order_things_were_given_in() -> None:
    one = plain_manifest(lineage={"a": 1, "b": 2}, files={"model.ubj": "0" * 64, "profile.json": "1" * 64})
    other = plain_manifest(lineage={"b": 2, "a": 1}, files={"profile.json": "1" * 64, "model.ubj": "0" * 64})
    assert one.digest == other.digest
    assert one.digest != plain_manifest(version="2").digest


def test_canonical_form_of_format_1_never_changes() -> None:
    """Bundles in the field are named by the digest of these bytes; a change of them is a new format."""
    assert plain_manifest().canonical == (
        b'{"classes":[],"engines":[{"file":"model.ubj","kind":"xgboost","max_rows":0}],"files":{"model.ubj":"'
        + b"0" * 64
        + b'"},"format":1,"lineage":{},"link":"sigmoid","measured":{},"name":"plain","output":"score","outputs":1,'
        b'"policy":{"likeliest":false,"outcomes":[],"thresholds":[]},"schema":[{"name":"a","type":"number"},'
        b'{"default":{"value":2.0},"name":"b","type":"number"}],"version":"1"}'
    )


def with_lineage(text: bytes) -> bytes:
    return plain_manifest().canonical.replace(b'"lineage":{}', text)


def tampered(change: Any) -> bytes:
    found = json.loads(plain_manifest().canonical)
    change(found)
    return canonical_json(found)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (json.dumps(json.loads(plain_manifest().canonical)).encode(), "not in canonical form"),
        (plain_manifest().canonical + b"\n", "not in canonical form"),
        (plain_manifest().canonical.replace(b'"format":1,', b'"format":1,"format":1,'), "a key stands twice"),
        (with_lineage(b'"lineage":{"a":NaN}'), "NaN and Infinity are not JSON"),
        (with_lineage(b'"lineage":{"a":1e999}'), "not finite"),
        (with_lineage(b'"lineage":{"a":"\\u0061"}'), "not in canonical form"),
        (with_lineage(b'"lineage":{"a":"\\ud800"}'), "does not describe a bundle"),
        (with_lineage(b'"lineage":{"a":1.50}'), "not in canonical form"),
        (with_lineage(b'"lineage":[]'), "not in canonical form"),
        (with_lineage(b'"lineage":5'), "does not describe a bundle"),
        (with_lineage(b'"lineage":"abc"'), "does not describe a bundle"),
        (plain_manifest().canonical.replace(b'"format":1', b'"format":2'), "not of format 1"),
        (b"{}", "not of format 1"),
        (b"[]", "not of format 1"),
        (b"null", "not of format 1"),
        (b"", "not strict JSON"),
        (b"\xff", "not strict JSON"),
        (tampered(lambda found: found.pop("measured")), "does not describe a bundle"),
        (tampered(lambda found: found.update(extra=1)), "not in canonical form"),
        (tampered(lambda found: found["engines"][0].update(extra=1)), "does not describe a bundle"),
        (tampered(lambda found: found["engines"][0].update(max_rows="9")), "an engine has a kind, a file"),
        (tampered(lambda found: found["engines"][0].update(max_rows=-1)), "an engine has a kind, a file"),
        (tampered(lambda found: found["engines"][0].update(kind=[])), "an engine has a kind, a file"),
        (tampered(lambda found: found["engines"][0].update(file=[])), "does not describe a bundle"),
        (tampered(lambda found: found.update(engines=[])), "at least one engine"),
        (tampered(lambda found: found.update(engines=5)), "does not describe a bundle"),
        (tampered(lambda found: found.update(schema=[])), "at least one field"),
        (tampered(lambda found: found.update(schema={})), "at least one field"),
        (tampered(lambda found: found["schema"].append(5)), "does not describe a bundle"),
        (tampered(lambda found: found["schema"][0].update(type="text")), "type must be one of"),
        (tampered(lambda found: found["schema"][0].update(range=[0, 10**400])), "not finite"),
        (tampered(lambda found: found["schema"][0].update(default=5)), "does not describe a bundle"),
        (tampered(lambda found: found.update(policy={})), "does not describe a bundle"),
        (tampered(lambda found: found["policy"].update(thresholds=["a"])), "does not describe a bundle"),
        (tampered(lambda found: found.update(files=["model.ubj"])), "does not describe a bundle"),
        (tampered(lambda found: found.update(outputs="1")), "outputs is a positive number"),
        (tampered(lambda found: found.update(link="logit")), "link must be one of identity, sigmoid, exp, softmax"),
    ],
)  # fmt: skip
def test_what_is_not_a_canonical_manifest_is_refused(raw: bytes, problem: str) -> None:
    with pytest.raises(BundleError, match=problem):
        Manifest.from_bytes(raw)


@given(st.data())
def test_any_one_byte_changed_is_refused_or_another_identity(data: st.DataObject) -> None:
    original = plain_manifest(lineage={"note": "x"})
    raw = bytearray(original.canonical)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        found = Manifest.from_bytes(bytes(raw))
    except BundleError:
        return
    assert found.digest != original.digest


@pytest.mark.parametrize("bad", ["", " ", "a b", "-a", ".a", "a/b", "../a", "a" * 101, "ü", "a\n", 5, None])
@pytest.mark.parametrize("what", ["name", "version", "output"])
def test_names_are_plain_words(what: str, bad: Any) -> None:
    with pytest.raises(BundleError, match=f"{what}: letters, digits"):
        plain_manifest(**{what: bad})


@pytest.mark.parametrize("word", ["prediction_id", "outcome", "model", "version", "defaulted", "degraded", "row"])
def test_output_is_not_a_word_every_answer_has(word: str) -> None:
    with pytest.raises(BundleError, match="a word of every answer"):
        plain_manifest(output=word)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"outputs": 0}, "outputs is a positive number"),
        ({"outputs": 2}, "one class per output"),
        ({"outputs": 2, "classes": ("a", "b", "c")}, "one class per output"),
        ({"classes": ("a", "b")}, "one class per output"),
        ({"files": {"../model.ubj": "0" * 64}}, "plain file names"),
        ({"files": {"model.ubj": "0" * 63}}, "SHA-256 digests"),
        ({"files": {"model.ubj": "0" * 64, ".hidden": "0" * 64}}, "plain file names"),
        ({"files": {"other.ubj": "0" * 64}}, "'model.ubj' is not among the bundle's files"),
        ({"engines": (EngineSpec("xgboost", "model.ubj", prepare="prepare.onnx"),)}, "'prepare.onnx' is not among"),
        ({"engines": (EngineSpec("xgboost", "model.ubj", sources=(0,)),)}, "sources are positions of fields"),
        ({"engines": (EngineSpec("xgboost", "model.ubj", 0, "model.ubj", (0, 2)),)}, "sources are positions of fields"),
        ({"engines": (EngineSpec("xgboost", "model.ubj", 0, "model.ubj", (-1,)),)}, "sources are positions of fields"),
        (
            {"engines": (EngineSpec("xgboost", "model.ubj", 0, "model.ubj", (True,)),)},
            "sources are positions of fields",
        ),
        ({"policy": ThresholdPolicy(("a", "b"), likeliest=True)}, "likeliest class"),
        (
            {"outputs": 2, "classes": ("a", "b"), "policy": ThresholdPolicy(("b", "a"), likeliest=True)},
            "likeliest class",
        ),
        (
            {"outputs": 2, "classes": ("a", "b"), "policy": ThresholdPolicy(("x", "y"), (0.5,))},
            "a multi-class model's outcome is its likeliest class",
        ),
    ],
)
def test_contradictory_manifest_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(BundleError, match=problem):
        plain_manifest(**changed)


def test_an_engine_without_a_prepare_says_nothing_of_it() -> None:
    """As bundles said that were sealed before there was one: their identity stays."""
    assert "prepare" not in plain_manifest().canonical.decode()


def test_schema_of_a_manifest_is_the_order_of_the_values() -> None:
    manifest = plain_manifest(schema=Schema((Field("b", "number"), Field("a", "number"))))
    assert Manifest.from_bytes(manifest.canonical).schema.names == ("b", "a")
