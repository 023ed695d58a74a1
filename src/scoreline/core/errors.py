"""Every error Scoreline raises, in one tree.

ScorelineError
    SettingError            a setting, flag or file of settings is wrong
    SchemaError             a schema contradicts itself or the model
    SealRefused             a model cannot be sealed as it is
    BundleError             a bundle is not what it says it is
        SignatureRefused    no trusted key vouches for these bytes
        SelfTestFailed      the bundle loads but does not repeat its golden margins
    NotFound                a model, version or file that is not there
    RegistryDown            a registry cannot be asked now
    StoreDown               a feature store cannot be asked now, or holds no features yet
        FeaturesMissing     ... and a row needs what only it has: an indispensable feature
    FeaturesRefused         a file of features cannot be loaded, or joined, as it is
    InputError              what a caller sent cannot be scored
        Malformed           it is not JSON, or not of the expected shape
        WrongType           its content type is not one this door takes
        TooLarge            it has more bytes or rows than allowed
        RowsRefused         rows that break the schema, or have no score; carries every problem
        QuoteRefused        a quote token is not what it says it is, or not for this
        IdempotencyMismatch an idempotency key came again with another request
    QuoteLapsed             the version of a quote must not answer on this host now
    Denied                  the caller may not do this
        Unauthenticated     ... because it did not say who it is
    RateLimited             the caller asks more often than it may
    IdempotencyBusy         a request with this idempotency key is being answered
    IdempotencyDown         nobody can say now whether an idempotency key was used
    EngineFailed            an engine raised
    RecordRefused           the decision could not be recorded, so it is not answered
    Pressed                 nothing is wrong with the request: there is no time or room for it now
        TooLate             it cannot be answered by its deadline
        Overloaded          all places are taken
    DatabaseDown            the database of decisions cannot be asked now
    DatabaseRefused         the database cannot be used as it is, or refuses what it is given
    BatchRefused            a batch job cannot start or finish as asked
    ReplayRefused           a recorded decision cannot be computed again, or explained, as it stands
    ErasureRefused          what is recorded of an entity must not be erased now
    RolloutRefused          a rollout cannot do this now, or not with this version
    LedgerMoved             someone else wrote the next entry of the ledger
    NotTold                 a webhook did not take a notification
    IssuerDown              an issuer of tokens cannot be asked for its keys now

Messages say what to do next and never carry a row's values. Doors own exit codes and status codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_PROBLEMS: Final = 1000  # told of one request


class ScorelineError(Exception):
    """The root: whatever Scoreline itself raises is one of these."""


class SettingError(ScorelineError):
    """A setting is unknown, of the wrong type, or unsafe."""


class SchemaError(ScorelineError):
    """A schema contradicts itself, the reference rows or the model."""


class SealRefused(ScorelineError):
    """A model cannot be sealed as it is; the message gives the reason."""


class BundleError(ScorelineError):
    """A bundle is malformed, incomplete or of a format this version does not read."""


class SignatureRefused(BundleError):
    """No trusted, unrevoked key vouches for exactly these bytes."""


class SelfTestFailed(BundleError):
    """A loaded bundle does not repeat its golden margins on this machine."""


class NotFound(ScorelineError):
    """A model, version, bundle or file that is not there."""


class RegistryDown(ScorelineError):
    """A registry cannot be asked now: it is not reached, or does not answer as it should."""


class StoreDown(ScorelineError):
    """A feature store cannot be asked now: it is not reached, does not answer in time, or holds no features yet."""


class FeaturesMissing(StoreDown):
    """A row needs an indispensable feature while the store cannot be asked; try again after `retry_after_s` seconds."""

    def __init__(self, names: Sequence[str], retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"the feature store does not answer, and the model needs {', '.join(names)}: try again")


class FeaturesRefused(ScorelineError):
    """A file of features cannot be loaded, or joined, as it is."""


class InputError(ScorelineError):
    """What a caller sent cannot be scored."""


class Malformed(InputError):
    """The input is not JSON, or not of the expected shape."""


class WrongType(InputError):
    """The content type is not one this door takes."""


class TooLarge(InputError):
    """The input has more bytes or rows than allowed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field of one row: never the value itself."""

    row: int
    field: str
    problem: str


class RowsRefused(InputError):
    """Rows that break the schema, have no score, or are not what else they must be; `problems` lists all of them."""

    def __init__(self, problems: Sequence[Problem], what: str = "the model's schema") -> None:
        self.problems = tuple(problems)
        rows = len({problem.row for problem in self.problems})
        super().__init__(f"{rows} {'row breaks' if rows == 1 else 'rows break'} {what}; see `errors`")

    def to_json(self) -> list[dict[str, object]]:
        return [
            {"row": found.row, "field": found.field, "problem": found.problem} for found in self.problems[:MAX_PROBLEMS]
        ]


class QuoteRefused(InputError):
    """A quote token is not valid, no longer, or not for this; the message gives the reason and nothing of the token."""


class IdempotencyMismatch(InputError):
    """An idempotency key came again with another request than the one it was kept for."""


class QuoteLapsed(ScorelineError):
    """The version that a quote promises must not answer on this host now, and no other does in its place."""


class Denied(ScorelineError):
    """The caller is known, or anonymous by choice, and may not do this."""


class Unauthenticated(Denied):
    """The route needs a key and none, or an unknown one, was given."""


class RateLimited(ScorelineError):
    """The caller asks more often than it may: try again after `retry_after_s` seconds. `kind` is the limit's."""

    def __init__(self, message: str, retry_after_s: int, kind: str) -> None:
        self.retry_after_s = retry_after_s
        self.kind = kind
        super().__init__(message)


class IdempotencyBusy(ScorelineError):
    """A request with this idempotency key is being answered: try again after `retry_after_s` seconds."""

    retry_after_s = 1


class IdempotencyDown(ScorelineError):
    """Nobody can say now whether an idempotency key was used: try again after `retry_after_s` seconds."""

    retry_after_s = 1


class EngineFailed(ScorelineError):
    """An engine raised, or answered what is no margin per row."""


class RecordRefused(ScorelineError):
    """The decision could not be recorded, so it is not answered; try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Pressed(ScorelineError):
    """There is no time or room for a request now; try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class TooLate(Pressed):
    """A request cannot be answered by its deadline, so it is not scored."""


class Overloaded(Pressed):
    """As many clients as there are places for are here already."""


class DatabaseDown(ScorelineError):
    """The database of decisions cannot be asked now; what is recorded waits in the spool."""


class DatabaseRefused(ScorelineError):
    """The database cannot be used as it is: its schema, rights or encoding; or it refuses what it is given."""


class BatchRefused(ScorelineError):
    """A batch job cannot start or finish as asked."""


class ReplayRefused(ScorelineError):
    """A recorded decision cannot be computed again, or explained, as it stands or as its bundle stands."""


class ErasureRefused(ScorelineError):
    """What is recorded of an entity must not be erased now."""


class RolloutRefused(ScorelineError):
    """A rollout cannot do this now, or not with this version; the message says what can be done."""


class LedgerMoved(ScorelineError):
    """Someone else wrote the next entry of the ledger first: read it again, and decide again."""


class NotTold(ScorelineError):
    """A webhook did not take a notification, which is sent again; the message names neither it nor its secret."""


class IssuerDown(ScorelineError):
    """An issuer of tokens cannot be asked for its keys now; those known before count until they are too old."""
