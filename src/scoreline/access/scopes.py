"""The scope of every route, in one table. A route that is not here cannot be declared."""

from typing import Final

PUBLIC: Final = ""
SCOPES: Final = ("predict", "feedback", "read", "metrics", "admin")

DATA_PLANE: Final = {
    ("POST", "/predict"): "predict",
    ("POST", "/models/{name}/predict"): "predict",
    ("POST", "/v1/models/{name}:predict"): "predict",
    ("POST", "/v2/models/{name}/infer"): "predict",
    ("POST", "/v2/models/{name}/versions/{version}/infer"): "predict",
    ("POST", "/invocations"): "predict",
    ("GET", "/v1/models"): "read",
    ("GET", "/v1/models/{name}"): "read",
    ("GET", "/v2"): "read",
    ("GET", "/v2/models/{name}"): "read",
    ("GET", "/v2/models/{name}/ready"): "read",
    ("GET", "/v2/models/{name}/versions/{version}"): "read",
    ("GET", "/v2/models/{name}/versions/{version}/ready"): "read",
    ("GET", "/v2/health/live"): PUBLIC,
    ("GET", "/v2/health/ready"): PUBLIC,
    ("GET", "/ping"): PUBLIC,
    ("GET", "/health"): PUBLIC,
    ("GET", "/version"): PUBLIC,
    ("GET", "/models"): "read",
    ("GET", "/models/{name}"): "read",
    ("GET", "/healthz/live"): PUBLIC,
    ("GET", "/healthz/ready"): PUBLIC,
    ("GET", "/healthz/startup"): PUBLIC,
    ("GET", "/openapi.json"): "read",
    ("GET", "/docs"): "read",
    ("GET", "/docs/assets/{file}"): "read",
}

CONTROL_PLANE: Final = {
    ("GET", "/status"): "admin",
    ("GET", "/metrics"): "metrics",
    ("GET", "/budget/{name}"): "read",
    ("GET", "/drift/{name}"): "read",
    ("POST", "/outcomes"): "feedback",
    ("GET", "/predictions/{id}"): "read",
    ("GET", "/predictions/{id}/replay"): "read",
    ("GET", "/predictions/{id}/explanation"): "read",
    ("GET", "/keys"): "admin",
    ("POST", "/keys"): "admin",
    ("POST", "/keys/{number}/revoke"): "admin",
    ("POST", "/keys/{number}/rotate"): "admin",
    ("GET", "/actions"): "admin",
    ("GET", "/rollouts/{name}"): "admin",
    ("GET", "/rollouts/{name}/plan"): "admin",
    ("GET", "/rollouts/{name}/history"): "admin",
    ("GET", "/rollouts/{name}/movers"): "admin",
    ("POST", "/rollouts/{name}/shadow"): "admin",
    ("POST", "/rollouts/{name}/end-shadow"): "admin",
    ("POST", "/rollouts/{name}/canary"): "admin",
    ("POST", "/rollouts/{name}/advance"): "admin",
    ("POST", "/rollouts/{name}/promote"): "admin",
    ("POST", "/rollouts/{name}/rollback"): "admin",
    ("POST", "/rollouts/{name}/pause"): "admin",
    ("POST", "/rollouts/{name}/resume"): "admin",
    ("POST", "/rollouts/{name}/approve"): "admin",
    ("GET", "/rollouts/{name}/verdict"): "read",
    ("POST", "/rollouts/{name}/verdict"): "read",
    ("GET", "/healthz/live"): PUBLIC,
    ("GET", "/healthz/ready"): PUBLIC,
    ("GET", "/healthz/startup"): PUBLIC,
    ("GET", "/openapi.json"): "admin",
    ("GET", "/docs"): "admin",
    ("GET", "/docs/assets/{file}"): "admin",
}

# A caller that is for some models only may use routes whose path names one of them, and these, which look themselves at
# whose model it is, or tell of none. Every other one is closed to it.
OF_OWN_MODELS: Final = frozenset(
    (
        "/predict",
        "/invocations",
        "/models",
        "/v1/models",
        "/v2",
        "/openapi.json",
        "/docs",
        "/docs/assets/{file}",
        "/outcomes",
        "/predictions/{id}",
        "/predictions/{id}/replay",
        "/predictions/{id}/explanation",
    )
)
