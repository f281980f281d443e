// Records, lists, explains and decides with openapi-fetch and the types that openapi-typescript makes of the document.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const env = process.env as { POSTMETER_URL: string; POSTMETER_TOKEN: string; POSTMETER_USED_AT: string };
const client = createClient<paths>({
  baseUrl: env.POSTMETER_URL,
  headers: { authorization: `Bearer ${env.POSTMETER_TOKEN}` },
});

function check(holds: boolean | undefined, what: unknown): void {
  if (!holds) throw new Error(JSON.stringify(what));
}

const usage = (event_id: string, quantity: string) => ({
  source: "fetch", event_id, org: "acme", product: "db", metric: "cores", quantity, used_at: env.POSTMETER_USED_AT,
  attributes: { region: "eu-west-1" },
});
const one = await client.POST("/v1/usage", { body: usage("1", "12.5") });
check(one.data?.verdict === "recorded", one);
const many = await client.POST("/v1/usage/batch", { body: [usage("2", "1"), usage("3", "oops")] });
check(many.data?.recorded === 1 && many.data.items[1]?.field === "quantity", many);
const refused = await client.POST("/v1/usage", { body: usage("1", "13") });
check(refused.error?.code === "PM002", refused);
const listed = await client.GET("/v1/usage", { params: { query: { source: ["fetch"], limit: 10 } } });
check(listed.data?.items.length === 2, listed);
const path = { source: "fetch", event_id: "1" };
const told = await client.GET("/v1/usage/{source}/{event_id}/explanation", { params: { path } });
check((told.data?.in_short.length ?? 0) > 0, told);
const remittances = await client.GET("/v1/remittances", { params: { query: { status: ["held", "due"] } } });
check(Array.isArray(remittances.data?.items), remittances);
const decided = await client.POST("/v1/corrections/retry", { body: { filter: { org: "acme" }, reason: "a test" } });
check(decided.data !== undefined || decided.error.status === 422, decided);
console.log("done");
