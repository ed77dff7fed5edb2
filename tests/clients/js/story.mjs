// The common script of the stock clients: `node story.mjs '<json>'` with
// {urls: [patient's, dentist's], transports?, patient, dentist, session}: tokens, and the id of a
// session.
// Prints "restart" when the nodes must be killed and started again, and then waits for a line.

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';
import { lines, once, options, story, within } from './telling.mjs';

const { urls, transports, patient, dentist, session } = story;

class Person {
  seen = new Map();
  order = [];
  #waiting = [];
  #acknowledged = new Set();

  constructor(url, token) {
    this.socket = io(url, { ...options, auth: { token } });
    this.socket.on('message:new', ({ message }) => this.see(message));
  }

  async join() {
    const after = Math.max(0, ...this.seen.keys());
    const joined = await within(this.socket.emitWithAck('session:join', { sessionId: session, after }), 'join');
    assert.equal(joined.ok, true);
    assert.deepEqual(joined.data.messages, joined.messages);
    // The reply to a join may contain own messages that were acknowledged while it was on its
    // way.
    joined.messages.filter(({ seq }) => !this.#acknowledged.has(seq)).forEach((message) => this.see(message));
  }

  see(message) {
    assert.ok(!this.seen.has(message.seq), `seq ${message.seq} came twice`);
    this.seen.set(message.seq, message);
    this.order.push(message.seq);
    this.#waiting = this.#waiting.filter(({ count, resolve }) => this.seen.size < count || resolve());
  }

  // Repeats a send until it is acknowledged, as apps do.
  async send(clientId, body) {
    for (;;) {
      try {
        const sending = { sessionId: session, clientId, kind: 'text', body };
        const sent = await this.socket.timeout(3_000).emitWithAck('message:send', sending);
        assert.equal(sent.ok, true, JSON.stringify(sent));
        this.#acknowledged.add(sent.message.seq);
        if (!this.seen.has(sent.message.seq)) this.see(sent.message);
        return sent.message;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
      }
    }
  }

  has(count) {
    if (this.seen.size >= count) return Promise.resolve();
    return within(new Promise((resolve) => this.#waiting.push({ count, resolve })), `${count} messages`);
  }
}

// An invalid token is refused with a reason.
const stranger = io(urls[0], { ...options, reconnection: false, auth: { token: 'a.b.c' } });
const refused = await once(stranger, 'connect_error');
assert.equal(refused.message, 'token_invalid');
assert.equal(refused.data.code, 'token_invalid');
stranger.close();

const foreign = io(`${urls[0]}/admin`, { ...options, reconnection: false, auth: { token: patient } });
assert.equal((await once(foreign, 'connect_error')).message, 'Invalid namespace');
foreign.close();

const [ada, dana] = [new Person(urls[0], patient), new Person(urls[1], dentist)];
await Promise.all([once(ada.socket, 'connect'), once(dana.socket, 'connect')]);
if (!transports) {
  const engine = ada.socket.io.engine;
  if (engine.transport.name !== 'websocket') await once(engine, 'upgrade');
  assert.equal(engine.transport.name, 'websocket', 'it has moved over');
}
await Promise.all([ada.join(), dana.join()]);

// Another namespace on the same connection is refused, and the connection stays.
const admin = ada.socket.io.socket('/admin', { auth: { token: patient } });
admin.connect();
assert.equal((await once(admin, 'connect_error')).message, 'Invalid namespace');
assert.equal(ada.socket.connected, true);

// Each receives the other's messages, and their own by the acknowledgement.
const sent = await ada.send('first', 'Does it hurt? <b>é😀</b>');
await dana.has(1);
assert.deepEqual(dana.seen.get(1), sent);
const typing = once(dana.socket, 'typing');
ada.socket.emit('typing:start', { sessionId: session });
assert.equal((await typing).on, true);

// Binary data where none is expected is an error, and the connection stays.
const bytes = { sessionId: session, clientId: 'b', kind: 'text', body: Buffer.from([1, 2, 3]) };
const answer = await within(ada.socket.emitWithAck('message:send', bytes), 'an answer to bytes');
assert.equal(answer.error.code, 'invalid_request');
const unknown = await within(ada.socket.emitWithAck('no:such', {}), 'an answer');
assert.equal(unknown.error.code, 'unknown_event');

// Many messages at once, from both sides.
const burst = [];
for (let n = 0; n < 40; n++) burst.push(ada.send(`a${n}`, `a${n}`), dana.send(`d${n}`, `d${n}`));
await within(Promise.all(burst), 'the burst');
await Promise.all([ada.has(81), dana.has(81)]);
assert.deepEqual([...ada.seen.keys()].sort((a, b) => a - b), [...dana.seen.keys()].sort((a, b) => a - b));

// The nodes are killed. A message sent meanwhile arrives after the restart, and none arrives twice. A
// join that fails because its node is not ready yet is repeated on the next connect.
const again = (error) => { if (error instanceof assert.AssertionError) throw error; };
for (const person of [ada, dana]) person.socket.on('connect', () => person.join().catch(again));
const gone = Promise.all([once(ada.socket, 'disconnect'), once(dana.socket, 'disconnect')]);
console.log('restart');
await gone;
const late = dana.send('late', 'said while it was down');
await within(lines.next(), 'the restart', 60_000);
await within(late, 'the late message');
await Promise.all([ada.has(82), dana.has(82)]);
assert.deepEqual(ada.seen.get(82), await late);

ada.socket.close();
dana.socket.close();
console.log('done');
process.exit(0);
