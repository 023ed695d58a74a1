"""Who has decided, by the numbers the database gives them. They grow with every step of a rollout: ask by model."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, case, or_, select

from scoreline.core.decision import Author
from scoreline.records.rows import author_of
from scoreline.records.tables import AUTHORS


def authors_of(connection: Connection, model: str = "", digest: str = "") -> Mapping[int, Author]:
    """Authors by their numbers, as they first came: those of a model, or of one bundle, or where both are empty all."""
    wanted = select(AUTHORS.c.id, AUTHORS.c.json).order_by(AUTHORS.c.id)
    if model:
        wanted = wanted.where(or_(AUTHORS.c.model == model, AUTHORS.c.model.is_(None)))
    if digest:
        wanted = wanted.where(AUTHORS.c.json.contains(f'"digest":"{digest}"', autoescape=True))
    found = ((number, author_of(json)) for number, json in connection.execute(wanted))
    return {
        number: author
        for number, author in found
        if (not model or author.model == model) and (not digest or author.digest == digest)
    }


def numbers_by_model(connection: Connection, model: str = "") -> Mapping[str, list[int]]:
    """The numbers of authors by their models; of one model, where it is named."""
    untold = case((AUTHORS.c.model.is_(None), AUTHORS.c.json))  # no JSON is read but where a steward of before wrote it
    wanted = select(AUTHORS.c.id, AUTHORS.c.model, untold.label("json")).order_by(AUTHORS.c.id)
    if model:
        wanted = wanted.where(or_(AUTHORS.c.model == model, AUTHORS.c.model.is_(None)))
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in connection.execute(wanted):
        numbers[row.model or author_of(row.json).model].append(row.id)
    return numbers
