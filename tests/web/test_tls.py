"""TLS on both planes of a real service, to clients that verify its certificate."""

import datetime
import json
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scoreline.core.errors import SettingError
from scoreline.web.tls import Certificate
from service import COMMAND, FRAUD_ROW, SealedModel, Service, serving, start_serving, wait_until

KEY = "0123456789abcdef-this-is-the-admin-key"


class Authority(NamedTuple):
    """Who signs certificates, and the file that clients trust."""

    key: ec.EllipticCurvePrivateKey
    cert: x509.Certificate
    file: Path

    @property
    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.file))

    def issue(self, folder: Path, name: str, *, password: bytes = b"") -> tuple[Path, Path]:
        """A certificate for localhost and its key, in files, which replace those of before."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = signed(name, key, self.key, self.cert.subject, is_authority=False)
        hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
        files = folder / "tls.crt", folder / "tls.key"
        for file, raw in zip(files, (cert.public_bytes(serialization.Encoding.PEM), pem), strict=True):
            new = file.with_suffix(".new")
            new.write_bytes(raw)
            new.replace(file)
        return files


def signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(by, hashes.SHA256())
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
    cert = signed("an authority", key, key, subject, is_authority=True)
    file = tmp_path / "authority.crt"
    file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    return Authority(key, cert, file)


def named(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


def subject(service: Service, trusted: ssl.SSLContext) -> str:
    """The name in the certificate that a client, which verifies it, is shown."""
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=20) as raw,
        trusted.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        found = connection.getpeercert()
        assert found is not None and connection.version() in ("TLSv1.2", "TLSv1.3")
        (((_, name),),) = found["subject"]  # type: ignore[misc, str-unpack]
        return str(name)


def test_both_planes_answer_clients_that_verify_and_no_others(
    sealed: SealedModel, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.issue(tmp_path, "first")
    how = {"SCORELINE_SERVER__TLS_CERT": str(cert), "SCORELINE_SERVER__TLS_KEY": str(key)}
    arguments = ("--host", "0.0.0.0")
    with serving(
        sealed, folder=tmp_path / "service", arguments=arguments, SCORELINE_ACCESS__ADMIN_KEY=KEY, **how
    ) as service:
        assert service.url.startswith("https://") and service.admin_url.startswith("https://")
        assert "WITHOUT TLS" not in service.log
        with httpx.Client(verify=authority.trusted, headers={"x-api-key": KEY}, timeout=20) as client:
            data = named(service.url)
            ids = [client.post(f"{data}/predict", json=FRAUD_ROW).json()["prediction_id"] for _ in range(20)]
            many = client.post(f"{data}/predict", json=[FRAUD_ROW] * 3000).json()["predictions"]
            assert len(many) == 3000, "more than one write, and more than one record of TLS"
            assert client.post(f"{data}/predict", content=iter([json.dumps(FRAUD_ROW).encode()])).status_code == 200
            assert client.get(f"{data}/models").status_code == 200
            assert client.get(f"{named(service.admin_url)}/status").status_code == 200
            assert client.get(f"{named(service.admin_url)}/healthz/live").status_code == 200
        for context in (ssl.create_default_context(), old(authority)):
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{data}/healthz/live", verify=context)
        with pytest.raises(httpx.HTTPError):
            httpx.get(data.replace("https", "http") + "/healthz/live")
        recorded = service.recorded_ids()
        assert set(ids) <= set(recorded) and len(recorded) == 20 + 3000 + 1

        assert subject(service, authority.trusted) == "first"
        authority.issue(tmp_path, "renewed")
        wait_until(lambda: subject(service, authority.trusted) == "renewed", "the new certificate is shown")
        cert.write_text("nothing")
        wait_until(lambda: "is not taken" in service.log, "what is none is told")
        assert subject(service, authority.trusted) == "renewed"


def old(authority: Authority) -> ssl.SSLContext:
    """A client that speaks TLS 1.1 at most."""
    context = authority.trusted
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def test_requests_in_one_piece_are_answered_in_their_order(
    sealed: SealedModel, authority: Authority, tmp_path: Path
) -> None:
    """Pipelined, so that several answers of a turn leave together."""
    cert, key = authority.issue(tmp_path, "first")
    how = {"SCORELINE_SERVER__TLS_CERT": str(cert), "SCORELINE_SERVER__TLS_KEY": str(key)}
    with serving(sealed, folder=tmp_path / "service", **how) as service:
        body = json.dumps(FRAUD_ROW).encode()
        ids = [f"order-{number}" for number in range(30)]
        head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-request-id: %s\r\n"
        pieces = [(head % each).encode() + b"content-length: %d\r\n\r\n%s" % (len(body), body) for each in ids]
        with (
            socket.create_connection(("127.0.0.1", service.port), timeout=20) as raw,
            authority.trusted.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"".join(pieces))
            received = b""
            while received.count(b"HTTP/1.1 200") < len(ids) or not received.endswith(b"}"):
                more = connection.recv(1 << 16)
                assert more, received[-500:]
                received += more
        lines = received.split(b"\r\n")
        assert [line.split(b": ")[1].decode() for line in lines if line.startswith(b"x-request-id")] == ids


HELLO = bytes.fromhex("160301020001000100")  # the beginning of a ClientHello that says how much is to come


@pytest.mark.parametrize("sent", (b"", HELLO), ids=("nothing", "half a hello"))
def test_who_never_ends_a_handshake_is_ended(
    sealed: SealedModel, authority: Authority, tmp_path: Path, sent: bytes
) -> None:
    cert, key = authority.issue(tmp_path, "first")
    how = {"SCORELINE_SERVER__TLS_CERT": str(cert), "SCORELINE_SERVER__TLS_KEY": str(key)}
    with serving(sealed, folder=tmp_path / "service", SCORELINE_SERVER__HEAD_MS="300", **how) as service:
        for url in (service.url, service.admin_url):
            port = int(url.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=20) as silent:
                silent.sendall(sent)
                assert is_ended(silent)
        assert subject(service, authority.trusted) == "first"


@pytest.mark.parametrize("files", ("-Sn 100", "-n 400"), ids=("that may be more", "that may not be more"))
def test_a_flood_of_handshakes_that_never_end_takes_no_place_of_those_that_do(
    sealed: SealedModel, authority: Authority, tmp_path: Path, files: str
) -> None:
    cert, key = authority.issue(tmp_path, "first")
    how = {"SCORELINE_SERVER__TLS_CERT": str(cert), "SCORELINE_SERVER__TLS_KEY": str(key)}
    patient = {"SCORELINE_SERVER__HEAD_MS": "600000", "SCORELINE_SERVER__MAX_CONNECTIONS": "60"}
    program = ("sh", "-c", f'ulimit {files} && exec "$0" "$@"', COMMAND)
    with (
        serving(sealed, folder=tmp_path / "service", program=program, **how, **patient) as service,
        httpx.Client(verify=authority.trusted, timeout=20) as client,
        ExitStack() as stack,
    ):
        data = named(service.url)
        assert client.post(f"{data}/predict", json=FRAUD_ROW).status_code == 200
        flood = []
        for number in range(450):
            flood.append(stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=20)))
            flood[-1].sendall(HELLO if number % 2 else b"")
            if number % 10 == 9:
                assert client.post(f"{data}/predict", json=FRAUD_ROW).status_code == 200
            if number % 50 == 49:
                assert httpx.get(f"{data}/healthz/ready", verify=authority.trusted, timeout=20).status_code == 200
        assert all(is_ended(silent) for silent in flood[:300]), "the oldest make room"


def is_ended(found: socket.socket) -> bool:
    """Waits until the service has closed a connection."""
    try:
        return found.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("wrong", ("no file", "no certificate", "another key", "a password"))
def test_what_does_not_fit_together_is_refused_at_start(
    sealed: SealedModel, authority: Authority, tmp_path: Path, wrong: str
) -> None:
    cert, key = authority.issue(tmp_path, "first", password=b"secret" if wrong == "a password" else b"")
    if wrong == "no file":
        key.unlink()
    elif wrong == "no certificate":
        cert.write_text("nothing")
    elif wrong == "another key":
        pem = key.read_bytes()
        authority.issue(tmp_path, "second")
        key.write_bytes(pem)
    with pytest.raises(SettingError, match=r"server\.tls_cert"):
        Certificate(cert, key)
    if wrong == "no file":
        how = {"SCORELINE_SERVER__TLS_CERT": str(cert), "SCORELINE_SERVER__TLS_KEY": str(key)}
        service = start_serving(sealed, folder=tmp_path / "service", **how)
        assert service.exit_code() == 1
        assert service.log.startswith("error: server.tls_cert and server.tls_key")
