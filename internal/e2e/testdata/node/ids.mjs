// Prints the canonical form and the id of patterns, one in each line of JSON
// on standard input, as the packages of others make them.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const Subscription = require("realizehit-subscription");
const patternToId = require("realizehit-pattern-to-id");

for await (const line of createInterface({ input: process.stdin })) {
  const canonical = new Subscription.Pattern(JSON.parse(line)).stringify();
  console.log(JSON.stringify({ canonical, id: patternToId(canonical), subscription: new Subscription(JSON.parse(line)).id }));
}
