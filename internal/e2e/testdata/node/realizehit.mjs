// Has real Engine.IO clients, each in each of its ways to connect, subscribe
// to a pattern, and publishes to it by POST and, given a Redis, with
// realizehit-publisher. Usage: node realizehit.mjs URL [REDIS]
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const Subscription = require("realizehit-subscription");
const patternToId = require("realizehit-pattern-to-id");
const [url, redis] = process.argv.slice(2);

const clients = { "1.8": 1, "3.5": 3, "4.1": 4, "5.2": 5, "6.6": 6 };
const ways = {
  "polling only": ["polling"],
  "WebSocket only": ["websocket"],
  "polling with upgrade": ["polling", "websocket"],
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const publisher = redis && new (require("realizehit-publisher"))(redis);

// id is what payloads of a pattern are marked with, by the packages of others.
const id = (pattern) => patternToId(new Subscription.Pattern(pattern).stringify());

async function post(pattern, payload) {
  const answer = await fetch(url + "/", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ pattern, payload }),
  });
  const text = await answer.text();
  if (answer.status !== 200 || text !== "Your payload has been queued for delivery") {
    throw new Error(`POST: ${answer.status} ${text}`);
  }
}

async function run(name, version, way, transports) {
  const lib = require(`engine.io-client-${version}`);
  const options = { path: "/ws", transports };
  const address = url.replace("http", "ws");
  const socket = typeof lib === "function" ? lib(address, options) : new lib.Socket(address, options);
  const pattern = { kind: "news" + Math.random().toString(36).slice(2), client: "c" + version, way: way.replace(/ /g, "") };
  const got = [], answers = [];
  let changed = () => {};
  let upgraded = false;
  socket.on("upgrade", () => { upgraded = true; });
  socket.on("message", (m) => {
    (m.startsWith("{") ? answers : got).push(m);
    changed();
  });
  const failed = new Promise((_, no) => {
    socket.on("error", no);
    socket.on("close", (why) => no(new Error("closed: " + why)));
  });
  failed.catch(() => {});
  const until = (cond, what) => Promise.race([
    failed,
    new Promise((yes) => { changed = () => cond() && yes(); changed(); }),
    sleep(20000).then(() => { throw new Error("late: " + what); }),
  ]);
  await Promise.race([failed, new Promise((yes) => socket.on("open", yes))]);
  socket.send(JSON.stringify({ id: "x1", act: "sub", pat: pattern }));
  socket.send(JSON.stringify({ action: "subscribe", pattern: { way: pattern.way } }));
  await until(() => answers.length === 2, "answers");
  if (answers[0] !== '{"id":"x1"}') throw new Error("answered " + answers[0]);
  const want = [];
  for (let i = 0; i < 30; i++) {
    const payload = { i, text: i % 2 ? "plain" : "ünï €😀" };
    if (redis && i % 3 === 0) await publisher.publish(pattern, payload);
    else await post(pattern, payload);
    want.push(`${id(pattern)}?${JSON.stringify(payload)}`);
    // What comes from Redis and what is posted are in the order in which the
    // log took them.
    if (redis && i % 3 !== 1) await until(() => got.length >= want.length, "payload " + i);
  }
  await until(() => got.length >= want.length, "payloads");
  // A client of protocol 3 may get text in polls in ASCII: it means the same.
  const plain = (m) => m.slice(0, 9) + JSON.stringify(JSON.parse(m.slice(9)));
  for (let i = 0; i < want.length; i++) {
    if (plain(got[i]) !== want[i]) throw new Error(`message ${i} is ${got[i]}, want ${want[i]}`);
    if (version >= 4 && got[i] !== want[i]) throw new Error(`message ${i} is written as ${got[i]}`);
  }
  socket.send(JSON.stringify({ id: "x2", act: "unsub", pat: pattern }));
  await until(() => answers.length === 3, "the last answer");
  await post(pattern, "nobody hears this");
  await sleep(100);
  if (got.length !== want.length) throw new Error(`${got.length} messages, want ${want.length}: ${got.at(-1)}`);
  if (upgraded !== transports.length > 1) throw new Error(`upgraded: ${upgraded}`);
  socket.removeAllListeners("close");
  socket.close();
}

await Promise.all(Object.entries(clients).flatMap(([name, version]) =>
  Object.entries(ways).map(async ([way, transports]) => {
    const result = { client: name, way };
    try {
      await run(name, version, way, transports);
    } catch (e) {
      result.error = String(e.message || e);
    }
    console.log(JSON.stringify(result));
  })));
process.exit(0);
