// Connection state recovery in the stock client: `node recovery.mjs '<json>'` with
// {urls: [one node's, another's], transports?, patient, dentist, session}.
// Prints "restart" when the nodes must be killed and started again, and then waits for a
// line.

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';
import { lines, once, options, story, within } from './telling.mjs';

const { urls, patient, dentist, session } = story;

const connect = (url, token) => {
  const socket = io(url, { ...options, auth: { token } });
  const seen = [];
  socket.on('message:new', (...args) => {
    assert.equal(args.length, 1, 'no argument more than the contract has');
    seen.push(args[0].message.seq);
  });
  return { socket, seen };
};
const send = async ({ socket, seen }, clientId) => {
  const sending = { sessionId: session, clientId, kind: 'text', body: clientId };
  const sent = await within(socket.emitWithAck('message:send', sending), clientId);
  assert.equal(sent.ok, true);
  seen.push(sent.message.seq);
};
const has = async ({ seen }, count) => {
  for (let n = 0; n < 1_000 && seen.length < count; n++) await new Promise((tick) => setTimeout(tick, 20));
  assert.deepEqual([...seen].sort((a, b) => a - b), Array.from({ length: count }, (_, n) => n + 1));
};
// Disconnects from one node, and reconnects to the other.
const away = async ({ socket }, meanwhile) => {
  socket.io.reconnection(false);
  socket.io.engine.close();
  await meanwhile();
  [urls[0], urls[1]] = [urls[1], urls[0]];
  socket.io.uri = urls[0];
  socket.io.reconnection(true);
  const connected = once(socket, 'connect');
  socket.connect();
  await connected;
};

const [ada, dana] = [connect(urls[0], patient), connect(urls[1], dentist)];
await Promise.all([once(ada.socket, 'connect'), once(dana.socket, 'connect')]);
assert.equal(ada.socket.recovered, false);
for (const { socket } of [ada, dana]) {
  const joined = await within(socket.emitWithAck('session:join', { sessionId: session, after: 0 }), 'join');
  assert.equal(joined.ok, true);
}
for (let n = 0; n < 5; n++) { await send(ada, `a${n}`); await send(dana, `d${n}`); }
await Promise.all([has(ada, 10), has(dana, 10)]);
// The last packet of each is an acknowledgement or a message; both can be recovered
// from.
await away(ada, async () => { for (let n = 0; n < 130; n++) await send(dana, `away${n}`); });
assert.equal(ada.socket.recovered, true);
await has(ada, 140);
await send(dana, 'live');
await has(ada, 141);
assert.deepEqual(ada.seen.slice(10), Array.from({ length: 131 }, (_, n) => n + 11), 'in order');

// An app that joins on every connect receives nothing twice either.
let joining;
const join = () => {
  joining = ada.socket.emitWithAck('session:join', { sessionId: session, after: Math.max(...ada.seen) });
};
ada.socket.on('connect', join);
await away(ada, async () => { for (let n = 0; n < 130; n++) await send(dana, `twice${n}`); });
assert.equal(ada.socket.recovered, true);
const { messages } = await within(joining, 'join');
messages.forEach(({ seq }) => ada.seen.push(seq));
await has(ada, 271);
ada.socket.off('connect', join);

// A session that was left stays left after a recovery.
await within(ada.socket.emitWithAck('session:leave', { sessionId: session }), 'leave');
await away(ada, () => send(dana, 'unheard'));
assert.equal(ada.socket.recovered, true);
const again = await within(ada.socket.emitWithAck('session:join', { sessionId: session, after: 271 }), 'join');
assert.deepEqual(again.messages.map(({ seq }) => seq), [272]);
ada.seen.push(272);

// The nodes are killed: no state of a client was in a node alone.
const gone = Promise.all([once(ada.socket, 'disconnect'), once(dana.socket, 'disconnect')]);
const back = Promise.all([once(ada.socket, 'connect'), once(dana.socket, 'connect')]);
console.log('restart');
await gone;
await within(lines.next(), 'the restart', 60_000);
await back;
assert.deepEqual([ada.socket.recovered, dana.socket.recovered], [true, true]);
await send(dana, 'd-last');
await send(ada, 'a-last');
await Promise.all([has(ada, 274), has(dana, 274)]);

ada.socket.close();
dana.socket.close();
console.log('done');
process.exit(0);
