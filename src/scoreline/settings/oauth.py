"""`[oauth]`: whose tokens are accepted, beside keys."""

from dataclasses import dataclass
from typing import Final

from scoreline.core.errors import SettingError
from scoreline.settings.option import option
from scoreline.settings.urls import is_safe

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")


@dataclass(frozen=True, slots=True)
class OAuth:
    issuer: str = option("", "Who issues tokens (the claim `iss`); empty: no tokens are accepted.")
    audience: str = option("", "Whom tokens must be for (one of the claim `aud`).")
    jwks_url: str = option(
        "", "Where the issuer publishes its keys; https, or http on loopback. Nowhere else is looked."
    )
    algorithms: tuple[str, ...] = option(ALGORITHMS, "Which signatures count; each key verifies the one of its kind.")
    leeway_s: int = option(30, "How far the issuer's clock may be off, at most 300.")
    refresh_s: int = option(300, "How often its keys are fetched anew.")
    max_age_s: int = option(86_400, "Keys that were fetched longer ago, because it is not reached, count no more.")
    scope_claim: str = option("scope", "The claim with the scopes: a text with blanks between them, or an array.")
    scope_prefix: str = option("scoreline:", "What our scopes begin with there, as `scoreline:predict`.")
    models_claim: str = option("scoreline_models", "The claim with the models a token is for; without it: every one.")

    def __post_init__(self) -> None:
        given = self.issuer, self.audience, self.jwks_url
        if any(given) and not all(given):
            raise SettingError("oauth.issuer, oauth.audience and oauth.jwks_url go together")
        if self.jwks_url and not is_safe(self.jwks_url):
            raise SettingError("oauth.jwks_url: an https URL, or http to 127.0.0.1, [::1] or localhost")
        unknown = sorted(set(self.algorithms) - set(ALGORITHMS))
        if unknown or not self.algorithms:
            raise SettingError(f"oauth.algorithms: of {', '.join(ALGORITHMS)}")
        if not 0 <= self.leeway_s <= 300:
            raise SettingError("oauth.leeway_s: between 0 and 300")
        if self.refresh_s < 10:
            raise SettingError("oauth.refresh_s: at least 10")
        if self.max_age_s < 2 * self.refresh_s:
            raise SettingError("oauth.max_age_s: at least twice oauth.refresh_s")
        if not self.scope_claim or not self.models_claim:
            raise SettingError("oauth.scope_claim and oauth.models_claim are names of claims")
