"""A shop that sells compute hours and records their usage with SQLAlchemy's ORM, in its own transactions."""

import json
import os
from datetime import datetime, timezone
from decimal import Decimal

from sqlalchemy import DateTime, Numeric, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Job(Base):
    """Our own table."""

    __tablename__ = "job"
    id: Mapped[str] = mapped_column(primary_key=True)
    org: Mapped[str]
    flaw: Mapped[str | None]


class Usage(Base):
    """The outbox, which we may write and not read. Its identity is the key, so that nothing need be returned."""

    __tablename__ = "outbox"
    __table_args__ = {"schema": "postmeter"}
    source: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    org: Mapped[str]
    product: Mapped[str]
    metric: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(Numeric)
    used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    corrects: Mapped[str | None]
    request_id: Mapped[str | None]
    traceparent: Mapped[str | None]


METER = {"source": "shop", "org": "acme", "product": "compute", "metric": "hours"}


def finish_job(engine, usage):
    """Our own row and its usage: both are there after the commit, or neither."""
    with Session(engine) as session, session.begin():
        session.add(Job(id=usage["event_id"], org="acme"))
        session.add(Usage(**METER, **usage))


def usage_id(engine, usage):
    """The function instead of the row, for who wants the usage's id. Repeated, it answers with the first one."""
    call = text("""
        select postmeter.record_usage(
            source => :source, event_id => :event_id, org => :org, product => :product, metric => :metric,
            quantity => :quantity, used_at => :used_at)
    """)
    sent = {name: usage[name] for name in ("event_id", "quantity", "used_at")}
    with Session(engine) as session, session.begin():
        return session.scalar(call, METER | sent)


def record_or_flag(engine, job_id, usage):
    """The same event id with another content is a defect of ours. Keep our row, flag it, go on."""
    with Session(engine) as session, session.begin():
        job = Job(id=job_id, org="acme")
        session.add(job)
        try:
            with session.begin_nested():  # a savepoint; what was added is flushed at its end
                session.add(Usage(**METER, **usage))
        except DBAPIError as error:
            if error.orig.sqlstate != "PM002":
                raise
            job.flaw = error.orig.diag.message_primary
            return False
        return True


def record_many(engine, usages):
    """Many usages in one round trip. What is refused does not stop the rest: look at the verdicts."""
    call = text("""
        select item, verdict, error_code, field
        from postmeter.record_usage_batch(cast(:usages as jsonb)) order by item
    """)
    with Session(engine) as session, session.begin():
        return [dict(row) for row in session.execute(call, {"usages": json.dumps(usages, default=str)}).mappings()]


def refund(engine, corrected, quantity):
    """Less than was recorded: a usage of its own below zero, in the hour of the one that it corrects."""
    event_id = corrected["event_id"]
    with Session(engine) as session, session.begin():
        session.add(Usage(**METER, event_id=f"{event_id}-refund", corrects=event_id, quantity=-quantity,
                          used_at=corrected["used_at"]))


def copy(engine, usages):
    """The fastest way in, for back-filling. One refused row refuses all; run again, it changes nothing."""
    with Session(engine) as session, session.begin():
        driver = session.connection().connection.driver_connection  # psycopg's, in the session's transaction
        with driver.cursor().copy(
            "copy postmeter.outbox (source, event_id, org, product, metric, quantity, used_at) from stdin"
        ) as rows:
            for event_id, quantity, used_at in usages:
                rows.write_row(("shop", event_id, "acme", "compute", "hours", quantity, used_at))


def main():
    engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1))
    Base.metadata.create_all(engine, tables=[Job.__table__])  # the outbox is not ours to make
    now = datetime.now(timezone.utc)
    usage = {"event_id": "orm-1", "quantity": Decimal("0.25"), "used_at": now, "request_id": "req-1",
             "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    finish_job(engine, usage)
    first = usage_id(engine, usage)
    again = usage_id(engine, usage | {"quantity": Decimal("0.250")})
    recorded = record_or_flag(engine, "req-2", usage | {"quantity": Decimal("9")})
    batch = METER | {"used_at": now}
    verdicts = record_many(engine, [
        batch | {"event_id": "orm-2", "quantity": Decimal("1.5")},
        batch | {"event_id": "orm-1", "quantity": Decimal("0.25")},
        batch | {"event_id": "orm-3", "quantity": "a lot"},
    ])
    refund(engine, usage, Decimal("0.05"))
    for _ in range(2):  # the second time changes nothing
        copy(engine, [("orm-4", Decimal(2), now), ("orm-5", Decimal(3), now)])
    print(json.dumps({"same_id_again": first == again, "flagged": not recorded, "verdicts": verdicts}))


if __name__ == "__main__":
    main()
