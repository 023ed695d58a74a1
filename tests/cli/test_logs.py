"""The log of a live service: text or JSON, with the ids of what a line is about, and never with what was sent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scoreline.core.errors import SettingError
from scoreline.settings import load_settings
from service import FRAUD_ROW, SealedModel, run_scoreline, serving

SECRET = "a-value-nobody-may-read"
FAILING = """
import errno, logging, os, sys
from scoreline.cli.logs import set_up_logging
from scoreline.core.errors import DatabaseDown

def fail():
    try:
        raise KeyError(sys.argv[2])
    except KeyError as first:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), sys.argv[2])
        raise ExceptionGroup(sys.argv[2], [ValueError(sys.argv[2]), full, DatabaseDown("it is away")]) from first

set_up_logging(sys.argv[1])
try:
    fail()
except Exception:
    logging.getLogger("scoreline").exception("it failed")
"""


@pytest.mark.parametrize("form", ("text", "json"))
def test_a_line_says_which_request_and_model_it_is_about(sealed: SealedModel, tmp_path: Path, form: str) -> None:
    """A full spool is what a caller gets 503 for, and an operator has to find."""
    full = {"SCORELINE_RECORDS__MAX_BYTES": "8192", "SCORELINE_RECORDS__SEGMENT_BYTES": "4096"}
    with serving(sealed, folder=tmp_path, SCORELINE_LOG__FORMAT=form, **full) as service:
        steward = service.steward()
        assert steward is not None
        steward.suspend()  # nothing is shipped meanwhile
        found = [service.post([FRAUD_ROW] * 20, x_request_id=f"mine-{n}").status_code for n in range(20)]
        service.post({**FRAUD_ROW, "country": SECRET})
        service.post(b'{"amount": "' + SECRET.encode())
        steward.resume()
        lines = service.log.splitlines()
    assert found[-1] == 503
    assert SECRET not in "\n".join(lines)
    about = [line for line in lines if "mine-19" in line]
    assert about
    if form == "text":
        assert all("(request_id mine-19, model fraud)" in line for line in about)
        return
    everything = [json.loads(line) for line in lines]
    assert all({"timestamp", "level", "logger", "process", "event"} <= line.keys() for line in everything)
    (line, *_) = [line for line in everything if line.get("request_id") == "mine-19"]
    assert (line["level"], line["model"], line["logger"]) == ("error", "fraud", "scoreline.http")


@pytest.mark.parametrize("form", ("text", "json"))
def test_a_trace_has_places_and_no_words_that_may_quote_what_was_sent(form: str) -> None:
    """In a process of its own, as logging is set up for a whole process."""
    found = subprocess.run([sys.executable, "-c", FAILING, form, SECRET], capture_output=True, text=True, check=True)
    assert SECRET not in found.stderr
    for told in (
        "KeyError",
        "in fail",
        "ExceptionGroup",
        "OSError: No space left on device",
        "DatabaseDown: it is away",
    ):
        assert told in found.stderr, told
    if form == "json":
        (line,) = map(json.loads, found.stderr.splitlines())
        assert (line["event"], line["level"]) == ("it failed", "error")


def test_less_is_logged_where_less_is_wanted(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, SCORELINE_LOG__LEVEL="ERROR") as service:
        service.post(FRAUD_ROW)
        assert service.stop() == 0
        assert " INFO " not in service.log


def test_a_form_that_is_none_is_refused(sealed: SealedModel, tmp_path: Path) -> None:
    for name in ("format", "level"):
        with pytest.raises(SettingError, match=f"log.{name}: one of"):
            load_settings(None, {f"SCORELINE_LOG__{name.upper()}": "loud"}, {})
    found = run_scoreline("serve", sealed.folder, cwd=tmp_path, SCORELINE_LOG__FORMAT="xml")
    assert (found.returncode, "log.format: one of text, json" in found.stderr) == (1, True)
