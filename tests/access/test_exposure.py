"""Credentials as the real service asks for them, and what it refuses to open."""

from pathlib import Path

import pytest

from service import FRAUD_ROW, SealedModel, serving, start_serving

KEY = "0123456789abcdef-this-is-the-admin-key"


def test_without_credentials_the_loopback_is_open_and_the_service_says_so(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        assert service.url.startswith("http://127.0.0.1:")
        assert service.admin_url.startswith("http://127.0.0.1:")
        assert service.post(FRAUD_ROW).status_code == 200
        assert service.get("/models").status_code == 200
        assert service.admin("/status").status_code == 200
        assert "no credentials are set: this machine only" in service.said


@pytest.mark.parametrize("host", ("0.0.0.0", "::", "192.0.2.1", "example.org"))
def test_another_address_without_credentials_is_refused_at_start(
    sealed: SealedModel, tmp_path: Path, host: str
) -> None:
    service = start_serving(sealed, folder=tmp_path, arguments=("--host", host))
    assert service.exit_code() == 1
    assert service.log.startswith(f"error: {host} is open to other machines and nobody needs a key")
    assert "access.admin_key" in service.log and "access.anonymous" in service.log
    assert service.log.count("\n") == 1
    assert not service.state_dir.exists()


def test_the_admin_key_opens_everything_and_nothing_opens_without_it(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path, arguments=("--host", "0.0.0.0"), SCORELINE_ACCESS__ADMIN_KEY=KEY) as service:
        service.url = service.url.replace("0.0.0.0", "127.0.0.1")
        assert "no credentials" not in service.said
        for headers, status in (
            ({}, 401),
            ({"x_api_key": "wrong"}, 401),
            ({"authorization": "Bearer wrong"}, 401),
            ({"authorization": f"Basic {KEY}"}, 401),
            ({"x_api_key": KEY}, 200),
            ({"authorization": f"Bearer {KEY}"}, 200),
        ):
            answers = [service.post(FRAUD_ROW, **headers), service.get("/models", **headers)]
            answers += [service.admin("/status", **headers), service.get("/docs", **headers)]
            for answer in answers:
                assert answer.status_code == status, (headers, answer.request.url)
                if status == 401:
                    assert answer.headers["www-authenticate"] == "Bearer"
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert answer.json()["type"] == "/errors/unauthenticated"
        assert service.get("/healthz/live").status_code == 200
        assert service.admin("/healthz/ready").status_code == 200
        (caller,) = {decisions.context.caller for decisions in service.recorded()}
        assert caller == "admin"
        spool = b"".join(file.read_bytes() for file in (service.state_dir / "spool").iterdir())
        for text in (
            service.log,
            service.said,
            (service.state_dir / "state.json").read_text(),
            spool.decode("latin-1"),
        ):
            assert KEY not in text
        mode = (service.state_dir / "state.json").stat().st_mode
        assert mode & 0o077 == 0


def test_anonymous_predict_opens_predictions_and_nothing_else(sealed: SealedModel, tmp_path: Path) -> None:
    with serving(
        sealed, folder=tmp_path, arguments=("--host", "0.0.0.0"), SCORELINE_ACCESS__ANONYMOUS="predict"
    ) as service:
        service.url = service.url.replace("0.0.0.0", "127.0.0.1")
        assert service.post(FRAUD_ROW).status_code == 200
        assert service.post(FRAUD_ROW, "/models/fraud/predict").status_code == 200
        for path in ("/models", "/models/fraud", "/docs", "/openapi.json"):
            assert service.get(path).status_code == 401
        assert service.admin("/status").status_code == 401
        assert service.post(FRAUD_ROW, x_api_key="wrong").status_code == 401
