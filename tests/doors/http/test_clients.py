"""Callers' own clients against the real service."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import tritonclient.http as triton
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from service import CHURN_ROW, FRAUD_ROW, SealedModel, Service, run_scoreline, serving

ROWS: list[dict[str, Any]] = [
    FRAUD_ROW,
    {"amount": 12.25, "age_days": 365, "country": "fr:sud", "repeat": False, "distance": None},
    {"amount": 99_999.0, "age_days": 0, "country": "uk", "repeat": True, "distance": 0.5},
]
DATATYPES = {"amount": "FP64", "age_days": "INT64", "country": "BYTES", "repeat": "BOOL", "distance": "FP64"}


@pytest.fixture(scope="module")
def service(sealed: SealedModel, churn: SealedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """fraud and churn; fraud is the default."""
    folder = tmp_path_factory.mktemp("clients")
    with serving(sealed, churn, folder=folder, arguments=("--default", "fraud")) as found:
        yield found


@pytest.fixture
def client(service: Service) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as found:
        yield found


def inputs(rows: list[dict[str, Any]], *, binary: bool) -> list[triton.InferInput]:
    """One input per field, as a client of Triton builds them; a missing number is NaN."""
    found = []
    for name, datatype in DATATYPES.items():
        values = [row[name] for row in rows]
        kind = {"FP64": np.float64, "INT64": np.int64, "BYTES": object, "BOOL": bool}[datatype]
        column = np.array([np.nan if value is None else value for value in values], dtype=kind).reshape(-1, 1)
        tensor = triton.InferInput(name, list(column.shape), datatype)
        tensor.set_data_from_numpy(column, binary_data=binary)
        found.append(tensor)
    return found


def recorded(service: Service, prediction_id: str) -> Any:
    return next(decision for found in service.recorded() for decision in found if decision.id == prediction_id)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tritonclient_infers(
    service: Service, client: triton.InferenceServerClient, sealed: SealedModel, binary_in: bool, binary_out: bool
) -> None:
    rows = ROWS if binary_in else [ROWS[0], ROWS[2]]  # the client writes NaN into JSON, which is none
    names = ("fraud_probability", "outcome", "prediction_id")
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in names]
    result = client.infer("fraud", inputs(rows, binary=binary_in), request_id="mine", outputs=outputs)
    wanted = sealed.decide(*rows)
    assert result.as_numpy("fraud_probability").tobytes() == wanted.scores.tobytes()
    outcomes = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("outcome").tolist()]
    assert outcomes == [decision.outcome for decision in wanted]
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("fraud", "1", "mine")
    prediction_ids = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("prediction_id")]
    for prediction_id, row in zip(prediction_ids, wanted, strict=True):
        kept = recorded(service, prediction_id)
        assert (kept.scores, kept.features.keys()) == (row.scores, row.features.keys())


def test_tritonclient_without_outputs_gets_all_as_bytes(
    client: triton.InferenceServerClient, sealed: SealedModel
) -> None:
    result = client.infer("fraud", inputs(ROWS, binary=True), model_version="1")
    assert result.as_numpy("fraud_probability").tobytes() == sealed.decide(*ROWS).scores.tobytes()


@pytest.mark.parametrize(("datatype", "kind"), [("FP32", np.float32), ("FP64", np.float64)])
def test_tritonclient_sends_a_matrix_of_all_fields(
    client: triton.InferenceServerClient, churn: SealedModel, datatype: str, kind: type
) -> None:
    matrix = np.array([list(CHURN_ROW.values()), [1.5, 2.25, 3.125]], dtype=kind)
    tensor = triton.InferInput("input", list(matrix.shape), datatype)
    tensor.set_data_from_numpy(matrix)
    result = client.infer("churn", [tensor])
    rows = [dict(zip(CHURN_ROW, map(float, row), strict=True)) for row in matrix]
    assert result.as_numpy("churn_probability").tobytes() == churn.decide(*rows).scores.tobytes()


def test_tritonclient_asks_what_is_there(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fraud")
    assert client.is_model_ready("fraud", "1")
    assert not client.is_model_ready("fraud", "9")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("fraud")
    assert (metadata["name"], metadata["versions"]) == ("fraud", ["1"])
    assert {found["name"]: found["datatype"] for found in metadata["inputs"]} == DATATYPES
    assert [found["name"] for found in metadata["outputs"]] == ["fraud_probability", "outcome", "prediction_id"]


def test_tritonclient_is_told_every_problem(client: triton.InferenceServerClient) -> None:
    bad = [{**ROWS[0], "amount": -1.0, "country": "xx"}, ROWS[1]]
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer("fraud", inputs(bad, binary=True))
    told = caught.value.message()
    assert "row 0, field 'amount': must be at least 0; row 0, field 'country': must be one of the model's 4" in told
    assert "xx" not in told
    with pytest.raises(triton.InferenceServerException, match="no such model is served here"):
        client.infer("nobody", inputs(ROWS, binary=True))


def test_tritonclient_is_told_what_is_not_there(client: triton.InferenceServerClient) -> None:
    with pytest.raises(triton.InferenceServerException, match="no such model is served here"):
        client.get_model_metadata("nobody")
    with pytest.raises(triton.InferenceServerException, match="this version of the model is not served here"):
        client.get_model_metadata("fraud", "9")
    with pytest.raises(triton.InferenceServerException, match="There is no such route"):
        client.get_model_config("fraud")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(
            ("GET", path, 404)
            for path in ("/v1/nothing", "/v1/models/nobody", "/v2/nothing", "/v2/models/nobody/ready")
        ),
        *(("GET", path, 404) for path in ("/v1", "/v2/models/fraud/versions/9", "/v2/models/fraud/versions/9/ready")),
        ("GET", "/v2/models/fraud/infer", 405),
        *(("POST", path, 405) for path in ("/v1/models", "/v2", "/v2/health/ready")),
    ],
)
def test_every_refusal_of_a_protocol_is_in_its_words(service: Service, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, service.url + path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert set(answer.json()) == {"error"}
    assert isinstance(answer.json()["error"], str)
    assert answer.headers["x-request-id"]


def test_fields_without_an_input_take_their_default_and_are_named(client: triton.InferenceServerClient) -> None:
    result = client.infer("fraud", inputs(ROWS, binary=True)[:1])
    assert result.get_response()["parameters"] == {"defaulted": "age_days,country,repeat,distance"}


@pytest.mark.parametrize("form", ["frame", "records"])
def test_mlflow_client_invokes(service: Service, sealed: SealedModel, form: str) -> None:
    frame = pd.DataFrame(ROWS)
    assert frame["distance"].isna().sum() == 1, "the client sends NaN"
    data = frame if form == "frame" else ROWS
    client = ScoringServerClient("127.0.0.1", service.port)
    client.ping()
    assert client.get_version()
    answer = client.invoke(data)
    wanted = sealed.decide(*ROWS)
    assert answer.get_predictions(predictions_format="ndarray").tobytes() == wanted.scores[:, 0].tobytes()
    assert answer["outcomes"] == [decision.outcome for decision in wanted]
    assert recorded(service, answer["prediction_ids"][1]).scores == wanted[1].scores


def test_mlflow_client_is_told_every_problem(service: Service) -> None:
    frame = pd.DataFrame(ROWS).assign(amount=[1.0, np.nan, 3.0], colour="red")
    with pytest.raises(Exception, match=r"error code 422") as caught:
        ScoringServerClient("127.0.0.1", service.port).invoke(frame)
    assert "row 1, field 'amount': must not be null" in str(caught.value)
    assert "field 'colour': is not a field of this model" in str(caught.value)
    assert "BAD_REQUEST" in str(caught.value)


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances", "inputs", "lists", "columns"])
def test_every_form_of_mlflows_protocol_is_read(service: Service, sealed: SealedModel, form: str) -> None:
    frame = pd.DataFrame(ROWS).astype(object).where(pd.DataFrame(ROWS).notna(), None)
    bodies: dict[str, Any] = {
        "dataframe_split": {"dataframe_split": frame.to_dict(orient="split")},
        "lists": {"instances": frame.to_numpy().tolist()},
        "columns": {"inputs": frame.to_dict(orient="list")},
    }
    answer = service.post(bodies.get(form, {form: ROWS}), "/invocations")
    assert answer.json()["predictions"] == sealed.decide(*ROWS).scores[:, 0].tolist()


def test_csv_with_a_header_is_invoked(service: Service, sealed: SealedModel) -> None:
    text = pd.DataFrame(ROWS).to_csv(index=False)
    answer = httpx.post(f"{service.url}/invocations", content=text, headers={"content-type": "text/csv; charset=utf-8"})
    assert answer.json()["predictions"] == sealed.decide(*ROWS).scores[:, 0].tolist()


@pytest.mark.parametrize("as_list", [False, True])
def test_kserve_v1_predicts(service: Service, sealed: SealedModel, as_list: bool) -> None:
    instances = [list(row.values()) if as_list else row for row in ROWS]
    answer = service.post({"instances": instances}, "/v1/models/fraud:predict")
    assert answer.json()["predictions"] == sealed.decide(*ROWS).scores[:, 0].tolist()
    assert service.get("/v1/models").json() == {"models": ["churn", "fraud"]}
    assert service.get("/v1/models/fraud").json() == {"name": "fraud", "ready": True}
    refused = service.post({"instances": [{"amount": "12"}]}, "/v1/models/fraud:predict")
    assert refused.status_code == 422
    assert refused.json()["error"] == "row 0, field 'amount': must be a number"


def test_unknown_models_and_versions_are_refused_in_each_protocols_words(service: Service) -> None:
    v1 = service.post({"instances": [{}]}, "/v1/models/nobody:predict")
    v2 = service.post({"inputs": []}, "/v2/models/fraud/versions/2/infer")
    assert (v1.status_code, v2.status_code) == (404, 404)
    assert "no such model is served here" in v1.json()["error"]
    assert "this version of the model is not served here" in v2.json()["error"]


def test_sagemaker_starts_it_without_a_reference(sealed: SealedModel, tmp_path: Path) -> None:
    """`docker run IMAGE serve` is `scoreline serve`: what lies in the folder, on all addresses, CSV without header."""
    shutil.copytree(sealed.folder, tmp_path / "model" / "fraud")
    environment = {"SCORELINE_REGISTRY__SAGEMAKER_FOLDER": str(tmp_path / "model")}
    refused = run_scoreline("serve", "--trust", sealed.public_key, cwd=tmp_path, **environment)
    assert refused.returncode == 1
    assert "0.0.0.0 is open to other machines and nobody needs a key" in refused.stderr
    environment["SCORELINE_ACCESS__ANONYMOUS"] = "predict"
    with serving(sealed, folder=tmp_path / "service", refs=None, **environment) as service:
        assert "http://0.0.0.0:" in service.said
        started_s = time.monotonic()
        assert service.get("/ping").status_code == 200
        assert time.monotonic() - started_s < 2, "SageMaker waits two seconds"
        lines = pd.DataFrame([ROWS[0], ROWS[2]]).to_csv(index=False, header=False)
        answer = httpx.post(f"{service.url}/invocations", content=lines, headers={"content-type": "text/csv"})
        assert answer.json()["predictions"] == sealed.decide(ROWS[0], ROWS[2]).scores[:, 0].tolist()
        assert service.stop() == 0


def test_a_file_of_settings_goes_before_what_sagemaker_expects(sealed: SealedModel, tmp_path: Path) -> None:
    shutil.copytree(sealed.folder, tmp_path / "model" / "fraud")
    (tmp_path / "scoreline.toml").write_text(
        f'[server]\nhost = "127.0.0.1"\ncsv_header = true\n[registry]\nsagemaker_folder = "{tmp_path / "model"}"\n'
    )
    with serving(sealed, folder=tmp_path, refs=None) as service:
        assert "http://127.0.0.1:" in service.said
        answer = httpx.post(
            f"{service.url}/invocations", content="amount\n5000\n", headers={"content-type": "text/csv"}
        )
        assert answer.status_code == 200


def test_without_a_reference_and_without_sagemakers_folder_it_says_what_to_give(tmp_path: Path) -> None:
    ended = run_scoreline("serve", cwd=tmp_path)
    assert ended.returncode == 1
    assert "error: no bundle in /opt/ml/model, which `serve` without a REF serves: give a REF" in ended.stderr
