// graphile-worker, local queue of 500, 64 jobs at a time: node graphile.mjs DATABASE_URL PORT JOBS BATCH_DELAY.
// BATCH_DELAY is completeJobBatchDelay: -1, its default, completes every job by itself; 0 completes those that ended
// together in one statement. Prints "ready" when the jobs are written, then "rate <jobs a second>", counted from the
// first POST to an empty queue.

import http from "node:http";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const [url, port, jobs, batchDelay] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const CONCURRENCY = 64;
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});
const agent = new http.Agent({ keepAlive: true, maxSockets: CONCURRENCY });
const pool = new pg.Pool({ connectionString: url, max: CONCURRENCY });

function post(body) {
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": "AWSMPMeteringService.BatchMeterUsage",
      "content-length": Buffer.byteLength(body),
    };
    const request = http.request({ host: "127.0.0.1", port, method: "POST", agent, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode, answer: JSON.parse(text) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

let started;
let ended;
let done = 0;
const finished = new Promise((resolve) => {
  ended = resolve;
});

async function report(payload, helpers) {
  started ??= performance.now();
  const { status, answer } = await post(payload.body);
  const result = answer.Results[0];
  await helpers.query("insert into attempts (account, status, verdict, receipt) values ($1, $2, $3, $4)", [
    payload.account, status, result.Status, result.MeteringRecordId,
  ]);
  done += 1;
  if (done === jobs) ended();
}

const utils = await makeWorkerUtils({ pgPool: pool, logger });
await utils.migrate();
await pool.query(`create table attempts (
  id bigint generated always as identity primary key, account text not null, status integer not null,
  verdict text not null, receipt text, made_at timestamptz not null default clock_timestamp())`);
await pool.query(
  `select graphile_worker.add_job('report', json_build_object('account', lpad(n::text, 12, '0'), 'body', format(
     '{"ProductCode":"prod9","UsageRecords":[{"Timestamp":1726696800,"CustomerAWSAccountId":"%s",'
     '"Dimension":"cores","Quantity":7}]}',
     lpad(n::text, 12, '0')))) from generate_series(1, $1::integer) n`,
  [jobs],
);
await pool.query("vacuum analyze graphile_worker._private_jobs");
await pool.query("checkpoint");
console.log("ready");
const runner = await run({
  pgPool: pool,
  logger,
  noHandleSignals: true,
  concurrency: CONCURRENCY,
  pollInterval: 1000,
  taskList: { report },
  preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: batchDelay, failJobBatchDelay: batchDelay } },
});
await finished;
for (;;) {
  const { rows } = await pool.query("select count(*)::integer as left from graphile_worker._private_jobs");
  if (rows[0].left === 0) break;
  await new Promise((resolve) => setTimeout(resolve, 5));
}
console.log(`rate ${(jobs / (performance.now() - started)) * 1000}`);
await runner.stop();
await utils.release();
await pool.end();
agent.destroy();
process.exit(0);
