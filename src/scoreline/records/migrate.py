"""Brings a database to the schema of this version, step by step, in the caller's transaction."""

from importlib.resources import as_file, files
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from scoreline.records.database import VERSION_TABLE

MIGRATIONS: Final = files("scoreline.records").joinpath("migrations")


def upgrade(connection: Connection, target: str = "head") -> None:
    """Runs the steps that are missing. No file of settings, and nobody's logging, takes part."""
    with as_file(MIGRATIONS) as folder:
        script = ScriptDirectory(folder, version_locations=[folder])

        def steps(revision: Any, _: Any) -> Any:
            return script._upgrade_revs(target, revision)

        with EnvironmentContext(Config(), script, fn=steps) as environment:
            environment.configure(connection=connection, version_table=VERSION_TABLE)
            environment.run_migrations()
