// Reads the mermaid charts of pages with mermaid's own parser: pages by path in, one JSON line a chart out. A flowchart
// comes with its nodes and edges. A chart that mermaid refuses ends it with the page, the chart and mermaid's words.

import { readFileSync } from "node:fs";
import { JSDOM } from "jsdom";

// mermaid asks for a browser when it is loaded; its parser needs no more than this
const { window } = new JSDOM("");
Object.assign(globalThis, { window, document: window.document });
const { default: mermaid } = await import("mermaid");
mermaid.initialize({ startOnLoad: false });

for (const page of process.argv.slice(2)) {
  const charts = [...readFileSync(page, "utf8").matchAll(/^```mermaid\n(.*?)^```$/gms)];
  for (const [index, [, text]] of charts.entries()) {
    try {
      const { diagramType } = await mermaid.parse(text);
      const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
      const flow = diagramType.startsWith("flowchart");
      const nodes = flow ? [...db.getVertices().values()].map(({ id, text, type }) => ({ id, text, type: type ?? "square" })) : [];
      const edges = flow ? db.getEdges().map(({ start, end, text }) => ({ start, end, text })) : [];
      console.log(JSON.stringify({ page, chart: index + 1, kind: diagramType, nodes, edges }));
    } catch (error) {
      console.error(`${page}, chart ${index + 1}: ${error.message}`);
      process.exit(1);
    }
  }
}
