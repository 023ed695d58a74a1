"""Insurance claims with a known share of fraud: seeded, so everyone sees the same rows.

The chance of fraud rises with the claimed amount, with claims soon after the policy began, with earlier claims and at
night, and falls where there is a police report. About 4 % of claims are fraud; no rule separates them.
"""

import numpy as np
import pandas as pd

CHANNELS = ["agent", "phone", "web"]


def make_claims(n_rows: int, seed: int) -> tuple[pd.DataFrame, "pd.Series[int]"]:
    """`n_rows` claims and whether each was fraud (0 or 1)."""
    rng = np.random.default_rng(seed)
    claims = pd.DataFrame(
        {
            "amount": np.round(rng.lognormal(7.6, 1.0, n_rows), 2),
            "policy_age_days": rng.integers(0, 3650, n_rows),
            "prior_claims": rng.poisson(0.6, n_rows),
            "hour": rng.integers(0, 24, n_rows),
            "police_report": rng.random(n_rows) < 0.35,
            "channel": pd.Categorical.from_codes(rng.choice(3, n_rows, p=[0.3, 0.25, 0.45]), CHANNELS),
        }
    )
    night = (claims["hour"] < 6) | (claims["hour"] > 22)
    log_odds = (
        -5.6
        + 0.9 * (np.log(claims["amount"]) - 7.6)
        + 1.4 * (claims["policy_age_days"] < 60)
        + 0.5 * claims["prior_claims"]
        + 0.8 * night
        - 0.9 * claims["police_report"]
        + 0.6 * (claims["channel"] == "web")
        + 1.0 * ((claims["amount"] > 8000) & ~claims["police_report"])
    )
    fraud = rng.random(n_rows) < 1 / (1 + np.exp(-(log_odds + 1.0)))
    return claims, fraud.astype(int)
