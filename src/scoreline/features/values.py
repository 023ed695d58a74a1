"""Values as stores keep them: JSON, of one value or of all of a row."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from scoreline.core.schema import Scalar

encode_row: Final = msgspec.json.Encoder().encode
encode_value: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_decode_row: Final = msgspec.json.Decoder(dict[str, Any]).decode


def decode_row(raw: bytes) -> Mapping[str, Scalar | None]:
    """`decode_row(encode_row(values)) == values`."""
    return cast("Mapping[str, Scalar | None]", _decode_row(raw))


def decode_value(raw: bytes) -> Scalar | None:
    """`decode_value(encode_value(value)) == value`; what is no JSON is a text, as others may write one."""
    try:
        return cast("Scalar | None", _decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw.decode("utf-8", "replace")
