"""`scoreline steward`."""

import logging
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from scoreline.cli.exposure import certificate, check_exposure, known_credentials, warn_of_plain_text
from scoreline.cli.flags import AdminHost, AdminPort, Config, StateDir, Trust
from scoreline.cli.logs import set_up_logging
from scoreline.cli.output import errors_as_exit, say
from scoreline.cli.parts import end_when_told, listening, place, steward_of, told_apart
from scoreline.cli.supervisor import supervise
from scoreline.core.counts import Counts
from scoreline.operations.held import STEWARD, held
from scoreline.operations.memory import share_one_arena
from scoreline.operations.state import FILE
from scoreline.settings import Settings, load_settings
from scoreline.wiring import patience_of

LOOK_S: Final = 0.1
log = logging.getLogger("scoreline.serve")


def steward(
    refs: Annotated[list[str], typer.Argument(help="Those that `serve` is given.", show_default=False)],
    trust: Trust = None,
    admin_host: AdminHost = None,
    admin_port: AdminPort = None,
    state_dir: StateDir = None,
    config: Config = None,
) -> None:
    """Keeps the steward and the shadow of a service that runs with `serve --no-steward`, as in another container."""
    share_one_arena()
    end_when_told()
    with errors_as_exit():
        flags = {
            "trust.keys": trust or None,
            "server.admin_host": admin_host,
            "server.admin_port": admin_port,
            "state_dir": state_dir,
        }
        settings = load_settings(config, os.environ, flags)
        set_up_logging(settings.log.format, settings.log.level)
        with held(Path(settings.state_dir), STEWARD):
            code = run(refs, settings)
    raise typer.Exit(code)


def run(refs: list[str], settings: Settings) -> int:
    """Waits for the service to begin, then keeps both until told to end; raises SettingError."""
    server, tls = settings.server, certificate(settings)
    control = listening(server.admin_host, server.admin_port, "--admin-port")
    _wait_for_state(Path(settings.state_dir))
    check_exposure(settings, known_credentials(settings))
    warn_of_plain_text(settings)
    ends = Counts()
    return supervise(
        [],
        steward_of(settings, refs, control, tls, told_apart(settings, anew=False).to(ends)),
        drain_delay_s=0.0,
        drain_s=0.0,
        patience=patience_of(settings),
        on_ready=lambda: say(f"scoreline steward keeps {settings.state_dir} (control plane at {place(control, tls)})"),
        stop_accepting=lambda: None,
        on_end=lambda child: ends.add("process_ends", child.name),
    )


def _wait_for_state(state_dir: Path) -> None:
    if not (state_dir / FILE).exists():
        log.info("waiting for `scoreline serve --no-steward` to begin in %s", state_dir)
    while not (state_dir / FILE).exists():
        time.sleep(LOOK_S)
