"""Who may reach a service that is about to start, and whether anybody needs a key: settled before it listens."""

import logging
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from scoreline.access.hosts import is_loopback
from scoreline.core.errors import NotFound, ScorelineError, SettingError
from scoreline.core.names import load
from scoreline.operations.credentials import Credentials, read_credentials
from scoreline.settings import Settings
from scoreline.web.tls import Certificate
from scoreline.wiring import database_file, database_of

OPEN: Final = "no credentials are set: this machine only; access.admin_key or access.anonymous opens it to others"
log = logging.getLogger("scoreline.serve")


def known_credentials(settings: Settings) -> Credentials:
    """Which keys there are, as far as that can be told before the service runs; `guarded` where it cannot.

    What was written last counts. A new host asks the database and the issuer, so that its first answers know what all
    others do; and where nothing but the file says that the service is open, whether a key was made since is asked, too.
    A process of its own asks, for workers fork here.
    """
    try:
        kept = read_credentials(Path(settings.state_dir))
    except (NotFound, SettingError):
        kept = None
    has_database = bool(settings.records.database) or database_file(settings).exists()
    asks_database = has_database and (kept is None or not (kept.guarded or _has_own(settings)))
    asks_issuer = bool(settings.oauth.jwks_url) and not (kept and kept.fetched_ns)
    if not asks_database and not asks_issuer:
        return kept or Credentials()
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(_asked, kept or Credentials(), settings, asks_database, asks_issuer).result()


def check_exposure(settings: Settings, known: Credentials) -> None:
    """Refuses to answer other machines without credentials or an explicit choice; raises SettingError."""
    reached = _reached(settings)
    if reached and not (_has_own(settings) or known.guarded):
        raise SettingError(
            f"{reached} is open to other machines and nobody needs a key: set access.admin_key "
            "(SCORELINE_ACCESS__ADMIN_KEY), make a key with `scoreline keys create`, or choose "
            'access.anonymous = ["predict"] explicitly'
        )


def warn_of_plain_text(settings: Settings) -> None:
    """Says so where keys would cross a network that anybody may listen to; a proxy in front may have ended TLS."""
    reached = _reached(settings)
    if reached and not settings.server.tls_cert:
        log.warning(
            "%s IS REACHED WITHOUT TLS: whoever listens on the way reads keys and rows. Set server.tls_cert and "
            "server.tls_key, or let a proxy on this host, or in this pod, end TLS",
            reached,
        )


def certificate(settings: Settings) -> Certificate | None:
    """What both planes speak TLS with, None where they do not; raises SettingError."""
    server = settings.server
    return Certificate(Path(server.tls_cert), Path(server.tls_key)) if server.tls_cert else None


def _reached(settings: Settings) -> str:
    """The address at which other machines reach this one, the data plane's first; empty where none do."""
    hosts = settings.server.host, settings.server.admin_host
    return next((host for host in hosts if not is_loopback(host)), "")


def _has_own(settings: Settings) -> bool:
    """Whether the settings themselves say who may do what."""
    return bool(settings.access.admin_key or settings.access.anonymous or settings.oauth.issuer)


def _asked(known: Credentials, settings: Settings, asks_database: bool, asks_issuer: bool) -> Credentials:
    """What is known, and what can be had now; the steward asks again."""
    if asks_database:
        try:
            with closing(database_of(settings)) as database:
                database.prepare()
                keys, guarded = load("scoreline.records.apikeys:active_keys")(database, time.time_ns())
            known = replace(known, keys={key.digest: key.caller for key in keys}, guarded=guarded)
        except ScorelineError as error:
            log.warning("which keys there are is not known yet, and nothing is open until it is: %s", error)
            known = replace(known, guarded=True)
    if asks_issuer:
        try:
            jwks = load("scoreline.control.jwks:fetch_jwks")(settings.oauth.jwks_url)
            known = replace(known, jwks=jwks, fetched_ns=time.time_ns())
        except ScorelineError as error:
            log.warning("no tokens are accepted yet: %s", error)
    return known
