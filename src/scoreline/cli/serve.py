"""`scoreline serve`."""

import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Final

import typer

from scoreline.cli.exposure import OPEN, certificate, check_exposure, known_credentials, warn_of_plain_text
from scoreline.cli.flags import AdminHost, AdminPort, Config, StateDir, Trust
from scoreline.cli.logs import set_up_logging
from scoreline.cli.output import errors_as_exit, say
from scoreline.cli.parts import end_when_told, listening, place, steward_of, told_apart, told_here, workers_of
from scoreline.cli.supervisor import supervise
from scoreline.core.errors import NotFound, ScorelineError, SettingError
from scoreline.core.manifest import MANIFEST
from scoreline.core.names import load
from scoreline.core.refs import Ref, is_path
from scoreline.operations.credentials import keep_credentials
from scoreline.operations.follow import install_or_keep, kept_champion
from scoreline.operations.held import SERVICE, STEWARD, held
from scoreline.operations.memory import share_one_arena
from scoreline.operations.state import Assignment, State, write_state
from scoreline.settings import Settings, load_settings
from scoreline.web.server import stop_listening
from scoreline.web.tls import Certificate
from scoreline.wiring import database_of, patience_of, registries, verifier, watched

# What SageMaker expects of a container that it starts with `serve`; settings that are given go before.
SAGEMAKER: Final = {"server.host": "0.0.0.0", "server.port": 8080, "server.csv_header": False}

log = logging.getLogger("scoreline.serve")


def serve(
    refs: Annotated[
        list[str] | None,
        typer.Argument(
            help="models:/NAME@ALIAS, folder:/NAME or a path; may be repeated. None: as SageMaker starts it.",
            show_default=False,
        ),
    ] = None,
    trust: Trust = None,
    host: Annotated[str | None, typer.Option(help="Address to bind to.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the data plane; 0 takes a free one.")] = None,
    admin_host: AdminHost = None,
    admin_port: AdminPort = None,
    steward: Annotated[
        bool, typer.Option("--steward/--no-steward", help="Whether it runs here, or `scoreline steward` beside it.")
    ] = True,
    workers: Annotated[int | None, typer.Option(help="Processes that answer.")] = None,
    default: Annotated[str, typer.Option(help="Model that /predict answers with, where several are served.")] = "",
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Serves models over HTTP: verifies them, loads them, answers, and records every answer before giving it."""
    share_one_arena()
    end_when_told()
    with errors_as_exit():
        flags = {
            "trust.keys": trust or None,
            "server.host": host,
            "server.port": port,
            "server.admin_host": admin_host,
            "server.admin_port": admin_port,
            "server.workers": workers,
            "state_dir": state_dir,
        }
        settings = load_settings(config, os.environ, flags, None if refs else SAGEMAKER)
        set_up_logging(settings.log.format, settings.log.level)
        refs = refs or sagemaker_refs(Path(settings.registry.sagemaker_folder))
        tls = certificate(settings)
        known = known_credentials(settings)
        check_exposure(settings, known)
        with held(Path(settings.state_dir), SERVICE, *([STEWARD] if steward else [])):
            warn_of_plain_text(settings)
            keep_credentials(Path(settings.state_dir), known)
            code = run(refs, settings, default, tls, steward=steward)
    raise typer.Exit(code)


def run(refs: list[str], settings: Settings, default: str, tls: Certificate | None, *, steward: bool) -> int:
    """Listens, installs, keeps the processes until they have drained; raises SettingError, NotFound, BundleError."""
    server = settings.server
    data = listening(server.host, server.port, "--port")
    control = listening(server.admin_host, server.admin_port, "--admin-port") if steward else None
    state = _seed_apart(refs, settings, default)
    names = ", ".join(f"{name} {assignment.version}" for name, assignment in state.models.items())

    def on_ready() -> None:
        at_control = f"control plane at {place(control, tls)}" if control else "its steward apart"
        say(f"scoreline serves {names} at {place(data, tls)} ({at_control})")
        if watched(settings).ring.is_open:
            say(OPEN)

    counted = told_here(settings) if control else told_apart(settings, anew=True)
    return supervise(
        workers_of(settings, data, tls, counted),
        steward_of(settings, refs, control, tls, counted.to()) if control else [],
        drain_delay_s=server.drain_delay_ms / 1e3,
        drain_s=server.drain_ms / 1e3,
        patience=patience_of(settings),
        on_ready=on_ready,
        stop_accepting=lambda: stop_listening(data),
        on_end=lambda child: counted.keeper.add("process_ends", child.name),
    )


def sagemaker_refs(folder: Path) -> list[str]:
    """The bundles that SageMaker unpacked: the folder itself, or those in it; raises NotFound."""
    places = [folder, *(sorted(folder.iterdir()) if folder.is_dir() else ())]
    found = [str(place) for place in places if (place / MANIFEST).is_file()]
    if not found:
        raise NotFound(f"no bundle in {folder}, which `serve` without a REF serves: give a REF")
    return found


def seed_state(refs: list[str], settings: Settings, default: str) -> State:
    """Installs every REF, tried out, and writes the state that assigns them; raises what installing raises."""
    trust, known, state_dir = verifier(settings), registries(settings), Path(settings.state_dir)
    models: dict[str, Assignment] = {}
    for ref in refs:
        manifest = install_or_keep(ref, known, trust, state_dir).manifest
        if manifest.name in models:
            raise SettingError(f"two references are versions of {manifest.name!r}; serve one of them")
        kept = kept_champion(manifest.name, trust, state_dir) or _decided(manifest.name, settings)
        if kept and kept.digest != manifest.digest:
            log.warning(
                "%s is version %s, and version %s of %s answers, as was decided before: `scoreline rollout` moves on",
                ref, manifest.version, kept.version, manifest.name,
            )  # fmt: skip
        models[manifest.name] = kept or Assignment(manifest.version, manifest.digest)
    if default and default not in models:
        raise SettingError(f"--default {default}: not among the models served: {', '.join(models)}")
    state = State(models, default or (next(iter(models)) if len(models) == 1 else ""))
    write_state(state_dir, state)
    return state


def _decided(name: str, settings: Settings) -> Assignment | None:
    """The champion that the ledger of other hosts names, brought here; None where there is none, or nobody can tell."""
    if not settings.records.database:
        return None
    try:
        found: Assignment | None = load("scoreline.operations.governed:decided")(
            name, database_of(settings), registries(settings), verifier(settings), Path(settings.state_dir)
        )
    except ScorelineError as error:
        log.warning("the ledger's champion of %s is not known here yet, the REF's version begins: %s", name, error)
        return None
    return found


def _seed_apart(refs: list[str], settings: Settings, default: str) -> State:
    """The state, seeded in a process of its own where a client of registry or database is needed: workers fork here."""
    if not settings.records.database and all(is_path(ref) or Ref.parse(ref).scheme == "folder" for ref in refs):
        return seed_state(refs, settings, default)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(seed_state, refs, settings, default).result()
