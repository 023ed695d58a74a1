"""ONNX Runtime: tree models' fast engine for single rows, scikit-learn's pipelines, and graphs as they are.

One thread, sequential. Single rows go through buffers bound once: 2.5 us of engine time instead of 4.5.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from scoreline.core.errors import EngineFailed
from scoreline.core.link import Floats
from scoreline.engines.onnx_file import problems

_TYPES: Final = {"tensor(float)": np.float32, "tensor(double)": np.float64}
# Bytes are an ONNX graph and no other format, and data outside of them is looked for where no file can be.
_NOTHING_ELSE: Final = {
    "session.load_model_format": "ONNX",
    "session.model_external_initializers_file_folder_path": "/dev/null",
}


class OnnxEngine:
    """A graph from `x` (n_rows, n_fields) to margins `y` (n_rows, n_outputs), both float32 or both float64.

    Without `n_outputs` the graph itself says how many there are.
    """

    def __init__(self, model: bytes, n_fields: int, n_outputs: int | None = None) -> None:
        self.name = f"onnxruntime {onnxruntime.__version__}"
        self._session = _session(self.name, model)
        try:
            self._type = _TYPES[self._session.get_inputs()[0].type]
            self.n_outputs: int = n_outputs or self._session.get_outputs()[0].shape[1]
            self._row = np.zeros((1, n_fields), dtype=self._type)
            self._margins = np.zeros((1, self.n_outputs), dtype=self._type)
            self._binding = self._session.io_binding()
            self._binding.bind_input("x", "cpu", 0, self._type, self._row.shape, self._row.ctypes.data)
            self._binding.bind_output("y", "cpu", 0, self._type, self._margins.shape, self._margins.ctypes.data)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the library raises many kinds, all of its own
            raise EngineFailed(f"{self.name} cannot load this graph ({type(error).__name__})") from None

    def predict(self, values: Floats) -> Floats:
        """Margins, float64 (n_rows, n_outputs); raises EngineFailed."""
        if values.shape[1] != self._row.shape[1]:
            raise EngineFailed(f"{self.name} takes rows of {self._row.shape[1]} fields")
        try:
            if len(values) == 1:
                self._row[...] = values
                self._session.run_with_iobinding(self._binding)
                return self._margins.astype(np.float64)
            (found,) = self._session.run(["y"], {"x": values.astype(self._type)})
        except Exception as error:  # the library raises many kinds, all of its own
            raise EngineFailed(f"{self.name} failed ({type(error).__name__})") from None
        return np.asarray(found, dtype=np.float64)

    def contributions(self, _: Floats) -> None:
        """None: a graph does not say which field its margin is from."""


class OnnxRowsEngine(OnnxEngine):
    """A graph whose operators may round otherwise in a batch of another size: every row goes through it alone."""

    def predict(self, values: Floats) -> Floats:
        if len(values) == 1:
            return super().predict(values)
        rows = [super(OnnxRowsEngine, self).predict(values[row : row + 1]) for row in range(len(values))]
        return np.concatenate(rows) if rows else np.empty((0, self.n_outputs))


class RawGraph:
    """Any graph with inputs of its own names, as ONNX Runtime itself answers it; raises EngineFailed."""

    def __init__(self, model: bytes) -> None:
        self._session = _session("ONNX Runtime", model)

    def __call__(self, given: dict[str, npt.NDArray[Any]]) -> Floats:
        """The first output, in float64."""
        try:
            return np.asarray(self._session.run(None, given)[0], dtype=np.float64)
        except Exception as error:  # the library raises many kinds, all of its own
            raise EngineFailed(f"ONNX Runtime cannot run the graph ({type(error).__name__})") from None


def _session(name: str, model: bytes) -> onnxruntime.InferenceSession:
    for problem in problems(model):
        raise EngineFailed(f"{name} is not given this graph: it {problem}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    for setting, value in _NOTHING_ELSE.items():
        options.add_session_config_entry(setting, value)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises many kinds, all of its own
        raise EngineFailed(f"{name} cannot load this graph ({type(error).__name__})") from None
