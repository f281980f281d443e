// Sends times of every kind through node-postgres; prints what each is answered, as JSON.

import pg from "pg";

const CALL = `select postmeter.record_usage(source => 'driver', event_id => $1, org => 'acme', product => 'db',
              metric => 'cores', quantity => $2, used_at => $3)`;
const times = {
  zoned: [CALL, new Date("2024-09-18T09:30:00Z")],
  text: [CALL, "2024-09-18T09:30:00Z"],
  "text without a zone": [CALL, "2024-09-18T09:30:00"],
  "cast to timestamp": [CALL.replace("$3", "$3::timestamp"), "2024-09-18T09:30:00"],
};

const db = new pg.Client({ connectionString: process.env.DATABASE_URL });
await db.connect();
const said = {};
for (const [name, [call, time]] of Object.entries(times)) {
  try {
    await db.query(call, [`node ${name}`, "1.5", time]);
    said[name] = "recorded";
  } catch (error) {
    said[name] = error.code;
  }
}
await db.end();
console.log(JSON.stringify({ node: said }));
