"""A shop that sells compute hours and records their usage with psycopg 3, in its own transactions."""

import json
import os
from datetime import datetime, timezone
from decimal import Decimal

import psycopg

RECORD = """
    select postmeter.record_usage(
        source => 'shop', event_id => %(event_id)s, org => %(org)s, product => 'compute', metric => 'hours',
        quantity => %(quantity)s, used_at => %(used_at)s, request_id => %(request_id)s,
        traceparent => %(traceparent)s)
"""


def finish_job(db, job):
    """Our own row and its usage: both are there after the commit, or neither."""
    with db.transaction():
        db.execute("insert into job (id, org) values (%(event_id)s, %(org)s)", job)
        return db.execute(RECORD, job).fetchone()[0]


def record_or_flag(db, job):
    """The same event id with another content is a defect of ours. Keep our row, flag it, go on."""
    with db.transaction():
        db.execute("insert into job (id, org) values (%(request_id)s, %(org)s)", job)
        try:
            with db.transaction():  # inside another one this is a savepoint
                return db.execute(RECORD, job).fetchone()[0]
        except psycopg.Error as error:
            if error.sqlstate != "PM002":
                raise
            db.execute("update job set flaw = %s where id = %s", (error.diag.message_primary, job["request_id"]))
            return None


def record_many(db, usages):
    """Many usages in one round trip. What is refused does not stop the rest: look at the verdicts."""
    with db.transaction():
        rows = db.execute(
            "select item, verdict, error_code, field from postmeter.record_usage_batch(%s::jsonb) order by item",
            [json.dumps(usages, default=str)],  # Decimal and datetime as text: nothing is lost on the way
        ).fetchall()
    return [dict(zip(("item", "verdict", "error_code", "field"), row)) for row in rows]


def refund(db, job, quantity):
    """Less than was recorded: a usage of its own below zero, in the hour of the one that it corrects."""
    with db.transaction():
        db.execute(
            """
            select postmeter.record_usage(
                source => 'shop', event_id => %(event_id)s || '-refund', corrects => %(event_id)s, org => %(org)s,
                product => 'compute', metric => 'hours', quantity => %(refunded)s, used_at => %(used_at)s)
            """,
            job | {"refunded": -quantity},
        )


def copy(db, usages):
    """The fastest way in, for back-filling. One refused row refuses all; run again, it changes nothing."""
    columns = "source, event_id, org, product, metric, quantity, used_at"
    with db.transaction(), db.cursor().copy(f"copy postmeter.outbox ({columns}) from stdin") as rows:
        for event_id, quantity, used_at in usages:
            rows.write_row(("shop", event_id, "acme", "compute", "hours", quantity, used_at))


def main():
    # autocommit: transactions are where transaction() says, and nowhere else
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as db:
        db.execute("create table if not exists job (id text primary key, org text not null, flaw text)")
        now = datetime.now(timezone.utc)
        job = {"event_id": "py-1", "org": "acme", "quantity": Decimal("0.25"), "used_at": now, "request_id": "req-1",
               "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        first = finish_job(db, job)
        again = db.execute(RECORD, job | {"quantity": Decimal("0.250")}).fetchone()[0]
        flagged = record_or_flag(db, job | {"quantity": Decimal("9"), "request_id": "req-2"})
        usage = {"source": "shop", "org": "acme", "product": "compute", "metric": "hours", "used_at": now}
        verdicts = record_many(db, [
            usage | {"event_id": "py-2", "quantity": Decimal("1.5")},
            usage | {"event_id": "py-1", "quantity": Decimal("0.25")},
            usage | {"event_id": "py-3", "quantity": "a lot"},
        ])
        refund(db, job, Decimal("0.05"))
        for _ in range(2):  # the second time changes nothing
            copy(db, [("py-4", Decimal(2), now), ("py-5", Decimal(3), now)])
        print(json.dumps({"same_id_again": first == again, "flagged": flagged is None, "verdicts": verdicts}))


if __name__ == "__main__":
    main()
