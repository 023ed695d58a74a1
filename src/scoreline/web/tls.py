"""TLS for the server: one context, whose certificate is read anew when its file changes."""

import logging
import ssl
from pathlib import Path
from typing import Final

from scoreline.core.errors import SettingError

LOOK_S: Final = 1.0
log = logging.getLogger("scoreline.tls")


class Certificate:
    """A certificate with its chain, and its private key; raises SettingError where they do not fit together.

    TLS 1.2 is the least that is spoken.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = cert, key
        self._seen = self._stamp()
        self.context = _context()
        try:
            self.context.load_cert_chain(cert, key, _no_password)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise SettingError(f"server.tls_cert and server.tls_key: {_why(error)}") from None

    def look(self) -> None:
        """Takes up a certificate that was renewed, for connections that begin from now on.

        Its two files may change one after the other: a pair that does not fit is not taken.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return
        try:
            _context().load_cert_chain(*self._files, _no_password)
            self.context.load_cert_chain(*self._files, _no_password)
        except (OSError, ValueError) as error:
            log.error("the certificate that was renewed is not taken, the last one goes on: %s", _why(error))
        else:
            log.info("the certificate was renewed")
        self._seen = stamp

    def _stamp(self) -> tuple[int, ...]:
        try:
            return tuple(value for file in self._files for value in (file.stat().st_mtime_ns, file.stat().st_ino))
        except OSError:
            return ()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_password() -> str:
    """Instead of asking for one on a terminal that nobody looks at."""
    raise ValueError("the key has a password: give one without, in a file that only its owner can read")


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
