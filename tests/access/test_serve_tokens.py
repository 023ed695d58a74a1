"""Tokens of an issuer that comes and goes, to a real service."""

from pathlib import Path

from service import FRAUD_ROW, SealedModel, Service, serving
from someissuer import AUDIENCE, ISSUER, issuing


def status(service: Service, token: str) -> int:
    return service.post(FRAUD_ROW, authorization=f"Bearer {token}").status_code


def test_tokens_count_from_the_first_answer_and_over_a_restart_without_the_issuer(
    sealed: SealedModel, tmp_path: Path
) -> None:
    with issuing() as issuer:
        how = {
            "SCORELINE_OAUTH__ISSUER": ISSUER,
            "SCORELINE_OAUTH__AUDIENCE": AUDIENCE,
            "SCORELINE_OAUTH__JWKS_URL": issuer.url,
        }
        with serving(sealed, folder=tmp_path / "a", **how) as service:
            assert status(service, issuer.token()) == 200
            assert service.post(FRAUD_ROW).status_code == 401, "an issuer is a credential: nothing is open"
            assert service.admin("/status").status_code == 401
    with serving(sealed, folder=tmp_path / "a", **how) as service:
        assert (status(service, issuer.token()), status(service, issuer.token(exp=1))) == (200, 401)
    with serving(sealed, folder=tmp_path / "new", **how) as service:
        assert "no tokens are accepted yet" in service.log
        assert status(service, issuer.token()) == 401, "a host that never saw the issuer's keys believes nobody"
        assert service.get("/healthz/ready").status_code == 200
