// What a page of a user of ours does, and what it got. Loaded into pages by
// the tests, which look at got and life.

// Messages, in the order in which they came.
const got = [];
// What became of connections: opened, closed with a code, given up.
const life = [];

// hear listens by EventSource, which comes back by itself.
function hear(url, ...types) {
  const source = new EventSource(url);
  source.onopen = () => life.push('open');
  source.onerror = () => life.push(source.readyState === EventSource.CLOSED ? 'given up' : 'broken');
  for (const type of ['message', 'crier-binary', 'crier-gap', 'crier-expired', ...types]) {
    source.addEventListener(type, e => got.push({kind: type, id: e.lastEventId, data: e.data}));
  }
}

// socket opens a WebSocket, and another one 50 ms after it was closed.
// address is asked anew each time.
function socket(address, protocols, opened, received) {
  const ws = new WebSocket(address(), protocols);
  ws.binaryType = 'arraybuffer';
  ws.onopen = () => { life.push('open'); opened(ws); };
  ws.onmessage = e => received(e.data);
  ws.onclose = e => {
    life.push('closed ' + e.code);
    setTimeout(() => socket(address, protocols, opened, received), 50);
  };
}

// frames takes what comes as it is, and does not resume.
function frames(url) {
  socket(() => url, [], () => {}, data => {
    const binary = data instanceof ArrayBuffer;
    got.push({kind: binary ? 'binary' : 'text', data: binary ? Array.from(new Uint8Array(data)).join(' ') : data});
  });
}

// envelopes takes an envelope a frame, and resumes after the last.
function envelopes(url) {
  let cursor = 'latest';
  socket(() => url + '?envelope=json&since=' + cursor, [], () => {}, data => take(JSON.parse(data)));
  const take = m => {
    cursor = m.id;
    got.push({kind: m.encoding || 'text', id: m.id, data: m.data});
  };
}

// session speaks crier.v1.json, and resumes with the cursor that it is told.
function session(url, ...topics) {
  let cursor = 'latest';
  const subscribe = ws => ws.send(JSON.stringify({type: 'subscribe', ref: 'a', topics, since: cursor}));
  socket(() => url, ['crier.v1.json'], subscribe, text => {
    const frame = JSON.parse(text);
    if (frame.cursor) cursor = frame.cursor;
    if (frame.type === 'subscribed') life.push('subscribed');
    if (frame.type === 'gap') got.push({kind: 'gap', data: frame.gap.reason});
    if (frame.type === 'message') {
      cursor = frame.message.id;
      got.push({kind: frame.message.encoding || 'text', id: frame.message.id, data: frame.message.data});
    }
  });
}

// ask is one fetch: its status, a header and as much of the body as comes
// first. A fetch that the browser does not let through is 'refused'.
async function ask(url, options, header) {
  const abort = new AbortController();
  try {
    const response = await fetch(url, {...options, signal: abort.signal});
    const first = await response.body.getReader().read();
    return [String(response.status), response.headers.get(header) || '', new TextDecoder().decode(first.value)];
  } catch (e) {
    return ['refused', e.name, ''];
  } finally {
    abort.abort();
  }
}

// engineIO connects with engine.io-client, which the page has to have, and
// sends a text.
function engineIO(url, transports, text) {
  const socket = eio(url.replace('http', 'ws'), {path: '/ws', transports});
  socket.on('open', () => { life.push('open'); socket.send(text); });
  socket.on('upgrade', () => life.push('upgraded'));
  socket.on('close', why => life.push('closed ' + why));
  socket.on('error', e => life.push('error ' + e));
  socket.on('message', data => got.push({kind: 'engine.io', id: '', data}));
}
