// Records, lists, explains and decides with the client that @hey-api/openapi-ts makes of the document.
import { client } from "./hey/client.gen.js";
import { explainUsage, listUsage, recordEvent, recordUsage, recordUsages, retry } from "./hey/sdk.gen.js";

const env = process.env as { POSTMETER_URL: string; POSTMETER_TOKEN: string; POSTMETER_USED_AT: string };
client.setConfig({ baseUrl: env.POSTMETER_URL, auth: () => env.POSTMETER_TOKEN });

function check(holds: boolean | undefined, what: unknown): void {
  if (!holds) throw new Error(JSON.stringify(what));
}

const usage = (event_id: string, quantity: string) => ({
  source: "hey", event_id, org: "acme", product: "db", metric: "cores", quantity, used_at: env.POSTMETER_USED_AT,
  attributes: { region: "eu-west-1" },
});
const one = await recordUsage({ body: usage("1", "12.5") });
check(one.data?.verdict === "recorded", one);
const many = await recordUsages({ body: [usage("2", "1"), usage("3", "oops")] });
check(many.data?.recorded === 1 && many.data.refused === 1, many);
const { source, event_id: id, used_at: time, ...data } = usage("4", "1");
const event = await recordEvent({ body: { specversion: "1.0", type: "postmeter.usage.v1", source, id, time, data } });
check(event.data?.verdict === "recorded", event);
const refused = await recordUsage({ body: usage("1", "13") });
check(refused.error?.code === "PM002", refused);
const listed = await listUsage({ query: { source: ["hey"] } });
check(listed.data?.items.length === 3, listed);
const told = await explainUsage({ path: { source: "hey", event_id: "1" } });
check((told.data?.in_short.length ?? 0) > 0, told);
const decided = await retry({ body: { filter: { org: "acme" }, reason: "a test" } });
check(decided.data !== undefined || decided.error?.status === 422, decided);
console.log("done");
