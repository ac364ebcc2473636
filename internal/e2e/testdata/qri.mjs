// A listener of QRI in Node: an EventSource (WHATWG HTML, section 9.2) over
// fetch, and on top of it what QRI's library does with the data. Prints a line
// of JSON for each event, and for each time that the stream was opened.
//
//   node qri.mjs URL
const url = process.argv[2];
let lastEventId = '', retry = 100;

const say = event => process.stdout.write(JSON.stringify(event) + '\n');

function dispatch(id, type, lines) {
  const data = lines.join('\n');
  const code = parseInt(data.slice(0, 3));
  const parsed = code >= 0 ? {code, msg: data.slice(3)} : {msg: data};
  say({id, kind: type, data, ...parsed});
}

async function listen() {
  const headers = {Accept: 'text/event-stream', 'Cache-Control': 'no-store'};
  if (lastEventId) headers['Last-Event-ID'] = lastEventId;
  const response = await fetch(url, {headers});
  if (response.status !== 200 || response.headers.get('content-type') !== 'text/event-stream') {
    say({kind: 'given up', data: String(response.status)});
    process.exit(0);
  }
  say({kind: 'open', data: response.headers.get('access-control-allow-origin')});
  const text = new TextDecoder();
  let rest = '', id = lastEventId, type = 'message', lines = [];
  for await (const bytes of response.body) {
    rest += text.decode(bytes, {stream: true});
    for (let end; (end = rest.search(/\r\n|\n|\r(?!$)/)) >= 0;) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + (rest.startsWith('\r\n', end) ? 2 : 1));
      const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
      if (line === '') {
        lastEventId = id;
        if (lines.length) dispatch(id, type, lines);
        type = 'message';
        lines = [];
      } else if (field === 'data') lines.push(value);
      else if (field === 'id') id = value;
      else if (field === 'event') type = value || 'message';
      else if (field === 'retry' && /^\d+$/.test(value)) retry = Math.min(+value, 500);
    }
  }
}

for (;;) {
  try {
    await listen();
  } catch {
    // the connection is gone; it comes back
  }
  await new Promise(done => setTimeout(done, retry));
}
