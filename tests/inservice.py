"""A running service's database, opened beside it."""

from scoreline.records.database import Database, open_database
from service import Service


def database_of(service: Service) -> Database:
    database = open_database(service.database, service.state_dir / "scoreline.db")
    database.prepare()
    return database
