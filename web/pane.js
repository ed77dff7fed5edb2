// One person's side of the desk: their token, their connection, their sessions.

import { Api } from './api.js';
import { avatar } from './avatar.js';
import { Chat } from './chat.js';
import { Composer } from './composer.js';
import { Conversation } from './conversation.js';
import { setButton, when } from './dom.js';
import { upload } from './images.js';
import { Rail } from './rail.js';
import { Search } from './search.js';

const TYPING_ENDS_MS = 4_000;
const OLDER = 50;
/** What may be tried again; any other refusal is for good. */
const PASSING = new Set(['busy', 'unavailable', 'draining', undefined]);

export class Pane {
  #root;
  #me;
  #first;
  #api;
  #chat;
  #rail;
  #conversation;
  #composer;
  #search;
  #sessions = new Map();
  #active;
  #outbox = new Map(); // clientId → request: kept until acknowledged, sent again after a reconnect
  #typingTimer;

  /** `first` is whom this person writes to as long as there is no session. */
  constructor(root, me, first) {
    this.#root = root;
    this.#me = me;
    this.#first = first;
    root.append(document.querySelector('#pane').content.cloneNode(true));
    this.#find('.me').textContent = me.title;
    this.#api = new Api(me);
    this.#chat = new Chat(() => this.#api.token());
    this.#rail = new Rail(this.#find('.rail'), me, {
      select: (id) => this.#select(id),
      open: () => this.#openAnother(),
    });
    this.#conversation = new Conversation(this.#find('.messages'), me, this.#api, {
      reply: (message) => this.#composer.reply(message),
      edit: (message) => this.#composer.edit(message),
      remove: (message) => this.#change('message:delete', message),
      react: (message, emoji, on) => this.#change('message:react', message, { emoji, on }),
    });
    this.#composer = new Composer(this.#find('.composer'), {
      send: (content) => this.#post(content),
      edit: (message, body) => this.#change('message:edit', message, { body }),
      typing: (on) => this.#chat.say(on ? 'typing:start' : 'typing:stop', { sessionId: this.#active }),
    });
    this.#search = new Search(this.#find('.search'), this.#api, {
      found: (message) => this.#goTo(message),
      toggled: (open) => this.#find('.find').setAttribute('aria-expanded', open),
    });
    this.#listen();
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #listen() {
    const hear = (type, handle) => this.#chat.addEventListener(type, ({ detail }) => handle(detail));
    const here = (handle) => (data) => data.sessionId === this.#active && handle(data);
    const theirs = (person) => person.kind !== this.#me.kind;
    hear('open', () => this.#connected());
    hear('close', ({ code }) => {
      if (code === 4401) this.#api.forgetToken();
      this.#state('away', code === 4403 ? 'not allowed' : 'reconnecting…');
    });
    hear('message:new', ({ message }) => this.#show(message));
    hear('message:updated', ({ message }) => this.#showChanged(message));
    hear('message:read', here(({ reader, seq }) => theirs(reader) && this.#conversation.positions(seq)));
    hear('message:delivered', here(({ to, seq }) => theirs(to) && this.#conversation.positions(0, seq)));
    hear('typing', here(({ who, on }) => theirs(who) && this.#showTyping(on)));
    hear('presence', ({ who, online, lastSeen }) => {
      const other = this.#other();
      if (other?.kind === who.kind && other.id === who.id) this.#showPresence(online, lastSeen);
    });
    for (const type of ['session:new', 'session:updated']) hear(type, ({ session }) => this.#update(session));
    const click = (selector, does) => this.#find(selector).addEventListener('click', does);
    click('.find', () => this.#search.toggle());
    click('.mute', () => this.#set({ muted: !this.#session().muted }));
    click('.close', () => this.#set({ status: this.#session().status === 'open' ? 'closed' : 'open' }));
    click('.older', () => this.#older());
    document.addEventListener('visibilitychange', () => this.#read());
  }

  #session() {
    return this.#sessions.get(this.#active);
  }

  #other() {
    const session = this.#session();
    return this.#me.kind === 'customer' ? session?.dentist : session?.customer;
  }

  #state(name, text) {
    const state = this.#find('.state');
    state.className = `state ${name}`;
    state.textContent = text;
  }

  async #connected() {
    try {
      const { items } = await this.#api.request('GET', '/api/chats');
      items.forEach((session) => this.#sessions.set(session.id, session));
      if (this.#sessions.size === 0) this.#update(await this.#openWith(this.#first));
      this.#active ??= (items.find(({ status }) => status === 'open') ?? [...this.#sessions.values()][0]).id;
      await this.#join();
      this.#state('live', 'live');
      this.#outbox.forEach((request, clientId) => this.#send(clientId, request));
    } catch (error) {
      this.#state('away', error.message);
      setTimeout(() => this.#connected(), 1_000);
    }
  }

  #openWith(id) {
    const other = this.#me.kind === 'customer' ? { dentistId: id } : { customerId: id };
    return this.#api.request('POST', '/api/chats', other);
  }

  async #openAnother() {
    const dialog = document.querySelector('#opener');
    dialog.querySelector('span').textContent = this.#me.kind === 'customer' ? 'Dentist’s id' : 'Patient’s id';
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
    const id = dialog.querySelector('input').value.trim();
    if (dialog.returnValue !== 'open' || !id) return;
    try {
      const session = await this.#openWith(id);
      this.#update(session);
      await this.#select(session.id);
    } catch (error) {
      this.#composer.warn(error.message);
    }
  }

  async #select(id) {
    if (id === this.#active) return;
    this.#chat.say('session:leave', { sessionId: this.#active });
    this.#active = id;
    this.#conversation.clear();
    this.#composer.reset();
    this.#showTyping(false);
    this.#showPresence();
    await this.#join().catch((error) => this.#state('away', error.message));
  }

  async #join() {
    const { lastSeq: after, rev } = this.#conversation;
    const sessionId = this.#active;
    const from = after ? { after, rev } : {};
    const { session, messages, updated } = await this.#chat.request('session:join', { sessionId, ...from });
    // Another one may have been chosen meanwhile.
    if (sessionId !== this.#active) return;
    messages.forEach((message) => this.#conversation.show(message));
    updated?.forEach((message) => this.#showChanged(message));
    const changed = updated?.at(-1)?.rev ?? session.rev;
    this.#conversation.rev = changed;
    if (changed < session.rev) return this.#join();
    this.#update(session);
    this.#read();
  }

  /** A session as it is now. */
  #update(session) {
    this.#sessions.set(session.id, session);
    if (session.id === this.#active) {
      this.#conversation.positions(session.otherReadSeq, session.otherDeliveredSeq);
      this.#header(session);
    }
    this.#rail.show(this.#sessions.values(), this.#active);
  }

  #header(session) {
    const other = this.#other();
    this.#find('.who').textContent = other.name;
    const shown = `${other.kind} ${other.id} ${other.name} ${other.avatarUrl}`;
    const face = this.#find('.face');
    if (face.dataset.of !== shown) {
      face.dataset.of = shown;
      face.replaceChildren(avatar(other));
    }
    const open = session.status === 'open';
    setButton(this.#find('.mute'), session.muted ? 'bell-off' : 'bell', session.muted ? 'Unmute' : 'Mute', session.muted);
    setButton(this.#find('.close'), open ? 'close' : 'reopen', open ? 'Close this conversation' : 'Open it again');
    this.#root.classList.toggle('closed', !open);
    this.#composer.enable(open);
    this.#find('.older').hidden = this.#conversation.firstSeq <= 1;
  }

  #show(message) {
    if (message.sessionId !== this.#active) return;
    const mine = message.sender.kind === this.#me.kind;
    if (mine) this.#outbox.delete(message.clientId);
    else this.#showTyping(false);
    this.#conversation.show(message);
    this.#read();
  }

  /** One from before what is here is shown as it is then, if it is asked for. */
  #showChanged(message) {
    if (message.seq >= this.#conversation.firstSeq) this.#show(message);
  }

  /** What is on the screen is read. */
  #read() {
    const { lastSeq } = this.#conversation;
    const session = this.#session();
    if (document.visibilityState !== 'visible' || !session || session.readSeq >= lastSeq) return;
    session.readSeq = lastSeq;
    this.#chat.request('message:read', { sessionId: session.id, seq: lastSeq }).catch(() => {});
  }

  async #post({ body, file, replyTo }) {
    const [sessionId, clientId] = [this.#active, crypto.randomUUID()];
    const line = this.#conversation.pending(clientId, { body, file });
    const request = { sessionId, clientId, kind: file ? 'image' : 'text', body, replyTo };
    try {
      if (file) request.imageKey = await upload(this.#api, sessionId, file);
    } catch (error) {
      return line.refused(error.message);
    }
    this.#outbox.set(clientId, request);
    await this.#send(clientId, request);
  }

  async #send(clientId, request) {
    try {
      this.#show((await this.#chat.request('message:send', request)).message);
      this.#outbox.delete(clientId);
    } catch (error) {
      if (PASSING.has(error.code)) return;
      this.#outbox.delete(clientId);
      if (request.sessionId === this.#active) this.#conversation.pending(clientId, request).refused(error.message);
    }
  }

  async #change(event, { sessionId, id: messageId }, more) {
    try {
      this.#show((await this.#chat.request(event, { sessionId, messageId, ...more })).message);
    } catch (error) {
      this.#composer.warn(error.message);
    }
  }

  async #set(setting) {
    try {
      this.#update(await this.#api.request('PATCH', `/api/chats/${this.#active}`, setting));
    } catch (error) {
      this.#composer.warn(error.message);
    }
  }

  async #older() {
    const [sessionId, before] = [this.#active, this.#conversation.firstSeq];
    const path = `/api/chats/${sessionId}/messages?before=${before}&limit=${OLDER}`;
    const { items } = await this.#api.request('GET', path);
    if (sessionId !== this.#active) return;
    this.#conversation.showOlder(items);
    this.#header(this.#session());
  }

  /** Goes to a message, whatever session it is in and however far back. */
  async #goTo({ sessionId, seq }) {
    if (!this.#sessions.has(sessionId)) {
      this.#update(await this.#api.request('GET', `/api/chats/${sessionId}`));
    }
    await this.#select(sessionId);
    while (!this.#conversation.jump(seq) && this.#conversation.firstSeq > seq) await this.#older();
  }

  #showTyping(on) {
    clearTimeout(this.#typingTimer);
    this.#find('.typing').textContent = on ? 'typing…' : '';
    if (on) this.#typingTimer = setTimeout(() => this.#showTyping(false), TYPING_ENDS_MS);
  }

  #showPresence(online, lastSeen) {
    const face = this.#find('.face');
    face.classList.toggle('online', online === true);
    face.classList.toggle('away', online === false);
    const away = lastSeen ? `last seen ${when(lastSeen)}` : '';
    this.#find('.presence').textContent = online ? 'online' : away;
  }
}
