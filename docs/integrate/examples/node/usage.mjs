// A shop that sells compute hours and records their usage with node-postgres, in its own transactions.

import pg from "pg";

const RECORD = `
    select postmeter.record_usage(
        source => 'shop', event_id => $1, org => $2, product => 'compute', metric => 'hours',
        quantity => $3::numeric, used_at => $4, request_id => $5, traceparent => $6, corrects => $7) as id`;

const values = (job) =>
  [job.eventId, job.org, job.quantity, job.usedAt, job.requestId, job.traceparent, job.corrects];

async function transaction(db, work) {
  await db.query("begin");
  try {
    const result = await work();
    await db.query("commit");
    return result;
  } catch (error) {
    await db.query("rollback");
    throw error;
  }
}

// Our own row and its usage: both are there after the commit, or neither.
async function finishJob(db, job) {
  return transaction(db, async () => {
    await db.query("insert into job (id, org) values ($1, $2)", [job.eventId, job.org]);
    return (await db.query(RECORD, values(job))).rows[0].id;
  });
}

// The same event id with another content is a defect of ours. Keep our row, flag it, go on.
async function recordOrFlag(db, job) {
  return transaction(db, async () => {
    await db.query("insert into job (id, org) values ($1, $2)", [job.requestId, job.org]);
    await db.query("savepoint usage");
    try {
      return (await db.query(RECORD, values(job))).rows[0].id;
    } catch (error) {
      if (error.code !== "PM002") throw error;
      await db.query("rollback to savepoint usage");
      await db.query("update job set flaw = $1 where id = $2", [error.message, job.requestId]);
      return null;
    }
  });
}

// Many usages in one round trip. What is refused does not stop the rest: look at the verdicts.
async function recordMany(db, usages) {
  const batch = "select item, verdict, error_code, field from postmeter.record_usage_batch($1::jsonb) order by item";
  return transaction(db, async () => (await db.query(batch, [JSON.stringify(usages)])).rows);
}

// Less than was recorded: a usage of its own below zero, in the hour of the one that it corrects.
async function refund(db, job, quantity) {
  const correction = { eventId: `${job.eventId}-refund`, corrects: job.eventId, quantity: `-${quantity}` };
  const { org, usedAt } = job;
  return transaction(db, async () => (await db.query(RECORD, values({ ...correction, org, usedAt }))).rows[0].id);
}

// Whole columns in one INSERT, for back-filling. COPY is faster still, and takes the package pg-copy-streams.
// One refused row refuses all; run again, it changes nothing.
async function insertMany(db, usages) {
  const insert = `
    insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
    select 'shop', event_id, 'acme', 'compute', 'hours', quantity, used_at
    from unnest($1::text[], $2::numeric[], $3::timestamptz[]) as usage (event_id, quantity, used_at)`;
  const column = (name) => usages.map((usage) => usage[name]);
  return transaction(db, () => db.query(insert, [column("eventId"), column("quantity"), column("usedAt")]));
}

const db = new pg.Client({ connectionString: process.env.DATABASE_URL });
await db.connect();
try {
  await db.query("create table if not exists job (id text primary key, org text not null, flaw text)");
  const now = new Date();
  // quantities are text: a JavaScript number is binary and would bring digits that nobody used
  const job = { eventId: "js-1", org: "acme", quantity: "0.25", usedAt: now, requestId: "req-1",
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };
  const first = await finishJob(db, job);
  const again = (await db.query(RECORD, values({ ...job, quantity: "0.250" }))).rows[0].id;
  const flagged = await recordOrFlag(db, { ...job, quantity: "9", requestId: "req-2" });
  const usage = { source: "shop", org: "acme", product: "compute", metric: "hours", used_at: now };
  const verdicts = await recordMany(db, [
    { ...usage, event_id: "js-2", quantity: "1.5" },
    { ...usage, event_id: "js-1", quantity: "0.25" },
    { ...usage, event_id: "js-3", quantity: "a lot" },
  ]);
  await refund(db, job, "0.05");
  for (let time = 0; time < 2; time++) { // the second time changes nothing
    await insertMany(db, [
      { eventId: "js-4", quantity: "2", usedAt: now },
      { eventId: "js-5", quantity: "3", usedAt: now },
    ]);
  }
  console.log(JSON.stringify({ same_id_again: first === again, flagged: flagged === null, verdicts }));
} finally {
  await db.end();
}
