// One person's side of the page: token, connection and sessions.

import { Api } from './api.js';
import { Chat } from './chat.js';
import { Composer } from './composer.js';
import { Conversation } from './conversation.js';
import { setButton, when } from './dom.js';
import { Drafts } from './drafts.js';
import { upload } from './images.js';
import { avatar, isSame, nameOf } from './people.js';
import { Rail } from './rail.js';
import { Search } from './search.js';

const TYPING_ENDS_MS = 4_000;
const OLDER = 50;
/** Errors after which a retry makes sense; any other refusal is final. */
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
  #outbox = new Map(); // clientId → request: kept until acknowledged, sent again after a reconnect unless refused
  #typingTimer;
  #reading = false;

  /** `first` is the person to write to while there is no session. */
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
      viewed: () => this.#viewed(),
    });
    this.#composer = new Composer(this.#find('.composer'), new Drafts(me), {
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
    hear('close', ({ code, refused }) => {
      if (code === 4401) this.#api.forgetToken();
      // A blocked person leaves nothing behind on this device.
      if (code === 4403) this.#composer.clear();
      this.#state('away', code === 4403 ? 'not allowed' : (refused ?? 'reconnecting…'));
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
    click('.newest', () => {
      this.#conversation.toEnd();
      this.#focusMessages();
    });
    click('.back', () => {
      this.#root.classList.add('listing');
      this.#rail.focus();
    });
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
      if (!this.#active) this.#turnTo((items.find(({ status }) => status === 'open') ?? [...this.#sessions.values()][0]).id);
      await this.#join();
      this.#state('live', 'live');
      this.#outbox.forEach((request, clientId) => request.refused || this.#send(clientId, request));
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
    this.#root.classList.remove('listing');
    // In a narrow pane the list disappears, and with it the button that had the focus.
    if (!this.#find('.rail').checkVisibility()) this.#focusMessages();
    if (id === this.#active) return;
    this.#chat.say('session:leave', { sessionId: this.#active });
    this.#conversation.clear();
    this.#turnTo(id);
    this.#showTyping(false);
    this.#showPresence();
    await this.#join().catch((error) => this.#state('away', error.message));
  }

  #turnTo(id) {
    this.#active = id;
    this.#composer.turnTo(id);
    this.#outbox.forEach((request, clientId) => this.#showUnsent(clientId, request));
  }

  #showUnsent(clientId, request) {
    if (request.sessionId !== this.#active) return;
    const line = this.#conversation.pending(clientId, request);
    if (request.refused) line.refused(request.refused);
  }

  #focusMessages() {
    this.#find('.messages').focus({ preventScroll: true });
  }

  async #join() {
    const { lastSeq: after, rev, epoch } = this.#conversation;
    const sessionId = this.#active;
    const from = after ? { after, rev, epoch } : {};
    const joined = await this.#chat.request('session:join', { sessionId, ...from });
    const { session, messages, updated, resync } = joined;
    // Another session may have been selected meanwhile.
    if (sessionId !== this.#active) return;
    if (resync) {
      // The history was cut: the numbers shown here belong to other messages now.
      this.#conversation.clear();
      this.#outbox.forEach((request, clientId) => this.#showUnsent(clientId, request));
    }
    this.#conversation.epoch = joined.epoch;
    this.#conversation.isRead(session.readSeq);
    messages.forEach((message) => this.#conversation.show(message));
    updated?.forEach((message) => this.#showChanged(message));
    const changed = updated?.at(-1)?.rev ?? session.rev;
    this.#conversation.rev = changed;
    this.#update(session);
    if (!after || resync) this.#conversation.begin();
    if (changed < session.rev) return this.#join();
    this.#read();
  }

  /** Replaces the state of a session. */
  #update(session) {
    this.#sessions.set(session.id, session);
    if (session.id === this.#active) {
      this.#conversation.positions(session.otherReadSeq, session.otherDeliveredSeq);
      this.#conversation.isRead(session.readSeq);
      this.#header(session);
    }
    this.#list();
  }

  /** Shows the list, and the unread counts beside the conversation and in it. */
  #list() {
    const here = this.#conversation.unread;
    // The server's count may be older than the view of a message here.
    const unread = ({ id, unread }) => (id === this.#active ? Math.min(here, unread) : unread);
    const sessions = [...this.#sessions.values()].map((session) => ({ ...session, unread: unread(session) }));
    this.#rail.show(sessions, this.#active);
    const others = sessions.filter(({ id }) => id !== this.#active);
    this.#count('.back', others.reduce((sum, { unread }) => sum + unread, 0), 'All conversations');
    this.#count('.newest', here, 'Go to the new messages');
    this.#find('.newest').hidden = here === 0;
  }

  #count(selector, count, label) {
    const button = this.#find(selector);
    button.setAttribute('aria-label', count ? `${label}, ${count} unread` : label);
    button.querySelector('.count').textContent = count || '';
  }

  #header(session) {
    const other = this.#other();
    this.#find('.who').textContent = nameOf(other);
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
    const mine = isSame(message.sender, this.#me);
    if (mine) this.#outbox.delete(message.clientId);
    if (message.sender.kind !== this.#me.kind) this.#showTyping(false);
    this.#conversation.show(message);
  }

  /** A change of a message older than the shown ones is ignored: it is loaded in its current state later. */
  #showChanged(message) {
    if (message.seq >= this.#conversation.firstSeq) this.#show(message);
  }

  #viewed() {
    this.#list();
    this.#read();
  }

  /** Marks the viewed messages as read: one request at a time, however fast someone scrolls. */
  async #read() {
    const { readSeq: seq } = this.#conversation;
    const session = this.#session();
    if (this.#reading || !session || session.readSeq >= seq) return;
    this.#reading = true;
    try {
      await this.#chat.request('message:read', { sessionId: session.id, seq });
      const now = this.#sessions.get(session.id);
      now.readSeq = Math.max(now.readSeq, seq);
    } catch {
      // The mark is sent again at the next join, or when the view changes.
      return;
    } finally {
      this.#reading = false;
    }
    await this.#read();
  }

  async #post({ body, file, replyTo }) {
    const [sessionId, clientId] = [this.#active, crypto.randomUUID()];
    this.#conversation.pending(clientId, { body, file });
    const request = { sessionId, clientId, kind: file ? 'image' : 'text', body, replyTo };
    try {
      if (file) request.imageKey = await upload(this.#api, sessionId, file);
      this.#outbox.set(clientId, request);
    } catch (error) {
      return this.#refuse(clientId, request, error);
    }
    await this.#send(clientId, request);
  }

  /** Keeps a refused message visible, even if another session is shown now. */
  #refuse(clientId, request, { message }) {
    request.refused = message;
    this.#outbox.set(clientId, request);
    this.#showUnsent(clientId, request);
  }

  async #send(clientId, request) {
    try {
      this.#show((await this.#chat.request('message:send', request)).message);
      this.#outbox.delete(clientId);
    } catch (error) {
      if (!PASSING.has(error.code)) this.#refuse(clientId, request, error);
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

  /** Goes to a message, in any session and at any distance. */
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
