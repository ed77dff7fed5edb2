// One device writes and two read, without pause, while nodes are replaced: `node steady.mjs '<json>'`
// with {urls: [one for all], transports, patient, dentist, session}. Prints "under way" when all are
// connected, continues until a line arrives, and then prints the messages it saw.

import { io } from 'socket.io-client';
import { lines, once, options, story, within } from './telling.mjs';

const { urls, patient, dentist, session } = story;
const connect = (token) => io(urls[0], { ...options, auth: { token } });
const pause = (ms) => new Promise((tick) => setTimeout(tick, ms));

const reader = (token) => {
  const socket = connect(token);
  const seen = [];
  socket.on('message:new', ({ message }) => seen.push(message.seq));
  socket.on('connect', async () => {
    if (socket.recovered) return;
    for (let joined = false; !joined && socket.connected;) {
      const join = { sessionId: session, after: seen.at(-1) ?? 0 };
      // No `await` here: an event that arrives together with the acknowledgement would be
      // handled before it.
      joined = await new Promise((tell) => {
        socket.timeout(5_000).emit('session:join', join, (error, answer) => {
          const ok = !error && answer.ok;
          if (ok) answer.messages.forEach(({ seq }) => seen.push(seq));
          tell(ok);
        });
      });
    }
  });
  return { socket, seen };
};

const readers = [reader(dentist), reader(patient)];
const writer = connect(patient);
let reconnects = 0;
for (const socket of [writer, ...readers.map(({ socket }) => socket)]) {
  socket.on('disconnect', () => { reconnects += 1; });
}
await Promise.all([writer, ...readers.map(({ socket }) => socket)].map((socket) => once(socket, 'connect')));
console.log('under way');

let stopped = false;
within(lines.next(), 'the end', 300_000).then(() => { stopped = true; });
const acknowledged = [];
for (let n = 0; !stopped; n++) {
  const text = { sessionId: session, clientId: `steady-${n}`, kind: 'text', body: 'on and on' };
  for (;;) {
    const answer = await writer.timeout(4_000).emitWithAck('message:send', text).catch(() => null);
    if (answer?.ok) { acknowledged.push(answer.message.seq); break; }
    await pause(answer?.error?.retryAfterMs ?? 100);
  }
  await pause(20);
}
const last = acknowledged.at(-1);
const caught = async ({ seen }) => { while ((seen.at(-1) ?? 0) < last) await pause(20); };
await within(Promise.all(readers.map(caught)), 'everything', 30_000);
console.log(JSON.stringify({ acknowledged, seen: readers.map(({ seen }) => seen), reconnects }));
process.exit(0);
