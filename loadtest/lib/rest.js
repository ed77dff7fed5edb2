// Use of the HTTP API beside the sockets, as apps do: lists, history, search, and sends.

import { check } from 'k6';
import http from 'k6/http';
import { now_ms, wait } from './clock.js';
import { codeOf, complain, refused } from './errors.js';
import { metrics } from './metrics.js';

export class Rest {
  constructor(conversation) {
    this.conversation = conversation;
    this.turn = conversation.number;
  }

  /** Sends requests of each kind in turn until the given time. */
  async use(until_ms) {
    const every_ms = this.conversation.set.restEvery_s * 1000;
    if (every_ms === 0) return;
    let due_ms = now_ms() + Math.random() * every_ms;
    while (due_ms < until_ms) {
      await wait(due_ms - now_ms());
      await this.next();
      due_ms += every_ms;
    }
  }

  next() {
    const { ledger, id } = this.conversation;
    const chat = `/api/chats/${id}`;
    const seq = Math.max(1, Math.min(ledger.readers.customer.told, ledger.readers.dentist.told));
    this.turn += 1;
    switch (this.turn % 7) {
      case 0: return this.ask('GET', '/api/chats', '/api/chats?limit=20');
      case 1: return this.ask('GET', '/api/chats/unread', '/api/chats/unread');
      case 2: return this.ask('GET', '/api/chats/{id}', chat);
      case 3: return this.ask('GET', '/api/chats/{id}/messages', `${chat}/messages?limit=50`);
      case 4: return this.ask('GET', '/api/chats/search', '/api/chats/search?q=hello');
      case 5: return this.ask('POST', '/api/chats/{id}/read', `${chat}/read`, { seq });
      default: return this.say(`${chat}/messages`);
    }
  }

  /** Sends a message by HTTP; it counts in the same ledger as those by socket. */
  async say(path) {
    const { conversation } = this;
    const side = conversation.sides[this.turn % 2];
    const clientId = conversation.note(side.person.kind);
    const content = { clientId, kind: 'text', body: `hello ${conversation.body}` };
    const answer = await this.ask('POST', '/api/chats/{id}/messages', path, content, side);
    if (answer.status === 200 || answer.status === 201) conversation.acknowledged(answer.json('message'));
    // The socket repeats the send under its `clientId`.
    else if (side.live) side.send(clientId);
  }

  async ask(method, name, path, content = null, side = this.conversation.sides[this.turn % 2]) {
    const { set } = this.conversation;
    const base = set.bases[side.place % set.bases.length];
    const headers = { authorization: `Bearer ${side.person.token()}` };
    if (content) headers['content-type'] = 'application/json';
    const answer = await http.asyncRequest(method, `${base}${path}`, content && JSON.stringify(content), {
      headers, tags: { name: `${method} ${name}`, kind: 'rest' },
    });
    const well = answer.status === 200 || answer.status === 201;
    if (!well && refused(codeOf(answer))) metrics.refusals.add(1);
    else if (!well) complain('http', `${method} ${name}: ${answer.status} ${codeOf(answer)}`, this.conversation.phase(now_ms()));
    check(answer, { 'the HTTP API answers': () => well });
    return answer;
  }
}
