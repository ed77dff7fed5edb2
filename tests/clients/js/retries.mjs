// The stock client with its option `retries`: an event waits until the one before it is acknowledged.
// `node retries.mjs '<json>'` with {url, patient, session, transports}.

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';
import { once, options, story, within } from './telling.mjs';

const { url, patient, session } = story;
const socket = io(url, { ...options, auth: { token: patient }, retries: 3, ackTimeout: 15_000 });
await once(socket, 'connect');
const here = { sessionId: session };
await within(socket.emitWithAck('session:join', here), 'join');
const text = { ...here, clientId: 'k', kind: 'text', body: 'behind what is seldom answered' };
socket.emit('typing:start', here);
const sent = within(socket.emitWithAck('message:send', text), 'the message', 10_000);
socket.emit('message:read', { ...here, seq: 1 });
socket.emit('typing:stop', here);
socket.emit('no:such', here);
socket.emit('session:leave', here);
// Typing in a session that was left is refused, which is an acknowledgement too.
socket.emit('typing:start', here);
const last = within(socket.emitWithAck('session:join', here), 'the last event', 10_000);
assert.equal((await sent).message.seq, 1);
assert.equal((await last).lastSeq, 1);
socket.close();
console.log('done');
process.exit(0);
