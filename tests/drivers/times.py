"""Sends times of every kind through the Python drivers; prints what each is answered, as JSON."""

import asyncio
import json
import os
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import urlsplit

import asyncpg
import pg8000.dbapi
import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

URL = os.environ["DATABASE_URL"]
ZONED = datetime(2024, 9, 18, 11, 30, tzinfo=timezone(timedelta(hours=2)))
TIMES = {
    "zoned": ZONED,
    "naive": datetime(2024, 9, 18, 9, 30),
    "date": date(2024, 9, 18),
    "text": "2024-09-18T09:30:00Z",
}
CALL = """select postmeter.record_usage(source => 'driver', event_id => {0}, org => 'acme', product => 'db',
          metric => 'cores', quantity => {1}, used_at => {2})"""


def with_psycopg():
    with psycopg.connect(URL, autocommit=True) as db:
        for name, time in TIMES.items():
            try:
                db.execute(CALL.format("%s", "%s", "%s"), ("psycopg " + name, Decimal("1.5"), time))
                yield name, "recorded"
            except psycopg.Error as error:
                yield name, error.sqlstate


def with_sqlalchemy():
    engine = create_engine(URL.replace("postgresql://", "postgresql+psycopg://", 1))
    for name, time in TIMES.items():
        sent = {"id": "sqlalchemy " + name, "quantity": Decimal("1.5"), "time": time}
        try:
            with engine.begin() as db:
                db.execute(text(CALL.format(":id", ":quantity", ":time")), sent)
            yield name, "recorded"
        except DBAPIError as error:
            yield name, error.orig.sqlstate


def with_pg8000():
    place = urlsplit(URL)
    db = pg8000.dbapi.connect(place.username, place.hostname, place.path.lstrip("/"), place.port, place.password)
    for name, time in TIMES.items():
        try:
            db.cursor().execute(CALL.format("%s", "%s", "%s"), ("pg8000 " + name, Decimal("1.5"), time))
            db.commit()
            yield name, "recorded"
        except pg8000.dbapi.DatabaseError as error:
            db.rollback()
            yield name, error.args[0]["C"]
    db.close()


async def with_asyncpg():
    db = await asyncpg.connect(URL)
    said = []
    for name, time in TIMES.items():
        try:
            await db.execute(CALL.format("$1", "$2", "$3"), "asyncpg " + name, Decimal("1.5"), time)
            said.append((name, "recorded"))
        except asyncpg.PostgresError as error:
            said.append((name, error.sqlstate))
    await db.close()
    return said


print(json.dumps({
    "psycopg": dict(with_psycopg()),
    "sqlalchemy": dict(with_sqlalchemy()),
    "pg8000": dict(with_pg8000()),
    "asyncpg": dict(asyncio.run(with_asyncpg())),
}))
