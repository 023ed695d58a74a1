"""Quotes on a live service: a promise holds over a new champion, for whom it was made, as long as the policy says."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from test_serve_rollout import ADA, canary, stage

from inservice import database_of
from scoreline.operations.governed import arm_of
from scoreline.operations.rollouts import roll_back, serve_arm
from scoreline.records.ledger import heads
from service import FRAUD_ROW, SealedModel, Service, serving, wait_until

DAYS = {"SCORELINE_ROLLOUT__QUOTE_DAYS": "30"}


def row(customer: str) -> dict[str, Any]:
    return {**FRAUD_ROW, "customer": customer}


def quoted(service: Service, customer: str, token: str = "new") -> tuple[int, str, str]:
    """Status, version and token of an answer."""
    response = service.post(row(customer), x_quote=token)
    return response.status_code, response.json().get("version", ""), response.headers.get("x-quote", "")


def version_of(service: Service) -> str:
    return str(service.post(row("c-1")).json()["version"])


def test_a_promised_version_answers_after_another_has_become_the_champion(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path, **DAYS) as service, closing(database_of(service)) as database:
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        status, version, token = quoted(service, "c-1")
        assert (status, version) == (200, "1")
        digest = sealed_next.manifest.digest
        serve_arm(database, "fraud", arm_of(str(sealed_next.folder), "fraud", "2", digest), ADA)
        wait_until(lambda: version_of(service) == "2", "the next version answers")
        assert quoted(service, "c-1", token) == (200, "1", token)
        refused = service.post(row("c-2"), x_quote=token)
        assert (refused.status_code, "another entity" in refused.json()["detail"]) == (422, True)
        assert service.post(FRAUD_ROW, x_quote="new").status_code == 422, "nobody is told"
        altered = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
        assert quoted(service, "c-1", altered)[0] == 422
        assert quoted(service, "c-1") != (200, "1", token)
        roles = [(found.author.version, found.author.role) for found in service.recorded()]
        assert roles.count(("1", "pinned")) == 1
        assert service.stop() == 0


@pytest.mark.parametrize(("setting", "answers"), (("honour", (200, "2")), ("refuse", (422, ""))))
def test_what_a_rollback_does_to_quotes_is_a_setting(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path, setting: str, answers: tuple[int, str]
) -> None:
    how = {**DAYS, "SCORELINE_ROLLOUT__QUOTES_ON_ROLLBACK": setting}
    with serving(sealed, folder=tmp_path, **how) as service, closing(database_of(service)) as database:
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        canary(database, sealed_next, steps=(1.0,))
        wait_until(lambda: version_of(service) == "2", "the canary answers")
        status, version, token = quoted(service, "c-1")
        assert (status, version) == (200, "2")
        roll_back(database, "fraud", ADA)
        assert stage(database).canary is None
        wait_until(lambda: version_of(service) == "1", "the champion answers")
        assert quoted(service, "c-1", token)[:2] == answers


def test_a_quote_of_the_canary_is_not_answered_by_another_version_while_there_is_no_lease(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    """The price that was promised, or none: here the steward hangs, as where the database is away from a host."""
    with serving(sealed, folder=tmp_path, **DAYS) as service, closing(database_of(service)) as database:
        wait_until(lambda: heads(database), "the first champion is in the ledger")
        canary(database, sealed_next, steps=(1.0,))
        wait_until(lambda: version_of(service) == "2", "the canary answers")
        status, version, token = quoted(service, "c-1")
        assert (status, version) == (200, "2")
        steward = service.steward()
        assert steward is not None
        steward.suspend()
        wait_until(lambda: version_of(service) == "1", "the lease has run out", 30)
        refused = service.post(row("c-1"), x_quote=token)
        assert (refused.status_code, refused.json()["type"]) == (409, "/errors/quote-lapsed")
        assert "ask for a new quote" in refused.json()["detail"] and "x-quote" not in refused.headers
        steward.resume()
        wait_until(lambda: quoted(service, "c-1", token)[0] == 200, "the lease is renewed", 30)
        assert quoted(service, "c-1", token) == (200, "2", token)


def test_without_the_setting_no_promise_is_made_or_kept_silently(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        refused = service.post(row("c-1"), x_quote="new")
        assert (refused.status_code, "rollout.quote_days" in refused.json()["detail"]) == (422, True)
