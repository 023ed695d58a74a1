"""How the parts fit together: REF -> verified bundle -> engine -> stacked Score. The only file that knows them all."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from scoreline.access.answers import Answers
from scoreline.access.answers_sqlite import SqliteAnswers
from scoreline.access.guesses import guessing
from scoreline.access.hosts import is_loopback, names
from scoreline.access.keyring import Keyring, static_keys
from scoreline.access.limits import Limit, limit_of
from scoreline.access.windows import WORD, Windows
from scoreline.core.arms import Guard, Lease, Tell
from scoreline.core.bundle import read_bundle
from scoreline.core.errors import BundleError, SettingError
from scoreline.core.marks import Marks, Patience
from scoreline.core.names import load
from scoreline.core.ports import FeatureStore, Record, Registry, Sink, Verifier
from scoreline.core.refs import is_path
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.features.known import Known
from scoreline.features.ladder import Ladder
from scoreline.features.open import open_store
from scoreline.operations.credentials import Credentials, Watched, asking
from scoreline.operations.install import install_tried
from scoreline.operations.keys import kept_key, kept_signer
from scoreline.operations.shared import Memory, forked
from scoreline.operations.standing import Model, Opened, Recording, stand
from scoreline.operations.state import State
from scoreline.operations.tried import try_once
from scoreline.records.spool import recorded
from scoreline.records.writer import SpoolWriter
from scoreline.registries.folder import FolderRegistry
from scoreline.registries.mlflow import MlflowRegistry
from scoreline.rollout.policy import Policy
from scoreline.settings import Settings, policy_of
from scoreline.signing import Signer, TrustStore

ENTITY_KEY: Final = "entity.key"
AUDIT_KEY: Final = "audit.key"
AUDIT_PUBLIC: Final = "audit.pub"


def open_model(ref: str, settings: Settings) -> Model:
    """A REF as a model that scores and keeps no record: what batch jobs use; tried out before. Raises as `install`."""
    trust, state_dir = verifier(settings), Path(settings.state_dir)
    if is_path(ref):
        path = Path(ref)
        try_once(path, read_bundle(path, trust).manifest.digest, state_dir)
    else:
        path = install_tried(ref, registries(settings), trust, state_dir).path
    opened = _open(path, trust)
    return Model(opened.manifest, Scorer(opened.manifest, opened.engine))


def open_state(
    state: State,
    state_dir: Path,
    trust: Verifier,
    record: Recording,
    guard: Guard,
    running: Mapping[str, Model] | None = None,
) -> dict[str, Model]:
    """Every model of a state by name, its score as `record` makes it; those already running as wanted are kept.

    Engines that run are used again: another share or epoch loads nothing, and who is in shadow changes nothing here.
    Raises where a champion cannot be opened.
    """
    running = running or {}
    loaded = {digest: opened for model in running.values() for digest, opened in model.opened.items()}

    def opening(name: str, digest: str) -> Opened:
        opened = loaded.get(digest) or _open(state_dir / "bundles" / digest, trust)
        if (opened.manifest.name, opened.manifest.digest) != (name, digest):
            raise BundleError(f"bundles/{digest} holds another bundle than {name} as assigned")
        return opened

    found = {}
    for name, assignment in state.models.items():
        model, wanted = running.get(name), replace(assignment, challengers=())
        if model is None or model.assignment != wanted:
            model = stand(wanted, partial(opening, name), record, guard)
        found[name] = model
    return found


def open_challenger(path: Path, trust: Verifier) -> Scorer:
    """A version that is to be scored beside others; raises NotFound or BundleError."""
    opened = _open(path, trust)
    return Scorer(opened.manifest, opened.engine)


def store_of(settings: Settings) -> FeatureStore:
    """Where features are kept; nothing is asked yet. Raises SettingError."""
    found = settings.features
    state_dir, key = Path(settings.state_dir), found.feast_key
    return open_store(found.store, found.url, state_dir, key=key, integer_key=found.feast_integer_key)


def ladder_of(settings: Settings) -> Ladder:
    """What a process gets its features by."""
    return Ladder(store_of(settings), Known(settings.features.known_max_rows))


def registries(settings: Settings) -> dict[str, Registry]:
    return {"folder": FolderRegistry(Path(settings.registry.folder)), "models": model_registry(settings)}


def model_registry(settings: Settings) -> MlflowRegistry:
    return MlflowRegistry(settings.registry.mlflow_uri)


def verifier(settings: Settings) -> TrustStore:
    trust = settings.trust
    return TrustStore.from_files([Path(key) for key in trust.keys], trust.revoked_keys, trust.revoked_digests)


def spool_writer(settings: Settings) -> SpoolWriter:
    records = settings.records
    return SpoolWriter(
        spool_folder(settings),
        records.segment_bytes,
        segment_s=records.segment_s,
        max_bytes=records.max_bytes,
        n_writers=settings.server.workers,
        fsync=records.fsync,
        on_full=records.on_full,
    )


def spool_folder(settings: Settings) -> Path:
    return Path(settings.state_dir) / "spool"


def database_file(settings: Settings) -> Path:
    """Where decisions are kept unless `records.database` names another place."""
    return Path(settings.state_dir) / "scoreline.db"


def record_of(settings: Settings) -> Record:
    """Where recorded decisions are found again."""
    kept: Record = kept_of(settings)
    return kept


def kept_of(settings: Settings, database: Any = None) -> Any:
    """The whole record, a `records.kept.KeptRecord`, with the database where it is open already.

    SQLAlchemy is loaded by whoever asks: no worker does.
    """
    place = spool_folder(settings), settings.records.database, database_file(settings), settings.records.archive
    return load("scoreline.records.kept:KeptRecord")(*place, database)


def database_of(settings: Settings) -> Any:
    """The decision database, a `records.database.Database`; nothing is asked yet. Raises SettingError."""
    return load("scoreline.records.database:open_database")(settings.records.database, database_file(settings))


def desk_of(settings: Settings, database: Any, at_once: int | None = None) -> Any:
    """Where people act on versions, an `operations.desk.Desk`; loaded by whoever asks: no worker does.

    `at_once`: how much of what shadow shows is read at a look, in pages; None: all of it.
    """
    host = load("scoreline.operations.admission:Host")
    here = host(registries(settings), partial(verifier, settings), Path(settings.state_dir))
    rules, folder = policy(settings), settings.records.archive
    archive = load("scoreline.records.archive:Archive")(folder) if folder else None
    pairing = load("scoreline.operations.paired:Pairing")
    report = pairing(database, Path(settings.state_dir), rules, archive, at_once).report
    return load("scoreline.operations.desk:Desk")(database, here, rules, report)


def policy(settings: Settings) -> Policy:
    """What rollouts ask of a version."""
    return policy_of(settings.rollout, settings.latency.budgets)


def patience_of(settings: Settings) -> Patience:
    """How long a canary may score: longer for many rows, each of which may take what the gate lets one take."""
    return Patience(settings.rollout.hang_ms * 1_000_000, settings.latency.budgets.longest_model_ms * 1_000_000)


def keyring_of(settings: Settings, known: Credentials | None, used: set[int] | None = None) -> Keyring:
    """Who may do what, by the settings and by what is known of keys; None: nothing is, and then nothing is open.

    PyJWT is loaded only where tokens are accepted.
    """
    access, server = settings.access, settings.server
    keys = dict(known.keys) if known else {}
    return Keyring(
        keys | static_keys(access.admin_key),
        frozenset(access.anonymous),
        known is None or known.guarded or not all(map(is_loopback, (server.host, server.admin_host))),
        _tokens_of(settings, known) if settings.oauth.issuer else None,
        names(server.hosts),
        set() if used is None else used,
    )


def _tokens_of(settings: Settings, known: Credentials | None) -> Any:
    oauth = settings.oauth
    rules = load("scoreline.access.tokens:Rules")(
        oauth.issuer,
        oauth.audience,
        oauth.algorithms,
        oauth.leeway_s,
        oauth.scope_claim,
        oauth.scope_prefix,
        oauth.models_claim,
    )
    jwks, fetched_ns = (known.jwks, known.fetched_ns) if known else ((), 0)
    until_s = fetched_ns / 1e9 + oauth.max_age_s if fetched_ns else 0.0
    return load("scoreline.access.tokens:Tokens")(rules, jwks, until_s, asking(Path(settings.state_dir)))


def watched(settings: Settings) -> Watched:
    """The keyring of this process, as what is known of keys changes."""
    return Watched(Path(settings.state_dir), partial(keyring_of, settings))


def limits_of(settings: Settings) -> list[Limit]:
    """The limits that are set, in the order in which they are looked at."""
    found = settings.limits
    given = (("address", found.per_address), ("caller", found.per_caller), ("model", found.per_model))
    return [limit for kind, text in given if (limit := limit_of(kind, text)) is not None]


def windows_of(settings: Settings, memory: Memory = forked) -> list[Windows]:
    """Where the workers of this host count, and as the last of them its steward; made before they are forked."""
    limits, n = limits_of(settings), settings.server.workers + 1
    limits += [guessing(limit) for limit in limits if limit.kind == "address"]
    return [Windows(limit, n, refusals=memory(f"refused-{limit.kind}", n * WORD)) for limit in limits]


def limiter_elsewhere(settings: Settings) -> Any:
    """Where hosts count together, a `limits_redis.RedisLimiter`; None where each counts for itself."""
    found = settings.limits
    if not found.redis or not limits_of(settings):
        return None
    return _of_redis("scoreline.access.limits_redis:RedisLimiter")(limits_of(settings), found.redis, found.redis_ms)


def answers_of(settings: Settings) -> tuple[Answers, bytes]:
    """Where answers are kept under idempotency keys, and the secret of their digests, which all who share them have."""
    found = settings.limits
    if not found.redis:
        return SqliteAnswers(Path(settings.state_dir), found.keys_max_bytes), entity_key(settings)[:32]
    kept: Answers = _of_redis("scoreline.access.answers_redis:RedisAnswers")(found.redis, found.redis_ms)
    return kept, hashlib.sha256(settings.records.entity_key.encode()).digest()


def _of_redis(target: str) -> Any:
    """What needs the client of Redis; raises SettingError without it."""
    try:
        load("redis:Redis")
        return load(target)
    except ImportError:
        raise SettingError("limits.redis: its client is not installed: pip install 'scoreline[redis]'") from None


def entity_key(settings: Settings) -> bytes:
    """The key that entities are hashed with: the setting, else one made once for this state folder."""
    if settings.records.entity_key:
        return hashlib.sha256(settings.records.entity_key.encode()).digest()
    return kept_key(Path(settings.state_dir) / ENTITY_KEY)


def signer(settings: Settings) -> Signer:
    """Who signs checkpoints: with the key of the setting, else with one made once for this state folder."""
    if settings.records.audit_key:
        return Signer.from_file(Path(settings.records.audit_key))
    state_dir = Path(settings.state_dir)
    return kept_signer(state_dir / AUDIT_KEY, state_dir / AUDIT_PUBLIC)


def quote_seed(settings: Settings) -> bytes:
    """What quotes are signed with: hosts that share the key of entities share it, too."""
    return hashlib.blake2b(entity_key(settings), digest_size=32, person=b"scoreline quotes").digest()


def recorder(settings: Settings, sink: Sink) -> Recording:
    """What makes a score one that records to `sink`."""
    return partial(recorded, sink=sink, entity_key=entity_key(settings))


def guard_of(settings: Settings, sink: Sink, lease: Lease, marks: Marks, tell: Tell) -> Guard:
    """What a worker watches its arms with."""
    return Guard(lease, marks, sink.failed, tell, entity_key(settings), settings.latency.budgets.over_ns)


def _open(path: Path, trust: Verifier) -> Opened:
    bundle = read_bundle(path, trust)
    return Opened(bundle.manifest, load_engine(bundle))
