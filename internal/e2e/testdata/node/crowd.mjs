// Has many clients at once, half of them beginning on polling, listen while
// they upgrade, and checks that each gets every message once and in order.
// Usage: node crowd.mjs URL CLIENTS MESSAGES
import { createRequire } from "node:module";
import http from "node:http";

const require = createRequire(import.meta.url);
const { Socket } = require("engine.io-client-6");
const [url, clients, messages] = [process.argv[2], +process.argv[3], +process.argv[4]];
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

let sent = 0; // messages that were acknowledged
async function publish() {
  const answer = await fetch(url + "/", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ pattern: { crowd: "all" }, payload: sent }),
  });
  if (answer.status !== 200) throw new Error("POST: " + answer.status + await answer.text());
  await answer.text();
  sent++;
}

const ends = [];
function listen(i) {
  const transports = i % 2 === 0 ? ["websocket"] : i % 10 === 1 ? ["polling"] : ["polling", "websocket"];
  return new Promise((open, fail) => {
    const state = { i, transports, got: 0, upgraded: false };
    const socket = new Socket(url.replace("http", "ws"), { path: "/ws", transports, agent });
    socket.on("upgrade", () => { state.upgraded = true; });
    socket.on("error", (e) => fail(new Error(`client ${i}: ${e.message} ${e.description}`)));
    socket.on("close", (why) => { if (state.got < messages) fail(new Error(`client ${i}: closed: ${why}`)); });
    let done;
    ends.push(new Promise((yes) => { done = yes; }).then(() => state));
    socket.on("open", () => socket.send(`{"id":${i},"act":"sub","pat":{"crowd":"all"}}`));
    socket.on("message", (m) => {
      if (m.startsWith("{")) {
        if (m !== `{"id":${i}}`) fail(new Error(`client ${i}: ${m}`));
        state.from = sent; // at least what is published from now on has to come
        open();
        return;
      }
      const n = +m.split("?")[1];
      if (state.got === 0) {
        if (n > state.from) fail(new Error(`client ${i}: begins with ${n}, was there at ${state.from}`));
      } else if (n !== state.next) {
        fail(new Error(`client ${i} (${transports}): ${n} after ${state.next - 1}`));
      }
      state.next = n + 1;
      state.got++;
      if (state.next === messages) done();
    });
  });
}

process.on("unhandledRejection", (e) => { console.log(JSON.stringify({ error: e.message })); process.exit(0); });
const opening = Promise.all(Array.from({ length: clients }, (_, i) => listen(i)));
let open = false;
opening.then(() => { open = true; });
// While they connect and upgrade, and then some more.
while (!open) {
  if (sent < messages - 20) await publish();
  await sleep(20);
}
while (sent < messages) {
  await publish();
  await sleep(20);
}
const late = sleep(60000).then(() => { throw new Error("not everybody has everything"); });
const states = await Promise.race([Promise.all(ends), late]);
console.log(JSON.stringify({
  clients: states.length,
  upgraded: states.filter((s) => s.upgraded).length,
  during: states.filter((s) => s.got > 20).length,
}));
process.exit(0);
