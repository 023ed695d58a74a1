"""`scoreline budget`: which part of a request spends what, against its share."""

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

import typer

from scoreline.cli.flags import Config
from scoreline.cli.output import errors_as_exit, say
from scoreline.core.errors import NotFound, SettingError
from scoreline.settings import load_settings

TIMEOUT_S: Final = 10.0


def budget(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model that is served.")],
    url: Annotated[str, typer.Option(help="Where the control plane is; else this machine's, by the settings.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: Config = None,
) -> None:
    """Shows which part of a model's requests spends what at p50, p95 and p99, against its share of the budget."""
    with errors_as_exit():
        settings = load_settings(config, os.environ)
        found = ask(url or f"http://127.0.0.1:{settings.server.admin_port}", model, settings.access.admin_key)
        if as_json:
            say(json.dumps(found))
        else:
            for line in told(found):
                say(line)


def ask(url: str, model: str, key: str) -> Mapping[str, Any]:
    """What the control plane says of a model; raises NotFound or SettingError."""
    place = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if place.scheme not in kinds or not place.hostname:
        raise SettingError("--url: as http://127.0.0.1:8001")
    connection = kinds[place.scheme](place.hostname, place.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"/budget/{quote(model, safe='')}", headers={"X-API-Key": key} if key else {})
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotFound(
            f"no control plane answers at {url} ({type(error).__name__}): say with --url where it is"
        ) from None
    finally:
        connection.close()
    if response.status != 200 or not isinstance(body, dict):
        detail = body.get("detail", "no more told") if isinstance(body, dict) else "no more told"
        raise NotFound(f"the control plane at {url} answered {response.status}: {detail}")
    return body


def told(found: Mapping[str, Any]) -> Iterator[str]:
    """A line for each part: its percentiles, its share, and whether it keeps to it."""
    minutes = found["last_s"] // 60
    if not found["requests"]:
        yield f"{found['model']}: no requests in the last {minutes} minutes, on this host"
        return
    here_ms = found["parts"]["total"]["share_ms"]
    yield (
        f"{found['model']}: {found['requests']:,} requests in the last {minutes} minutes, on this host; "
        f"{found['within']:.2%} of them within {here_ms} ms"
    )
    yield f"{'ms':<10}{'p50':>10}{'p95':>10}{'p99':>10}{'share':>8}"
    for part, times in found["parts"].items():
        share = times["share_ms"]
        over = share is not None and times["p99_ms"] > share
        yield (
            f"{part:<10}{times['p50_ms']:>10.3f}{times['p95_ms']:>10.3f}{times['p99_ms']:>10.3f}"
            f"{'' if share is None else share:>8}{'  over its share' if over else ''}"
        )
    yield f"{'network':<10}{'':>30}{found['network_ms']:>8}  not seen from here; all together {found['total_ms']}"
