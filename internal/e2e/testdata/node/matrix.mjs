// Has real clients, each in each of its ways to connect, send messages to an
// echo server and compare what comes back. Usage: node matrix.mjs URL PATH
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const [url, path] = process.argv.slice(2);

const clients = { "1.8": 1, "3.5": 3, "4.1": 4, "5.2": 5, "6.6": 6 };
const ways = {
  "polling only": ["polling"],
  "WebSocket only": ["websocket"],
  "polling with upgrade": ["polling", "websocket"],
};
const texts = ["hello", "", "€", "😀 é", "x".repeat(5000), '{"a":[1,2]}', "line\nline", "ünïcödé ".repeat(50)];
const binaries = [Buffer.from([1, 2, 3, 4]), Buffer.alloc(0), Buffer.alloc(3000, 7)];

function connect(version, options) {
  const lib = require(`engine.io-client-${version}`);
  return typeof lib === "function" ? lib(url, options) : new lib.Socket(url, options);
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function run(version, transports) {
  const sent = [];
  for (let round = 0; round < 20; round++) {
    for (const t of texts) sent.push(t && t + round);
    for (const b of binaries) sent.push(b);
  }
  const got = [];
  let upgraded = false, closed = null, heartbeats = 0;
  const socket = connect(version, { path, transports });
  const failed = new Promise((_, no) => {
    socket.on("error", (e) => no(e));
    socket.on("close", (why) => { closed = why; no(new Error("closed: " + why)); });
  });
  failed.catch(() => {});
  socket.on("upgrade", () => { upgraded = true; });
  socket.on("packet", (p) => { if (p.type === "ping" || p.type === "pong") heartbeats++; });
  let all;
  const complete = new Promise((yes) => { all = yes; });
  socket.on("message", (m) => {
    got.push(m);
    if (got.length === sent.length) all();
  });
  const late = sleep(20000).then(() => { throw new Error(`late: ${got.length} of ${sent.length}`); });
  late.catch(() => {});
  await Promise.race([new Promise((yes) => socket.on("open", yes)), failed, late]);
  // Some before, some during and some after an upgrade.
  for (let i = 0; i < sent.length; i++) {
    socket.send(sent[i]);
    if (i % 10 === 9) await sleep(1);
  }
  await Promise.race([complete, failed, late]);
  for (let i = 0; i < sent.length; i++) {
    const want = sent[i];
    const ok = typeof want === "string" ? (got[i] ?? "") === want // clients give an empty text as undefined
      : Buffer.isBuffer(got[i]) && want.equals(got[i]);
    if (!ok) throw new Error(`message ${i} is ${JSON.stringify(got[i])}, want ${JSON.stringify(want)}`);
  }
  await Promise.race([sleep(700), failed]); // heartbeats keep it open
  if (got.length !== sent.length) throw new Error(`${got.length} messages, ${sent.length} were sent`);
  if (heartbeats < 2) throw new Error(`${heartbeats} heartbeats`);
  if (upgraded !== transports.length > 1) throw new Error(`upgraded: ${upgraded}`);
  if (closed) throw new Error("closed: " + closed);
  socket.removeAllListeners("close");
  socket.close();
}

await Promise.all(Object.entries(clients).flatMap(([name, version]) =>
  Object.entries(ways).map(async ([way, transports]) => {
    const result = { client: name, way };
    try {
      await run(version, transports);
    } catch (e) {
      result.error = String(e.message || e) + (e.description ? " " + e.description : "");
    }
    console.log(JSON.stringify(result));
  })));
process.exit(0);
