// The three framings. Each connects and calls `open()`, `answer(id, answer)`, `push(event,
// data)`, and once `gone(why)`; it returns `send` and `close`.

import http from 'k6/http';

// k6 1.1 has the module as experimental; newer versions have it under its final name.
function websockets() {
  try {
    return require('k6/websockets');
  } catch (_) {
    return require('k6/experimental/websockets');
  }
}
const { WebSocket } = websockets();

/** A WebSocket; `gone` gets its close code, if k6 has it, or its error. */
function socket(url, params, on, receive) {
  const ws = new WebSocket(url.replace(/^http/, 'ws'), null, params);
  let failed = null;
  ws.onmessage = ({ data }) => receive(data);
  ws.onerror = ({ error }) => { failed = failed || String(error); };
  ws.onclose = ({ code }) => on.gone(failed || `closed${code ? ` with ${code}` : ''}`);
  return {
    opened: (then) => { ws.onopen = then; },
    // A closing socket would throw on `send`; `gone` is called next.
    write: (text) => { if (ws.readyState === OPEN) ws.send(text); },
    close: () => ws.close(1000),
  };
}

const OPEN = 1;

/** Events that nobody here uses. They are not parsed, because that costs more than all other work of k6. */
const UNHEARD = /^(?:42\[|\{"event":)"(?:session:|presence|typing|message:(?:delivered|read|updated))/;

/** `/ws`: one JSON object per frame. */
export function native(base, token, on) {
  const params = { headers: { Authorization: `Bearer ${token}` }, tags: { name: 'GET /ws' } };
  const ws = socket(`${base}/ws`, params, on, (text) => {
    if (UNHEARD.test(text)) return;
    const frame = JSON.parse(text);
    if (frame.event === undefined) on.answer(frame.id, frame);
    else on.push(frame.event, frame.data);
  });
  ws.opened(() => on.open());
  return { send: (id, event, data) => ws.write(JSON.stringify({ id, event, data })), close: ws.close };
}

/** Socket.IO 4 in Engine.IO 4 packets, for either transport. */
function packets(token, send, on) {
  return (packet) => {
    const kind = packet.slice(0, 2);
    if (UNHEARD.test(packet)) return;
    if (packet[0] === '0') send(`40${JSON.stringify({ token })}`);
    else if (packet[0] === '2') send(`3${packet.slice(1)}`);
    else if (packet[0] === '1') on.gone('closed by the server');
    else if (kind === '40') on.open();
    else if (kind === '41') on.gone('disconnected by the server');
    else if (kind === '44') on.gone(`refused: ${JSON.parse(packet.slice(2)).message}`);
    else if (kind === '42' || kind === '43') {
      const [, id, json] = /^4[23](\d*)([^]*)$/.exec(packet);
      const content = JSON.parse(json);
      if (kind === '43') on.answer(Number(id), content[0]);
      else on.push(content[0], content[1]);
    }
  };
}

const event = (id, name, data) => `42${id}${JSON.stringify([name, data])}`;

/** Socket.IO over a WebSocket from the first packet on. */
export function socketio(base, token, on) {
  const params = { tags: { name: 'GET /socket.io/ websocket' } };
  const url = `${base}/socket.io/?EIO=4&transport=websocket`;
  const ws = socket(url, params, on, packets(token, (packet) => ws.write(packet), on));
  return { send: (id, name, data) => ws.write(event(id, name, data)), close: ws.close };
}

const BETWEEN = '\x1e';

/** Socket.IO over HTTP polling: one request waits for packets of the server, another sends ours. */
export function polling(base, token, on) {
  const params = { timeout: '90s', tags: { name: 'GET /socket.io/ poll', kind: 'poll' } };
  const posting = { ...params, tags: { name: 'POST /socket.io/ poll', kind: 'poll' } };
  let url = `${base}/socket.io/?EIO=4&transport=polling`;
  let waiting = [];
  let [under_way, over] = [false, false];
  const gone = (why) => {
    if (!over) on.gone(why);
    over = true;
  };
  const flush = async () => {
    if (under_way || waiting.length === 0) return;
    under_way = true;
    const body = waiting.join(BETWEEN);
    waiting = [];
    const answer = await http.asyncRequest('POST', url, body, posting);
    under_way = false;
    if (answer.status !== 200) gone(`a poll was answered with ${answer.status || answer.error}`);
    else flush();
  };
  const send = (packet) => {
    waiting.push(packet);
    flush();
  };
  const receive = packets(token, send, { ...on, gone });
  const poll = async () => {
    while (!over) {
      const answer = await http.asyncRequest('GET', url, null, params);
      if (over) return;
      if (answer.status !== 200) return gone(`a poll was answered with ${answer.status || answer.error}`);
      for (const packet of answer.body.split(BETWEEN)) {
        if (packet[0] === '0') url += `&sid=${JSON.parse(packet.slice(1)).sid}`;
        receive(packet);
      }
    }
  };
  poll();
  return {
    send: (id, name, data) => send(event(id, name, data)),
    // The waiting poll is answered then.
    close: () => { send('1'); gone('closed'); },
  };
}

/** Framings by name. */
export const FRAMINGS = { native, socketio, polling };

/** Framing of a pair: the one of the settings, or each in turn. */
export function framingOf(set, number) {
  return set === 'all' ? Object.keys(FRAMINGS)[number % 3] : set;
}
