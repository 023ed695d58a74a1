"""The scope of every route, in one table. A route that is not here cannot be declared."""

from typing import Final

PUBLIC: Final = ""
SCOPES: Final = ("predict", "feedback", "read", "admin")

DATA_PLANE: Final = {
    ("POST", "/predict"): "predict",
    ("POST", "/models/{name}/predict"): "predict",
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
    ("GET", "/healthz/live"): PUBLIC,
    ("GET", "/healthz/ready"): PUBLIC,
    ("GET", "/healthz/startup"): PUBLIC,
    ("GET", "/openapi.json"): "admin",
    ("GET", "/docs"): "admin",
    ("GET", "/docs/assets/{file}"): "admin",
}
