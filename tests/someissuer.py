"""An issuer of tokens: its keys, what it signs with them, and a server that publishes them on the loopback."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://issuer.example/"
AUDIENCE = "scoreline-tests"
KINDS = {"rs": "RS256", "es": "ES256", "ed": "EdDSA"}


def private_keys() -> dict[str, Any]:
    """A private key of each kind by its name, `kid`."""
    return {
        "rs": rsa.generate_private_key(65537, 2048),
        "es": ec.generate_private_key(ec.SECP256R1()),
        "ed": ed25519.Ed25519PrivateKey.generate(),
    }


def published(kid: str, private: Any, **other: Any) -> dict[str, Any]:
    """The public half as an issuer publishes it."""
    algorithm = jwt.get_algorithm_by_name(KINDS[kid[:2]])
    found: dict[str, Any] = json.loads(algorithm.to_jwk(private.public_key()))  # type: ignore[attr-defined]
    found.pop("key_ops", None)
    return {**found, "kid": kid, "use": "sig", "alg": KINDS[kid[:2]], **other}


def claims(**changed: Any) -> dict[str, Any]:
    """What a good token says; None leaves a claim out."""
    now_s = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "iat": now_s, "exp": now_s + 600}
    found = {**good, "scope": "openid scoreline:predict scoreline:read", **changed}
    return {name: value for name, value in found.items() if value is not None}


def part(value: Any) -> str:
    """A part of a token: bytes as they are, else JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Issuer:
    """`answers` is what the server says: a JWK set, or bytes and a status; `asked` counts how often it was asked."""

    private: dict[str, Any] = field(default_factory=private_keys)
    url: str = ""
    asked: int = 0
    answers: Any = None

    @property
    def jwks(self) -> list[dict[str, Any]]:
        return [published(kid, key) for kid, key in self.private.items()]

    def token(self, kid: str = "es", header: dict[str, Any] | None = None, **changed: Any) -> str:
        algorithm = KINDS[kid[:2]]
        return jwt.encode(claims(**changed), self.private[kid], algorithm, {"kid": kid, **(header or {})})

    def signed(self, header: Any, payload: Any, kid: str = "es") -> str:
        """A token of parts that no library would write, with a signature that is good."""
        said = f"{part(header)}.{part(payload)}"
        algorithm = jwt.get_algorithm_by_name(KINDS[kid[:2]])
        return f"{said}.{part(algorithm.sign(said.encode(), self.private[kid]))}"


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer whose keys are published while the block runs."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            status, body = issuer.answers or (200, json.dumps({"keys": issuer.jwks}).encode())
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if status == 302:
                self.send_header("location", f"{issuer.url}/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}/jwks"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
