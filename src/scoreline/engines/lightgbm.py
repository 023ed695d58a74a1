"""LightGBM through its C interface, without the half second and 100 MB that `import lightgbm` costs.

Single rows go by `SingleRowFast`, which keeps what a call would otherwise set up. Reference:
https://lightgbm.readthedocs.io/en/stable/C-API.html. Contributions are its TreeSHAP (`predict_contrib`).
"""

import ctypes
import functools
import importlib.metadata
from typing import Final

import numpy as np

from scoreline.core.errors import EngineFailed
from scoreline.core.link import Floats
from scoreline.engines.lightgbm_file import is_sound_text
from scoreline.engines.packaged import load_packaged

_RAW_SCORE: Final = ctypes.c_int(1)
_CONTRIBUTIONS: Final = ctypes.c_int(3)
_FLOAT64: Final = ctypes.c_int(1)
_ROW_MAJOR: Final = ctypes.c_int(1)
_FIRST: Final = ctypes.c_int(0)
_ALL: Final = ctypes.c_int(-1)
_PARAMETERS: Final = b"num_threads=1 verbosity=-1"
_LIBRARY_NAMES: Final = ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll")
_Log = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


# Takes the library's log, which it would print among our own words.
_SILENT: Final = _Log(lambda _: None)


class LightGBMEngine:
    """A booster as sealed: one thread, margins (raw scores) in float64 as the library gives them."""

    def __init__(self, model: bytes, n_fields: int, n_outputs: int) -> None:
        self._library = load_library()
        self._booster = ctypes.c_void_p()
        self._fast = ctypes.c_void_p()
        self._n_fields = n_fields
        self._n_outputs = n_outputs
        self.name = f"lightgbm {library_version()}"
        if not is_sound_text(model, n_fields, n_outputs):  # the library would read beyond it, or end the process
            raise EngineFailed(
                f"{self.name}: the model file is not its text, cut, of other sizes, or points beyond what it holds"
            )
        n_iterations = ctypes.c_int()
        self._check(
            self._library.LGBM_BoosterLoadModelFromString(
                model, ctypes.byref(n_iterations), ctypes.byref(self._booster)
            )
        )
        self._linear_trees = b"\nis_linear=1\n" in model
        self._row = np.zeros((1, n_fields))
        self._margins = np.zeros((1, n_outputs))
        self._length = ctypes.c_int64()
        self._check(
            self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._booster, _RAW_SCORE, _FIRST, _ALL, _FLOAT64, n_fields, _PARAMETERS, ctypes.byref(self._fast)
            )
        )
        self._fast_call = (
            self._fast,
            ctypes.c_void_p(self._row.ctypes.data),
            ctypes.byref(self._length),
            ctypes.c_void_p(self._margins.ctypes.data),
        )

    def predict(self, values: Floats) -> Floats:
        """Margins, float64 (n_rows, n_outputs); raises EngineFailed with the library's first line."""
        n_rows = len(values)
        if values.shape[1] != self._n_fields:
            raise EngineFailed(f"{self.name} takes rows of {self._n_fields} fields")
        if n_rows == 1:
            self._row[...] = values
            self._check(self._library.LGBM_BoosterPredictForMatSingleRowFast(*self._fast_call))
            return self._margins.copy()
        return self._predict_many(values, _RAW_SCORE, self._n_outputs)

    def contributions(self, values: Floats) -> Floats | None:
        """Float64 (n_rows, n_outputs, n_fields + 1), base value last; None for linear trees, where it has none."""
        if values.shape[1] != self._n_fields:
            raise EngineFailed(f"{self.name} takes rows of {self._n_fields} fields")
        if self._linear_trees:
            return None
        shape = (len(values), self._n_outputs, self._n_fields + 1)
        return self._predict_many(values, _CONTRIBUTIONS, shape[1] * shape[2]).reshape(shape)

    def _predict_many(self, values: Floats, what: ctypes.c_int, width: int) -> Floats:
        n_rows = len(values)
        rows = np.ascontiguousarray(values)
        found = np.empty((n_rows, width))
        if n_rows == 0:
            return found
        self._check(
            self._library.LGBM_BoosterPredictForMat(
                self._booster,
                ctypes.c_void_p(rows.ctypes.data),
                _FLOAT64,
                ctypes.c_int32(n_rows),
                ctypes.c_int32(self._n_fields),
                _ROW_MAJOR,
                what,
                _FIRST,
                _ALL,
                _PARAMETERS,
                ctypes.byref(self._length),
                ctypes.c_void_p(found.ctypes.data),
            )
        )
        return found

    def _check(self, status: int) -> None:
        if status != 0:
            lines = (self._library.LGBM_GetLastError() or b"").decode(errors="replace").splitlines()
            raise EngineFailed(f"{self.name}: {lines[0] if lines else 'failed without a word'}")

    def __del__(self) -> None:
        if getattr(self, "_fast", None):
            self._library.LGBM_FastConfigFree(self._fast)
        if getattr(self, "_booster", None):
            self._library.LGBM_BoosterFree(self._booster)


@functools.cache
def load_library() -> ctypes.CDLL:
    """The library inside the installed lightgbm package; raises NotFound."""
    library = load_packaged("lightgbm", _LIBRARY_NAMES)
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    library.LGBM_RegisterLogCallback(_SILENT)
    return library


@functools.cache
def library_version() -> str:
    return importlib.metadata.version("lightgbm")
