"""What a version must pass before it answers anybody: compatibility, the budget of time, and shadow."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from scoreline.core.budget import Budget
from scoreline.core.errors import RolloutRefused
from scoreline.core.manifest import Manifest
from scoreline.core.schema import Field, Schema
from scoreline.rollout.policy import Policy

MOST_UNSCORED: Final = 0.05  # of the champion's decisions: what it has no answer for, it is not compared on


@dataclass(frozen=True, slots=True)
class ShadowEvidence:
    """What shadow says of a challenger: rows compared with the champion's, pairs held against outcomes, e-values.

    `unscored` rows are the champion's that it has no score for.
    """

    rows: int = 0
    pairs: int = 0
    e_better: float = 1.0
    e_safe: float = 1.0
    e_worse: float = 1.0
    unscored: int = 0

    @property
    def share_unscored(self) -> float:
        return self.unscored / (self.rows + self.unscored) if self.unscored else 0.0


def check_compatible(champion: Manifest, challenger: Manifest) -> None:
    """Raises RolloutRefused with everything in which the challenger cannot take the champion's place."""
    problems = [*_outputs(champion, challenger), *refused_rows(champion.schema, challenger.schema)]
    if problems:
        raise RolloutRefused(
            f"version {challenger.version} cannot answer for version {champion.version}; seal it so that it can: "
            + "; ".join(problems)
        )


def refused_rows(champion: Schema, challenger: Schema) -> Iterator[str]:
    """Why there are rows the champion accepts and the challenger does not, by field; nothing: it accepts them all."""
    sent = {field.name: field for field in champion.fields if field.source == "request"}
    for name, field in sent.items():
        position = challenger.index.get(name)
        after = None if position is None else challenger.fields[position]
        if after is None or after.source == "store":
            there = "is not one of it" if after is None else "comes from the store"
            yield f"field {name!r} {there}, so rows that bring it would be refused"
        else:
            yield from (f"field {name!r} {problem}" for problem in _narrower(field, after))
    for after in challenger.fields:
        if after.name not in sent and after.default_value is None:
            yield f"field {after.name!r} is new and required; give it a default, or take it from the store"
        if after.indispensable and not any(
            field.indispensable for field in champion.fields if field.name == after.name
        ):
            yield f"field {after.name!r} becomes indispensable, so rows without it would be refused; give it a default"
    yield from _looked_up_elsewhere(champion, challenger)
    if champion.entity and champion.entity != challenger.entity:
        yield f"rows say with {champion.entity!r} whom they are about, which it does not know"


def check_budget(version: str, p99_ms: float | None, budget: Budget) -> None:
    """Raises RolloutRefused where the 99th percentile of the model's time is over its share, or not known."""
    shares = f"{budget.total_ms} ms less {budget.network_ms} for the network and {budget.features_ms} for features"
    if p99_ms is None or not math.isfinite(p99_ms):
        raise RolloutRefused(f"version {version}: its time is not measured; let it run in shadow first")
    if p99_ms > budget.model_ms:
        raise RolloutRefused(
            f"version {version}: p99 of {p99_ms:.4g} ms is over the model's {budget.model_ms} ms ({shares}); "
            "make it faster, or set latency.model_ms"
        )


def check_shadow(version: str, seen: ShadowEvidence, policy: Policy) -> None:
    """Raises RolloutRefused until shadow has shown what the policy asks for."""
    limit = 1 / policy.alpha_shadow
    if seen.e_worse >= limit:
        raise RolloutRefused(f"version {version} is WORSE on outcomes: e-value {seen.e_worse:.4g} reaches {limit:g}")
    if policy.shadow_gate != "none" and seen.share_unscored > MOST_UNSCORED:
        raise RolloutRefused(
            f"version {version} has no score for {seen.unscored} of the champion's {seen.rows + seen.unscored} rows "
            f"({seen.share_unscored * 100:.3g} %, at most {MOST_UNSCORED * 100:g} %), and nobody knows what it would "
            "answer there; `scoreline rollout status` says how it failed: mend it, and begin its shadow again"
        )
    if policy.shadow_gate == "agreement" and seen.rows < policy.min_requests:
        raise RolloutRefused(
            f"version {version} is compared with the champion on {seen.rows} of {policy.min_requests} rows; wait"
        )
    if policy.shadow_gate == "outcomes" and not max(seen.e_safe, seen.e_better) >= limit:
        raise RolloutRefused(
            f"version {version} is not proven SAFE within {policy.delta:g}: e-value {seen.e_safe:.4g} of {limit:g} "
            f"after {seen.pairs} outcomes; wait for more, give `--force REASON`, or set rollout.shadow_gate"
        )


def _outputs(champion: Manifest, challenger: Manifest) -> Iterator[str]:
    for what, before, after in (
        ("model", champion.name, challenger.name),
        ("output", champion.output, challenger.output),
        ("classes", list(champion.classes), list(challenger.classes)),
    ):
        if before != after:
            yield f"its {what} {after!r} should be {before!r}"
    known, told = champion.policy.outcomes, challenger.policy.outcomes
    if bool(known) != bool(told):
        yield "only one of the two has outcomes"
    new = [outcome for outcome in told if outcome not in known]
    if known and new:
        yield f"outcomes {', '.join(map(repr, new))} are new to those who ask"


def _looked_up_elsewhere(champion: Schema, challenger: Schema) -> Iterator[str]:
    """Fields of one name with two meanings: both versions get one lookup, and it goes by names."""
    stored = champion.fields if champion.entity else ()
    before = {field.name: _place(field, champion) for field in stored if field.source == "store"}
    for field in challenger.fields:
        if field.source == "store" and before.get(field.name, _place(field, challenger)) != _place(field, challenger):
            yield f"field {field.name!r} would be looked up elsewhere than before; give it another name"


def _place(field: Field, schema: Schema) -> tuple[str, str]:
    return field.view or schema.entity, field.feature or field.name


def _narrower(before: Field, after: Field) -> Iterator[str]:
    """In what a field accepts less than before; a whole number may become any number."""
    if before.type != after.type and (before.type, after.type) != ("integer", "number"):
        yield f"was {before.type} and is {after.type}"
        return
    if before.unit and after.unit and before.unit != after.unit:
        yield f"was in {before.unit} and is in {after.unit}"
    if before.nullable and not after.nullable:
        yield "may be null and no longer could"
    if before.default_value is not None and after.default_value is None:
        yield "may be left out and no longer could; give it a default"
    if before.type == "category":
        yield from _fewer(before, after)
        return
    low, high = before.bounds
    if before.type == "integer":
        low, high = math.ceil(low), math.floor(high)
    least, most = after.bounds
    if least > low:
        yield f"goes down to {low:.15g} and would to {least:.15g} only"
    if most < high:
        yield f"goes up to {high:.15g} and would to {most:.15g} only"


def _fewer(before: Field, after: Field) -> Iterator[str]:
    if type(before.categories[0]) is not type(after.categories[0]):
        yield "has texts for categories in one version and integers in the other"
    elif after.unseen != "missing":
        gone = [category for category in before.categories if category not in after.codes]
        if gone:
            yield f"no longer knows {len(gone)} of its categories ({', '.join(map(repr, gone[:5]))})"
        if before.unseen == "missing":
            yield "takes unseen categories as missing and would refuse them"
