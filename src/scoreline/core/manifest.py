"""The manifest of a bundle: what it is, and the digests of every file that makes it up."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Final

from scoreline.core.errors import BundleError, ScorelineError
from scoreline.core.link import LINKS, PROBABILITY_LINKS
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.schema import Schema
from scoreline.core.strictjson import strict_json

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_FILE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
MAX_MATURITY_S: Final = 100 * 366 * 86_400
_RESERVED: Final = {"prediction_id", "outcome", "model", "version", "defaulted", "degraded", "row"}


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine of a bundle: its kind, its model file, and up to how many rows it is the faster one (0: any).

    `prepare` is the file of the graph that makes what the engine takes of the fields; empty: it takes the fields.
    `sources` has the position of the field that each column of this graph is made of; empty: not known.
    """

    kind: str
    file: str
    max_rows: int = 0
    prepare: str = ""
    sources: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`EngineSpec.from_json(e.to_json()) == e`. What is empty is left out, as in bundles sealed before it was."""
        found = {"kind": self.kind, "file": self.file, "max_rows": self.max_rows}
        found |= {"prepare": self.prepare} if self.prepare else {}
        return found | {"sources": list(self.sources)} if self.sources else found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "EngineSpec":
        return cls(**{**found, "sources": tuple(found.get("sources", ()))})


@dataclass(frozen=True)
class Manifest:
    """What a bundle is. Frozen: its identity is the SHA-256 of its canonical JSON.

    `link` names the function from margin to score; `classes` is empty but for multi-class models; `files` maps every
    other file of the bundle to its SHA-256; `maturity_s` is how long after a decision its outcome may still change;
    `lineage` says where the model came from and `measured` what it costs.
    """

    name: str
    version: str
    output: str
    link: str
    outputs: int
    schema: Schema
    engines: tuple[EngineSpec, ...]
    files: Mapping[str, str]
    classes: tuple[str, ...] = ()
    policy: ThresholdPolicy = field(default_factory=ThresholdPolicy)
    maturity_s: int = 0
    lineage: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for problem in chain(self._wrong_words(), self._wrong_outputs(), self._wrong_files()):
            raise BundleError(problem)

    @property
    def are_probabilities(self) -> bool:
        """By the link; a graph has none and may still answer them, as its classes or thresholds say."""
        thresholds = self.policy.thresholds
        may_be = bool(self.classes) or (bool(thresholds) and all(0 < one < 1 for one in thresholds))
        return self.link in PROBABILITY_LINKS or (self.link == "identity" and may_be)

    def _wrong_words(self) -> Iterator[str]:
        for what, text in (("name", self.name), ("version", self.version), ("output", self.output)):
            if not isinstance(text, str) or not NAME.fullmatch(text):
                yield f"{what}: letters, digits, '.', '_' and '-', at most 100"
        if self.output in _RESERVED:
            yield f"output: {self.output!r} is a word of every answer; choose another"
        if type(self.maturity_s) is not int or not 0 <= self.maturity_s <= MAX_MATURITY_S:
            yield "maturity_s: whole seconds, at most 100 years"
        if self.link not in LINKS:
            yield f"link must be one of {', '.join(LINKS)}"

    def _wrong_outputs(self) -> Iterator[str]:
        if not isinstance(self.outputs, int) or self.outputs < 1:
            yield "outputs is a positive number"
        if (len(self.classes) or 1) != self.outputs:
            yield "there is one class per output"
        if self.policy.outcomes and self.policy.likeliest != bool(self.classes):
            yield "a multi-class model's outcome is its likeliest class, any other model's goes by thresholds"
        if self.policy.likeliest and self.policy.outcomes != self.classes:
            yield "the likeliest class is an outcome only of a multi-class model"

    def _wrong_files(self) -> Iterator[str]:
        if not self.engines:
            yield "a bundle has at least one engine"
        for file, digest in self.files.items():
            if not _FILE.fullmatch(file) or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                yield "files maps plain file names to SHA-256 digests"
        for spec in self.engines:
            if not isinstance(spec.kind, str) or type(spec.max_rows) is not int or spec.max_rows < 0:
                yield "an engine has a kind, a file, and max_rows of 0 or more"
            known = len(self.schema.fields) if spec.prepare else 0
            if not all(type(at) is int and 0 <= at < known for at in spec.sources):
                yield "an engine's sources are positions of fields, for the columns of its prepare"
            for file in (spec.file, spec.prepare or spec.file):
                if file not in self.files:
                    yield f"engine file {file!r} is not among the bundle's files"

    @cached_property
    def canonical(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, UTF-8, no NaN."""
        return canonical_json(self.to_json())

    @cached_property
    def digest(self) -> str:
        """The identity of the bundle: SHA-256 of the canonical manifest, in hex."""
        return hashlib.sha256(self.canonical).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """`Manifest.from_bytes(m.canonical) == m`."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "output": self.output,
            "link": self.link,
            "outputs": self.outputs,
            "schema": self.schema.to_json(),
            "engines": [spec.to_json() for spec in self.engines],
            "files": dict(self.files),
            "classes": list(self.classes),
            "policy": {
                "outcomes": list(self.policy.outcomes),
                "thresholds": list(self.policy.thresholds),
                "likeliest": self.policy.likeliest,
            },
            "lineage": dict(self.lineage),
            "measured": dict(self.measured),
            **({"entity": self.schema.entity} if self.schema.entity else {}),
            **({"maturity_s": self.maturity_s} if self.maturity_s else {}),
        }

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Manifest":
        """Reads a manifest of a format this version knows, and only in canonical form; raises BundleError."""
        found = read_json(MANIFEST, raw)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise BundleError(f"manifest.json is not of format {FORMAT}; seal the model again with this version")
        try:
            policy = found["policy"]
            manifest = cls(
                name=found["name"],
                version=found["version"],
                output=found["output"],
                link=found["link"],
                outputs=found["outputs"],
                schema=Schema.from_json(found["schema"], found.get("entity", "")),
                engines=tuple(EngineSpec.from_json(spec) for spec in found["engines"]),
                files=found["files"],
                classes=tuple(found["classes"]),
                policy=ThresholdPolicy(
                    tuple(policy["outcomes"]), tuple(policy["thresholds"]), likeliest=policy["likeliest"]
                ),
                maturity_s=found.get("maturity_s", 0),
                lineage=found["lineage"],
                measured=found["measured"],
            )
            canonical = manifest.canonical
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, ScorelineError) as error:
            raise BundleError(f"manifest.json does not describe a bundle: {error}") from None
        if canonical != raw:
            raise BundleError("manifest.json is not in canonical form")
        return manifest


def canonical_json(found: object) -> bytes:
    """Sorted keys, no spaces, UTF-8; raises ValueError on NaN and infinities."""
    return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_json(name: str, raw: bytes) -> Any:
    """The strict JSON of a file of a bundle; raises BundleError."""
    try:
        return strict_json(raw)
    except ValueError as error:
        raise BundleError(f"{name} is not strict JSON: {error}") from None
