"""REFs: how people name a version of a model, and the version that a registry finds under one."""

import re
from dataclasses import dataclass
from typing import Final

from scoreline.core.errors import NotFound

_SCHEME: Final = re.compile(r"[a-z]+:/")
_REGISTERED: Final = re.compile(
    r"(?P<scheme>[a-z]+):/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:@(?P<alias>[A-Za-z0-9._-]+)|/(?P<version>[A-Za-z0-9._-]+))?"
)


@dataclass(frozen=True, slots=True)
class Ref:
    """`scheme:/name`, `scheme:/name@alias` or `scheme:/name/version`. `str(Ref.parse(text)) == text`.

    In MLflow's registry a version that is no number is a stage.
    """

    scheme: str
    name: str
    version: str = ""
    alias: str = ""

    @classmethod
    def parse(cls, text: str) -> "Ref":
        """Raises NotFound where the text is not of one of the three forms."""
        match = _REGISTERED.fullmatch(text)
        if match is None:
            raise NotFound(
                f"{text!r} is not a model reference: use models:/NAME/VERSION, models:/NAME@ALIAS, "
                "folder:/NAME[@ALIAS|/VERSION] or a path; a name has letters, digits, '.', '_' and '-' (where a "
                "registry allows more, rename the model there)"
            )
        return cls(match["scheme"], match["name"], match["version"] or "", match["alias"] or "")

    def __str__(self) -> str:
        tail = f"@{self.alias}" if self.alias else f"/{self.version}" if self.version else ""
        return f"{self.scheme}:/{self.name}{tail}"


@dataclass(frozen=True, slots=True)
class Version:
    """A sealed version of a model as a registry knows it.

    `digest` is what the registry says of its bundle: nothing is verified yet. `place` is where the bundle lies.
    """

    name: str
    version: str
    digest: str
    place: str


def is_path(text: str) -> bool:
    """Whether a text is a path: whatever does not begin as a registry's form does."""
    return _SCHEME.match(text) is None
