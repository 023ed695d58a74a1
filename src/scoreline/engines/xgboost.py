"""XGBoost through its C interface: `import xgboost` costs a second and 190 MB, its library loads in milliseconds.

Reference: https://xgboost.readthedocs.io/en/stable/c.html, XGBoosterPredictFromDense and XGBoosterPredictFromDMatrix.
Contributions are its TreeSHAP (Lundberg et al., "From local explanations to global understanding with explainable AI
for trees", 2020); a linear booster's are weight times value.
"""

import ctypes
import functools
import json
import math
from typing import Final

import numpy as np

from scoreline.core.errors import EngineFailed
from scoreline.core.link import Floats
from scoreline.engines.packaged import load_packaged
from scoreline.engines.xgboost_file import is_sound_booster

_MARGIN: Final = 1
_CONTRIBUTIONS: Final = 2
_SETTINGS: Final = {
    "training": False,
    "iteration_begin": 0,
    "iteration_end": 0,
    "strict_shape": True,
    "cache_id": 0,
    "missing": float("nan"),
}
_CONFIG: Final = json.dumps({"type": _MARGIN, **_SETTINGS}).encode()
_CONTRIBUTIONS_CONFIG: Final = json.dumps({"type": _CONTRIBUTIONS, **_SETTINGS}).encode()
_VECTOR_LEAVES: Final = ("multi-target", "IsMultiTarget")  # what the library says of trees it cannot explain yet
_LIBRARY_NAMES: Final = ("libxgboost.so", "libxgboost.dylib", "xgboost.dll")


class XGBoostEngine:
    """A booster as sealed: one thread, margins as the library gives them, exact in float64."""

    def __init__(self, model: bytes, n_fields: int, n_outputs: int) -> None:
        self._library = load_library()
        self._handle, self._proxy = ctypes.c_void_p(), ctypes.c_void_p()
        self._n_fields = n_fields
        self._n_outputs = n_outputs
        self.name = f"xgboost {library_version()}"
        if not is_sound_booster(model, n_fields, n_outputs):  # the library would read beyond it, or end the process
            raise EngineFailed(f"{self.name}: the model file is cut, of other sizes, or points beyond what it holds")
        self._check(self._library.XGBoosterCreate(None, ctypes.c_uint64(0), ctypes.byref(self._handle)))
        self._check(self._library.XGBoosterSetParam(self._handle, b"nthread", b"1"))
        self._check(self._library.XGBoosterLoadModelFromBuffer(self._handle, model, ctypes.c_uint64(len(model))))
        self._check(self._library.XGBoosterSetParam(self._handle, b"nthread", b"1"))
        self._in_place = self._booster_name() == "gbtree"
        # Without one of ours the library makes one at each call, and asks the system how many threads that may have.
        self._check(self._library.XGProxyDMatrixCreate(ctypes.byref(self._proxy)))
        self._feature_types = self._stored_feature_types()
        self._shape = ctypes.POINTER(ctypes.c_uint64)()
        self._dimensions = ctypes.c_uint64()
        self._result = ctypes.c_void_p()  # as_array of a typed pointer would make it a cycle, which is never freed

    def predict(self, values: Floats) -> Floats:
        """Margins, float64 (n_rows, n_outputs); raises EngineFailed with the library's first line."""
        n_rows = len(values)
        if values.shape[1] != self._n_fields:
            raise EngineFailed(f"{self.name} takes rows of {self._n_fields} fields")
        if n_rows == 0:
            return np.empty((0, self._n_outputs))
        interface = _array_interface(values)
        if self._in_place:
            in_place = self._library.XGBoosterPredictFromDense
            self._check(in_place(self._handle, interface, _CONFIG, self._proxy, *self._out()))
        else:
            self._predict_from_matrix(interface, _CONFIG)
        return self._answer(n_rows, self._n_outputs)

    def contributions(self, values: Floats) -> Floats | None:
        """Float64 (n_rows, n_outputs, n_fields + 1), base value last; None for vector leaves, where it has none."""
        n_rows = len(values)
        if values.shape[1] != self._n_fields:
            raise EngineFailed(f"{self.name} takes rows of {self._n_fields} fields")
        if n_rows == 0:
            return np.empty((0, self._n_outputs, self._n_fields + 1))
        try:
            self._predict_from_matrix(_array_interface(values), _CONTRIBUTIONS_CONFIG)
        except EngineFailed as error:
            if any(word in str(error) for word in _VECTOR_LEAVES):
                return None
            raise
        return self._answer(n_rows, self._n_outputs, self._n_fields + 1)

    def _out(self) -> tuple[object, ...]:
        return ctypes.byref(self._shape), ctypes.byref(self._dimensions), ctypes.byref(self._result)

    def _answer(self, *shape: int) -> Floats:
        """What the library has just put into the buffers of `_out`, copied; raises EngineFailed for another size."""
        size = math.prod(self._shape[dimension] for dimension in range(self._dimensions.value))
        if size != math.prod(shape):
            raise EngineFailed(f"{self.name} answered {size} numbers where {math.prod(shape)} were asked for")
        found = np.ctypeslib.as_array((ctypes.c_float * size).from_address(self._result.value or 0))
        return found.astype(np.float64).reshape(shape)

    def _predict_from_matrix(self, interface: bytes, how: bytes) -> None:
        """The way of contributions, dart and gblinear: in place dart sums in another order, and gblinear not at all."""
        matrix = ctypes.c_void_p()
        config = b'{"missing": NaN, "nthread": 1}'
        self._check(self._library.XGDMatrixCreateFromDense(interface, config, ctypes.byref(matrix)))
        try:
            if self._feature_types:
                types = (ctypes.c_char_p * len(self._feature_types))(*self._feature_types)
                length = ctypes.c_uint64(len(self._feature_types))
                self._check(self._library.XGDMatrixSetStrFeatureInfo(matrix, b"feature_type", types, length))
            self._check(self._library.XGBoosterPredictFromDMatrix(self._handle, matrix, how, *self._out()))
        finally:
            self._library.XGDMatrixFree(matrix)

    def _booster_name(self) -> str:
        length, text = ctypes.c_uint64(), ctypes.c_char_p()
        self._check(self._library.XGBoosterSaveJsonConfig(self._handle, ctypes.byref(length), ctypes.byref(text)))
        return str(json.loads(text.value or b"{}")["learner"]["gradient_booster"]["name"])

    def _stored_feature_types(self) -> list[bytes]:
        length, texts = ctypes.c_uint64(), ctypes.POINTER(ctypes.c_char_p)()
        self._check(
            self._library.XGBoosterGetStrFeatureInfo(
                self._handle, b"feature_type", ctypes.byref(length), ctypes.byref(texts)
            )
        )
        return [texts[position] or b"" for position in range(length.value)]

    def _check(self, status: int) -> None:
        if status != 0:
            lines = (self._library.XGBGetLastError() or b"").decode(errors="replace").splitlines()
            raise EngineFailed(f"{self.name}: {lines[0] if lines else 'failed without a word'}")

    def __del__(self) -> None:
        if getattr(self, "_proxy", None):
            self._library.XGDMatrixFree(self._proxy)
        if getattr(self, "_handle", None):
            self._library.XGBoosterFree(self._handle)


def _array_interface(values: Floats) -> bytes:
    """Values as the library takes them: numpy's array interface, in JSON."""
    return (
        b'{"data":[%d,true],"shape":[%d,%d],"strides":[%d,%d],"typestr":"<f8","version":3}'
        % (values.ctypes.data, *values.shape, *values.strides)
    )  # fmt: skip


@functools.cache
def load_library() -> ctypes.CDLL:
    """The library inside the installed xgboost package; raises NotFound."""
    library = load_packaged("xgboost", _LIBRARY_NAMES)
    library.XGBGetLastError.restype = ctypes.c_char_p
    return library


@functools.cache
def library_version() -> str:
    major, minor, patch = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    load_library().XGBoostVersion(ctypes.byref(major), ctypes.byref(minor), ctypes.byref(patch))
    return f"{major.value}.{minor.value}.{patch.value}"
