"""How commands speak: results on standard output, errors on standard error, exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from scoreline.core.errors import ScorelineError


@contextmanager
def errors_as_exit() -> Iterator[None]:
    """An expected error becomes one line and exit code 1; anything else is a bug and keeps its trace."""
    try:
        yield
    except ScorelineError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:  # a path that cannot be read or written, a full disk
        typer.echo(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None


def say(text: str) -> None:
    typer.echo(text)


def tell(text: str) -> None:
    """What is no result: progress, and what is wrong with rows."""
    typer.echo(text, err=True)
