// Two people at one desk: each pane has its own token, its own connection and its own state.

import { Chat } from './chat.js';

const PATIENT = { kind: 'customer', id: 'demo-patient', title: 'Patient' };
const DENTIST = { kind: 'dentist', id: '1', title: 'Dentist' };
const TYPING_EVERY_MS = 2_000;
const TYPING_ENDS_MS = 4_000;

async function post(path, body, token) {
  const headers = { 'content-type': 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error((await response.json()).detail);
  return response.json();
}

const tokenOf = async ({ kind, id }) => (await post('/dev/token', { kind, id })).token;

class Pane {
  #me;
  #root;
  #chat;
  #session;
  #lastSeq = 0;
  #otherReadSeq = 0;
  #outbox = new Map(); // clientId → body: kept until acknowledged, resent after a reconnect
  #lines = new Map(); // sender's kind and clientId → line: a clientId is its sender's own
  #typingTimer;
  #saidTyping = 0;

  constructor(root, me) {
    this.#me = me;
    this.#root = root;
    root.append(document.querySelector('#pane').content.cloneNode(true));
    this.#find('.who').textContent = me.title;
    this.#find('form').addEventListener('submit', (event) => this.#submit(event));
    this.#find('input').addEventListener('input', () => this.#typing());
    this.#chat = new Chat(() => tokenOf(me));
    const on = (type, handle) => this.#chat.addEventListener(type, (event) => handle(event.detail));
    on('open', () => this.#join());
    on('close', () => this.#state('away', 'reconnecting…'));
    on('message:new', ({ message }) => this.#show(message));
    on('message:read', ({ reader, seq }) => this.#read(reader, seq));
    on('typing', ({ on: isTyping }) => this.#showTyping(isTyping));
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #state(name, text) {
    const state = this.#find('.state');
    state.className = `state ${name}`;
    state.textContent = text;
  }

  async #join() {
    try {
      this.#session ??= await this.#open();
      const join = { sessionId: this.#session.id };
      if (this.#lastSeq) join.after = this.#lastSeq;
      const { session, messages } = await this.#chat.request('session:join', join);
      this.#otherReadSeq = Math.max(this.#otherReadSeq, session.otherReadSeq);
      messages.forEach((message) => this.#show(message));
      this.#ticks();
      this.#state('live', 'live');
      for (const [clientId, body] of this.#outbox) this.#send(clientId, body);
    } catch (error) {
      this.#state('away', error.message);
      setTimeout(() => this.#join(), 1_000);
    }
  }

  async #open() {
    const token = await tokenOf(this.#me);
    const other = this.#me.kind === 'customer' ? { dentistId: DENTIST.id } : { customerId: PATIENT.id };
    return post('/api/chats', other, token);
  }

  #submit(event) {
    event.preventDefault();
    const input = this.#find('input');
    const body = input.value;
    if (!body.trim()) return;
    input.value = '';
    this.#saidTyping = 0;
    this.#chat.say('typing:stop', { sessionId: this.#session?.id });
    const clientId = crypto.randomUUID();
    this.#outbox.set(clientId, body);
    this.#line(this.#me.kind, clientId, body).classList.add('unsent');
    this.#send(clientId, body);
  }

  async #send(clientId, body) {
    try {
      const sending = { sessionId: this.#session.id, clientId, kind: 'text', body };
      const { message } = await this.#chat.request('message:send', sending);
      this.#show(message);
    } catch (error) {
      // What has a code was refused for good; anything else is sent again after the reconnect.
      if (error.code && error.code !== 'busy' && error.code !== 'unavailable') {
        this.#outbox.delete(clientId);
        this.#line(this.#me.kind, clientId, body).querySelector('small').textContent = error.message;
      }
    }
  }

  #show(message) {
    const mine = message.sender.kind === this.#me.kind;
    this.#lastSeq = Math.max(this.#lastSeq, message.seq);
    if (mine) this.#outbox.delete(message.clientId);
    const line = this.#line(message.sender.kind, message.clientId, message.body);
    line.classList.remove('unsent');
    line.dataset.seq = message.seq;
    line.dataset.time = new Date(message.createdAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    this.#sort();
    this.#ticks();
    if (!mine) {
      this.#showTyping(false);
      this.#chat.request('message:read', { sessionId: this.#session.id, seq: message.seq }).catch(() => {});
    }
  }

  // The message's line, new or not. What others wrote is text, never markup.
  #line(kind, clientId, body) {
    const key = `${kind} ${clientId}`;
    if (this.#lines.has(key)) return this.#lines.get(key);
    const line = document.createElement('li');
    this.#lines.set(key, line);
    line.dir = 'auto';
    line.textContent = body;
    line.classList.toggle('mine', kind === this.#me.kind);
    line.append(document.createElement('small'));
    this.#find('.messages').append(line);
    line.scrollIntoView({ block: 'end' });
    return line;
  }

  #sort() {
    const list = this.#find('.messages');
    const seq = (line) => Number(line.dataset.seq ?? Infinity);
    const lines = [...list.children];
    const sorted = lines.toSorted((a, b) => seq(a) - seq(b));
    if (sorted.some((line, at) => line !== lines[at])) list.append(...sorted);
    list.scrollTop = list.scrollHeight;
  }

  #read(reader, seq) {
    if (reader.kind !== this.#me.kind) {
      this.#otherReadSeq = Math.max(this.#otherReadSeq, seq);
      this.#ticks();
    }
  }

  #ticks() {
    for (const line of this.#find('.messages').querySelectorAll('[data-seq]')) {
      const read = Number(line.dataset.seq) <= this.#otherReadSeq;
      const tick = line.classList.contains('mine') ? (read ? ' ✓✓' : ' ✓') : '';
      line.querySelector('small').textContent = line.dataset.time + tick;
    }
  }

  #typing() {
    if (Date.now() - this.#saidTyping < TYPING_EVERY_MS) return;
    this.#saidTyping = Date.now();
    this.#chat.say('typing:start', { sessionId: this.#session?.id });
  }

  #showTyping(on) {
    clearTimeout(this.#typingTimer);
    this.#find('.typing').textContent = on ? 'typing…' : '';
    if (on) this.#typingTimer = setTimeout(() => this.#showTyping(false), TYPING_ENDS_MS);
  }
}

new Pane(document.querySelector('#patient'), PATIENT);
new Pane(document.querySelector('#dentist'), DENTIST);
