"""Workers follow `state.json`: the good is taken without a failed request, the broken leaves the last one answering."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from load import failures_of, load
from scoreline.operations.state import FILE, Assignment, read_state, write_state
from service import CHURN_ROW, FRAUD_ROW, SealedModel, Service, serving, wait_until


def install(model: SealedModel, service: Service) -> Assignment:
    manifest = model.manifest
    target = service.state_dir / "bundles" / manifest.digest
    if not target.exists():
        shutil.copytree(model.folder, target)
    return Assignment(manifest.version, manifest.digest)


def assign(service: Service, **models: Assignment) -> None:
    write_state(service.state_dir, replace(read_state(service.state_dir), models=models))


def test_another_version_is_swapped_in_under_load_without_a_failed_request(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path, workers=2) as service:
        with load(service.port, keep_alive=8, reconnecting=2) as clients:
            for model, version in ((sealed_next, "2"), (sealed, "1"), (sealed_next, "2")):
                wait_until(lambda: all(client.answers for client in clients), "every client is answered")
                assign(service, fraud=install(model, service))
                wait_until(
                    lambda version=version: {client.answers[-1]["version"] for client in clients} == {version},
                    f"all answers are of version {version}",
                )
        assert failures_of(clients) == []
        scores = {model.manifest.version: model.decide(FRAUD_ROW)[0].scores[0] for model in (sealed, sealed_next)}
        assert scores["1"] != scores["2"]
        answers = [answer for client in clients for answer in client.answers]
        assert {(answer["version"], answer["fraud_probability"]) for answer in answers} == set(scores.items())

        recorded = {decision.id: decision for decisions in service.recorded() for decision in decisions}
        digests = {model.manifest.version: model.manifest.digest for model in (sealed, sealed_next)}
        for answer in answers:
            decision = recorded[answer["prediction_id"]]
            assert decision.author.digest == digests[answer["version"]]
            assert decision.scores == (answer["fraud_probability"],)


def test_a_state_that_cannot_be_taken_leaves_the_last_good_one_answering(
    sealed: SealedModel, sealed_next: SealedModel, churn: SealedModel, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path) as service:
        good = install(sealed_next, service)
        other = install(churn, service)
        bundles = service.state_dir / "bundles"

        def tampered() -> None:
            shutil.copytree(sealed_next.folder, bundles / ("a" * 64))
            with (bundles / ("a" * 64) / "model.ubj").open("r+b") as file:
                file.write(b"x")
            assign(service, fraud=Assignment("2", "a" * 64))

        def other_digest() -> None:
            shutil.copytree(sealed_next.folder, bundles / ("b" * 64))
            assign(service, fraud=Assignment("2", "b" * 64))

        def state_of(text: str) -> Callable[[], None]:
            return lambda: _replace(service.state_dir / FILE, text)

        broken: list[Callable[[], None]] = [
            lambda: assign(service, fraud=Assignment("2", "c" * 64)),
            tampered,
            other_digest,
            lambda: assign(service, fraud=other),
            lambda: assign(service, fraud=replace(good, digest="../../etc")),
            lambda: write_state(service.state_dir, replace(read_state(service.state_dir), default="none")),
            state_of(""),
            state_of("[]"),
            state_of('{"format": 2}'),
            state_of('{"format": 1}'),
            state_of('{"format": 1, "models": [], "default": "", "keys": {}, "anonymous": []}'),
            state_of('{"format": 1, "models": {"fraud": 7}, "default": "", "keys": {}, "anonymous": []}'),
            lambda: (service.state_dir / FILE).unlink(),
        ]
        first = read_state(service.state_dir)
        for breaking in broken:
            write_state(service.state_dir, first)
            refused = service.log.count("the new state is not taken")
            breaking()
            wait_until(
                lambda refused=refused: service.log.count("the new state is not taken") > refused, "it is refused"
            )
            answer = service.post(FRAUD_ROW)
            assert (answer.status_code, answer.json()["version"]) == (200, "1")
            assert service.get("/healthz/ready").status_code == 200
        assert "Traceback" not in service.log

        write_state(service.state_dir, replace(first, models={"fraud": good}))
        wait_until(lambda: service.post(FRAUD_ROW).json()["version"] == "2", "a good state is taken again")


def test_models_change_with_the_state(sealed: SealedModel, churn: SealedModel, tmp_path: Path) -> None:
    with serving(sealed, folder=tmp_path) as service:
        assert service.post(CHURN_ROW, "/models/churn/predict").status_code == 404
        fraud, more = install(sealed, service), install(churn, service)
        assign(service, fraud=fraud, churn=more)
        wait_until(lambda: service.post(CHURN_ROW, "/models/churn/predict").status_code == 200, "churn is served")
        assert "churn_probability" in service.get("/openapi.json").text

        state = read_state(service.state_dir)
        write_state(service.state_dir, replace(state, models={"churn": more}, default="churn"))
        wait_until(lambda: service.post(CHURN_ROW).status_code == 200, "churn is the default")
        assert service.post(FRAUD_ROW, "/models/fraud/predict").status_code == 404


def _replace(file: Path, text: str) -> None:
    temporary = file.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(file)
