"""`scoreline seal`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from scoreline.cli.flags import Config
from scoreline.cli.output import errors_as_exit, say
from scoreline.cli.who import user
from scoreline.core.errors import SettingError
from scoreline.operations.register import is_registered, seal_version
from scoreline.sealing import seal
from scoreline.sealing.seal import Sealed
from scoreline.settings import load_settings
from scoreline.wiring import model_registry


def seal_command(
    source: Annotated[
        str,
        typer.Argument(
            help="A trained model: XGBoost's .ubj or .json, LightGBM's .txt, CatBoost's .cbm, .onnx, .skops, a folder "
            "that MLflow saved, or a version in MLflow's registry: models:/NAME/VERSION, models:/NAME@ALIAS."
        ),
    ],
    output: Annotated[str, typer.Option(help="Name of the score in every answer.")],
    reference: Annotated[Path, typer.Option(help="Rows it was trained on, or a sample: .parquet or .csv.")],
    key: Annotated[Path, typer.Option(help="Private key to sign with; see `scoreline keygen`.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; a registry's version has its own.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the new bundle; else bundles/NAME-VERSION.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Version; else the registry's, or the end of --out after NAME-, else 1.")
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="schema.toml with what the reference does not show.")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="OUTCOME=SCORE from which the outcome holds; may be repeated.")
    ] = None,
    otherwise: Annotated[str, typer.Option(help="Outcome of scores below all thresholds.")] = "approve",
    classes: Annotated[str, typer.Option(help="Names of a multi-class model's classes, separated by commas.")] = "",
    entity: Annotated[
        str, typer.Option(help="Name by which a row may say whom it is about, as customer_id; kept as a keyed hash.")
    ] = "",
    maturity_days: Annotated[
        float,
        typer.Option(help="How long after a decision its outcome may still change."),
    ] = 0.0,
    time_column: Annotated[
        str,
        typer.Option(
            "--time", help="Column of the reference with the time of each row: how far days lie apart is no drift."
        ),
    ] = "",
    iterations: Annotated[
        str, typer.Option(help="best: up to early stopping's best iteration; all: all trees.")
    ] = "best",
    sealer: Annotated[
        str, typer.Option("--by", help="Who seals it, for the record; else the user. Another approves its rollout.")
    ] = "",
    register: Annotated[
        bool, typer.Option("--register", help="Attach the bundle to the registry's version it was sealed from.")
    ] = False,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Open a pickle, which may run anything: only of makers you trust.")
    ] = False,
    config: Config = None,
) -> None:
    """Seals a trained model into a signed bundle, or says why it cannot."""
    with errors_as_exit():
        if iterations not in ("best", "all"):
            raise SettingError("--iterations is best or all")
        settings = load_settings(config, os.environ)
        folder = Path(settings.registry.folder)
        how: dict[str, Any] = {
            "output": output,
            "reference": reference,
            "key": key,
            "schema": schema,
            "thresholds": _thresholds(threshold or []),
            "otherwise": otherwise,
            "classes": classes.split(",") if classes else None,
            "iterations": iterations,
            "entity": entity,
            "maturity_s": round(maturity_days * 86_400),
            "time_column": time_column,
            "trust_pickle": trust_pickle,
            "origin": {"sealed_by": sealer or user()},
        }
        if is_registered(source):
            registry = model_registry(settings)
            sealed = seal_version(
                source, registry, folder=folder, out=out, register=register, name=name, version=version, **how
            )
        elif register:
            raise SettingError("--register attaches a bundle to a version in a registry: seal models:/NAME/VERSION")
        elif name is None:
            raise SettingError("--name: which model is this a version of?")
        else:
            out = out or folder / f"{name}-{version or 1}"
            sealed = seal(source, name=name, version=version, out=out, **how)
    _report(sealed)
    if register:
        say(f"attached to models:/{sealed.manifest.name}/{sealed.manifest.version}")


def _thresholds(texts: list[str]) -> dict[str, float]:
    found = dict(_threshold(text) for text in texts)
    if len(found) != len(texts):
        raise SettingError("--threshold: an outcome starts at one score; one is given twice")
    return found


def _threshold(text: str) -> tuple[str, float]:
    outcome, _, start = text.partition("=")
    try:
        return outcome, float(start)
    except ValueError:
        raise SettingError(f"--threshold {text}: use OUTCOME=SCORE, as in review=0.5") from None


def _report(sealed: Sealed) -> None:
    manifest, measured = sealed.manifest, sealed.manifest.measured
    say(f"{sealed.path}  {manifest.name} {manifest.version}  {manifest.digest}")
    if sealed.parity.exact:
        say(f"parity: margins equal bit for bit on {sealed.parity.rows:,} rows")
        say(f"        scores within {sealed.parity.score_ulp} float32 ulp of the library's own")
    else:
        say(f"parity: scores within {sealed.parity.score_distance:.1e} of the trainer's own, no outcome flipped,")
        say(f"        on {sealed.parity.rows:,} rows")
    say(
        f"one row: p50 {measured['row_p50_us']} us, p99 {measured['row_p99_us']} us; "
        f"in bulk {measured['bulk_rows_per_s']:,} rows/s ({measured['engine']})"
    )
    if sealed.twin_reason:
        say(f"one engine for single rows and batches: {sealed.twin_reason}")
