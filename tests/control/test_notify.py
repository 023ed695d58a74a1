"""Notifications: every entry that is news, in its order, at least once, signed; whatever fails and whoever restarts."""

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scoreline.control import notify
from scoreline.control.notify import Notifying
from scoreline.core.errors import NotTold
from scoreline.operations import rollouts
from scoreline.operations.notices import TOLD, notice, signed
from scoreline.operations.rollouts import By, Frozen
from scoreline.records.database import Database, open_database
from scoreline.records.drift import Incident, enter
from scoreline.records.ledger import Entry, append, history, last
from scoreline.records.notified import Cursor, tell_up_to, told_up_to
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm, Stage
from service import REPOSITORY, SealedModel, run_scoreline, serving, wait_until
from somehook import Hook, webhook

SECRET = "a-secret-of-24-characters"
ONE, TWO = Arm("1", "1" * 64), Arm("2", "2" * 64)
CONTROLLER = By("controller", "every class is safe")


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as found:
        yield found


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = open_database(database_url, Path("unused"))
    found.prepare()
    yield found
    found.close()


def begin(database: Database, model: str = "m") -> None:
    rollouts.seed(database, model, ONE, By("serve"))


def roll_out(database: Database, model: str = "m") -> None:
    """A canary that goes up a step, is held by hand, goes on, and becomes champion: told are 3, 4 and 6."""
    policy = Policy(steps=(0.5, 1.0))
    rollouts.canary(database, model, TWO, policy, Frozen(), By("ada"))
    rollouts.advance(database, model, policy, CONTROLLER, {"e_safe": {"errors": 20.5}})
    entry = last(database, model)
    assert entry is not None
    stage = Stage.from_json({**entry.stage, "state": "held", "why": "no verdict", "held_for": "no verdict"})
    append(database, Entry(model, 4, time.time_ns(), "hold", "controller", "no verdict", stage.to_json(), {}))
    rollouts.resume(database, model, By("ada"))
    rollouts.promote(database, model, By("ada", "<!channel> & all"))


TOLD_OF_M = [("m", 3, "advance"), ("m", 4, "hold"), ("m", 6, "promote")]


def notifying(database: Database, hook: Hook, leads: bool = True) -> Notifying:
    return Notifying(database, hook.url, SECRET, lambda: leads)


def test_what_is_news_is_told_in_its_order_with_words_and_facts(database: Database, hook: Hook) -> None:
    begin(database)
    told = notifying(database, hook)
    roll_out(database)
    told.look()
    assert hook.told == TOLD_OF_M
    first, _, third = (json.loads(body) for body in hook.bodies)
    assert first["text"] == "m: advance by controller: every class is safe; version 2 answers 100 %, version 1 the rest"
    assert (first["canary"], first["share"], first["evidence"]) == ("2", 1.0, {"e_safe": {"errors": 20.5}})
    assert third["text"] == "m: promote by ada: &lt;!channel&gt; &amp; all; version 2 answers"
    assert (third["why"], third["champion"], third["canary"]) == ("<!channel> & all", "2", None)
    assert {headers["Content-Type"] for headers in hook.headers} == {"application/json"}
    told.look()
    rollouts.take_back(database, "m", By("ada"), "2")
    told.look()
    assert hook.told == [*TOLD_OF_M, ("m", 7, "roll_back")]
    assert told.status() == {"on": True, "told": 4, "given_up": 0, "error": None}


def test_the_signature_is_what_the_page_checks(hook: Hook, database: Database) -> None:
    begin(database)
    told = notifying(database, hook)
    roll_out(database)
    told.look()
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "rollouts.md").read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    is_genuine = scope["is_genuine"]
    for headers, body in zip(hook.headers, hook.bodies, strict=True):
        assert is_genuine(SECRET, headers, body)
        assert not is_genuine(SECRET + "x", headers, body)
        assert not is_genuine(SECRET, headers, body + b" ")
        later = {**headers, "X-Scoreline-Timestamp": str(int(headers["X-Scoreline-Timestamp"]) + 1)}
        assert not is_genuine(SECRET, later, body)
        old = dict(signed(SECRET, body, 1_700_000_000))
        assert not is_genuine(SECRET, old, body)


@pytest.mark.parametrize("status", (302, 307, 400, 404, 429, 500))
def test_what_is_not_taken_is_sent_again_and_the_rest_waits(database: Database, hook: Hook, status: int) -> None:
    begin(database)
    hook.answers = [200, status, status, 200]
    told = notifying(database, hook)
    roll_out(database)
    for _ in range(2):
        with pytest.raises(NotTold, match=f"the webhook answered {status} to entry 4 of m") as raised:
            told.look()
        assert "secret-path" not in str(raised.value) and SECRET not in str(raised.value)
    told.look()
    assert hook.told == [TOLD_OF_M[0], TOLD_OF_M[1], TOLD_OF_M[1], TOLD_OF_M[1], TOLD_OF_M[2]]


class Later:
    """A clock that is ahead by as much as a test says."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def time_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    def time(self) -> float:
        return self.time_ns() / 1e9


@pytest.mark.parametrize(("status", "given_up"), ((400, True), (404, True), (429, False), (503, False)))
def test_an_entry_that_is_refused_for_an_hour_is_given_up_and_the_rest_is_told(
    database: Database,
    hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    given_up: bool,
) -> None:
    begin(database)
    clock = Later()
    monkeypatch.setattr(notify, "time", clock)
    hook.answers = [200, status]
    told = notifying(database, hook)
    roll_out(database)
    with pytest.raises(NotTold):
        told.look()
    clock.ahead_ns = notify.REFUSED_NS
    hook.answers = [status, 200]
    if not given_up:
        with pytest.raises(NotTold):
            told.look()
        return
    with caplog.at_level(logging.ERROR):
        told.look()
    assert hook.told == [TOLD_OF_M[0], TOLD_OF_M[1], *TOLD_OF_M[1:]]
    assert told.status() == {"on": True, "told": 2, "given_up": 1, "error": None}
    why = f"entry 4 of m (hold) is not told: the webhook answered {status} to entry 4 of m"
    assert [record.message for record in caplog.records] == [why]
    told.look()
    assert len(hook.bodies) == 4


def test_what_is_a_day_old_is_no_news(database: Database, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook that was switched off for a while, or away, is not flooded."""
    begin(database)
    told = notifying(database, hook)
    told.look()
    roll_out(database)
    clock = Later()
    monkeypatch.setattr(notify, "time", clock)
    clock.ahead_ns = notify.NEWS_NS
    told.look()
    clock.ahead_ns = 0
    rollouts.take_back(database, "m", By("ada"), "2")
    told.look()
    assert hook.told == [("m", 7, "roll_back")]
    assert told.status() == {"on": True, "told": 1, "given_up": 3, "error": None}


def test_a_steward_that_restarts_goes_on_where_the_last_one_was(database: Database, hook: Hook) -> None:
    begin(database)
    hook.answers = [200, 503]
    first = notifying(database, hook)
    roll_out(database)
    with pytest.raises(NotTold):
        first.look()
    hook.answers = [200]
    for _ in range(2):
        notifying(database, hook).look()
    assert hook.told == [TOLD_OF_M[0], TOLD_OF_M[1], *TOLD_OF_M[1:]]


def test_one_that_dies_between_sending_and_noting_it_sends_it_once_more(
    database: Database, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(database)
    told = notifying(database, hook)
    roll_out(database)
    told_up_to(database, 0)

    def die(database: Database, model: str, seq: int, cursor: Cursor) -> None:
        if seq == 4:
            raise KeyboardInterrupt
        tell_up_to(database, model, seq, cursor)

    monkeypatch.setattr(notify, "tell_up_to", die)
    with pytest.raises(KeyboardInterrupt):
        told.look()
    monkeypatch.undo()
    notifying(database, hook).look()
    assert hook.told == [TOLD_OF_M[0], TOLD_OF_M[1], *TOLD_OF_M[1:]]


def test_what_happened_before_is_no_news_and_a_new_model_is_told_from_its_beginning(
    database: Database, hook: Hook
) -> None:
    begin(database)
    roll_out(database)
    told = notifying(database, hook)
    begin(database, "n")
    roll_out(database, "n")
    told.look()
    assert [one for one in hook.told if one[0] == "m"] == []
    assert [one[1:] for one in hook.told] == [one[1:] for one in TOLD_OF_M]
    rollouts.take_back(database, "m", By("ada"), "2")
    told.look()
    assert hook.told[-1] == ("m", 7, "roll_back")


def test_only_who_leads_tells(database: Database, hook: Hook) -> None:
    begin(database)
    follower, leader = notifying(database, hook, leads=False), notifying(database, hook)
    roll_out(database)
    follower.look()
    assert hook.bodies == []
    leader.look()
    assert hook.told == TOLD_OF_M


def begun(leading: str = "amount") -> Incident:
    """The beginning of an incident, as the steward enters it."""
    lead = {"subject": leading, "kind": "field", "of": "above", "what": 5000.0, "direction": "up"}
    others = [{"subject": name} for name in ("p<q", leading)]
    facts = {"leading": lead, "subjects": others}
    return Incident("m", 1, time.time_ns(), "begin", "1", "1" * 64, "the evidence has reached the alarm", facts)


def enter_all(database: Database, *incidents: Incident) -> None:
    with database.writing() as connection:
        for incident in incidents:
            enter(connection, incident)


def test_drift_is_told_once_when_it_begins_and_when_it_is_over(database: Database, hook: Hook) -> None:
    begin(database)
    told = notifying(database, hook)
    told.look()
    hook.answers = [503, 200]
    enter_all(database, begun())
    with pytest.raises(NotTold, match="the webhook answered 503 to drift 1 of m"):
        told.look()
    why = "a day of traffic without a further alarm"
    over = replace(begun(), seq=2, action="end", why=why, evidence={"alarms": 3})
    enter_all(database, over)
    for _ in range(2):
        notifying(database, hook).look()  # another steward
    assert hook.told == [("m", 1, "drift"), ("m", 1, "drift"), ("m", 2, "drift_over")]
    first, _, last = map(json.loads, hook.bodies)
    assert first["text"] == "m: drift: amount is above 5000 more often; also p&lt;q; version 1"
    assert first["evidence"]["leading"]["what"] == 5000.0
    assert last["text"] == f"m: drift is over: {why}; version 1"
    assert last["evidence"] == {"alarms": 3}
    assert all("X-Scoreline-Signature" in headers for headers in hook.headers)


def test_drift_that_began_before_a_steward_was_first_notified_of_anything_is_no_news(
    database: Database, hook: Hook
) -> None:
    begin(database)
    enter_all(database, begun())
    notifying(database, hook).look()
    assert hook.told == []


def test_without_a_webhook_nothing_is_done(database: Database) -> None:
    begin(database)
    told = Notifying(database, "", "", lambda: True)
    told.start()
    told.look()
    told.finish(1.0)
    assert told.status() == {"on": False, "told": 0, "given_up": 0, "error": None}


@contextmanager
def running(told: Notifying) -> Iterator[Notifying]:
    told.start()
    try:
        yield told
    finally:
        told.finish(5.0)


def test_it_goes_on_by_itself_and_tells_the_last_before_it_ends(
    database: Database, hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "LOOK_S", 0.01)
    begin(database)
    hook.answers = [500, 500, 200]
    with caplog.at_level(logging.ERROR), running(notifying(database, hook)) as told:
        roll_out(database)
        wait_until(lambda: len(hook.bodies) >= 5, "all are told")
        wait_until(lambda: told.status()["error"] is None, "nothing is wrong any more")
        monkeypatch.setattr(notify, "LOOK_S", 1e6)
        rollouts.take_back(database, "m", By("ada"), "2")
    assert hook.told == [TOLD_OF_M[0], TOLD_OF_M[0], *TOLD_OF_M, ("m", 7, "roll_back")]
    assert [record.message for record in caplog.records] == [
        "notifying: put off: the webhook answered 500 to entry 3 of m"
    ]


def test_pauses_grow_and_an_address_that_nobody_answers_at_is_said(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(database)
    told = Notifying(database, "http://127.0.0.1:9/secret-path", SECRET, lambda: True)
    roll_out(database)
    pauses: list[float] = []

    class Ending:
        def is_set(self) -> bool:
            return len(pauses) == 12

        def wait(self, pause_s: float) -> None:
            pauses.append(pause_s)

    monkeypatch.setattr(told, "_ending", Ending())
    told._run()
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0, 300.0]
    assert told.status()["error"] == "the webhook is not reached: ConnectionRefusedError"


def test_every_action_that_is_told_is_one_of_the_ledgers(database: Database) -> None:
    begin(database)
    roll_out(database)
    rollouts.take_back(database, "m", By("ada"), "2")
    assert {entry.action for entry in history(database, "m", 99)} >= set(TOLD)
    assert all(json.loads(notice(entry))["seq"] == entry.seq for entry in history(database, "m", 99))


def test_a_live_service_tells_what_people_do(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path, hook: Hook
) -> None:
    told = {"SCORELINE_NOTIFY__WEBHOOK": hook.url, "SCORELINE_NOTIFY__SECRET": SECRET}
    with serving(sealed, folder=tmp_path, **told) as service:
        wait_until(lambda: service.admin("/rollouts/fraud").status_code == 200, "the champion is in the ledger")

        def rollout(*arguments: str) -> None:
            found = run_scoreline("rollout", *arguments, "--state-dir", "state", cwd=tmp_path)
            assert found.returncode == 0, found.stderr

        trusted = ("--trust", str(sealed.public_key))
        rollout("canary", "fraud", str(sealed_next.folder), "--force", "a test", *trusted)
        rollout("advance", "fraud")
        rollout("rollback", "fraud", "--why", "a hunch")
        wait_until(lambda: len(hook.bodies) == 2, "both are told")
        told = {"on": True, "told": 2, "given_up": 0, "error": None}
        assert service.admin("/status").json()["notify"] == told
        rollout("canary", "fraud", str(sealed_next.folder), "--force", "a test", *trusted)
        rollout("promote", "fraud")
        assert service.stop() == 0
        assert hook.url not in service.log and SECRET not in service.log
    assert hook.told == [("fraud", 3, "advance"), ("fraud", 4, "roll_back"), ("fraud", 6, "promote")]
    assert json.loads(hook.bodies[1])["why"] == "a hunch"
