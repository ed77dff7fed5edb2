// One message of a conversation, in its current state.

import { el, signButton, when } from './dom.js';
import { thumbnail } from './images.js';
import { nameOf } from './people.js';

export const EMOJI = ['👍', '❤️', '😂', '😮', '🙏'];
const TICKS = { unsent: '◷', sent: '✓', delivered: '✓✓', read: '✓✓' };

/** Summary of a message in one line. */
export function summary(message) {
  if (message.deletedAt) return 'Message deleted';
  return message.body || (message.image ? 'Picture' : '');
}

export class Line {
  element;
  message;
  /** The end of the message: always the same element, whatever else changes. */
  foot;
  #me;
  #does;
  #picture;

  /** `does` holds the actions of its buttons: `reply`, `edit`, `remove`, `react`, `jump`; and `find` for a message. */
  constructor(me, mine, api, does) {
    this.#me = me;
    this.#does = { api, ...does };
    this.element = el('li', { class: mine ? 'mine' : 'theirs' });
    const tick = mine ? el('span', { class: 'tick', role: 'img' }) : undefined;
    this.foot = el('small', { class: 'foot' }, el('span', { class: 'when' }), tick);
  }

  get mine() {
    return this.element.classList.contains('mine');
  }

  /** Shows a message that is being sent. */
  pending({ body, file }) {
    const text = body || file?.name || 'Picture';
    this.element.replaceChildren(this.#bubble(el('p', { class: 'text', dir: 'auto' }, text)));
    this.element.classList.add('unsent');
    this.#foot('', 'unsent');
  }

  refused(reason) {
    this.#foot(reason, 'unsent');
  }

  show(message) {
    this.message = message;
    const { element } = this;
    element.classList.remove('unsent');
    element.classList.toggle('deleted', Boolean(message.deletedAt));
    element.dataset.seq = message.seq;
    const open = element.querySelector('details')?.open;
    const parts = [this.#bubble(...this.#content()), this.#reactions(), this.#menu()];
    element.replaceChildren(...parts.filter(Boolean));
    const details = element.querySelector('details');
    if (details && open) details.open = true;
    this.#foot(`${message.editedAt && !message.deletedAt ? 'edited ' : ''}${when(message.createdAt)}`);
  }

  /** Shows its state: sent, delivered or read. */
  tick(state) {
    if (!this.mine || !this.message) return;
    const tick = this.foot.querySelector('.tick');
    if (tick.dataset.state === state) return;
    tick.dataset.state = state;
    tick.textContent = TICKS[state];
    tick.setAttribute('aria-label', state);
  }

  #bubble(...content) {
    return el('div', { class: 'bubble' }, ...content, this.foot);
  }

  #foot(text, state) {
    this.foot.querySelector('.when').textContent = text;
    const tick = this.foot.querySelector('.tick');
    if (!tick || !state) return;
    tick.dataset.state = state;
    tick.textContent = TICKS[state];
    tick.setAttribute('aria-label', state);
  }

  #content() {
    const { message } = this;
    if (message.deletedAt) return [el('p', { class: 'text' }, 'This message was deleted')];
    const content = [];
    if (message.replyTo) content.push(this.#quote(message.replyTo));
    if (message.image) {
      // A picture never changes: it is not fetched again when a reaction arrives.
      this.#picture ??= thumbnail(this.#does.api, message);
      content.push(this.#picture);
    }
    if (message.body) content.push(el('p', { class: 'text', dir: 'auto' }, message.body));
    return content;
  }

  #quote(id) {
    const quoted = this.#does.find(id);
    const name = quoted ? el('strong', {}, nameOf(quoted.sender)) : undefined;
    const text = el('span', { dir: 'auto' }, quoted ? summary(quoted) : 'An earlier message');
    const jump = () => quoted && this.#does.jump(quoted.seq);
    return el('button', { type: 'button', class: 'quote', title: 'Show it', on: { click: jump } }, name, text);
  }

  #reactions() {
    const reactions = (this.message.reactions ?? []).map(({ emoji, by }) => {
      const on = by.some(({ kind, id }) => kind === this.#me.kind && id === this.#me.id);
      const label = `${emoji}, ${by.length}${on ? ', yours' : ''}`;
      const toggle = () => this.#does.react(this.message, emoji, !on);
      const count = by.length > 1 ? ` ${by.length}` : '';
      return signButton(`${emoji}${count}`, label, toggle, { class: 'reaction', 'aria-pressed': String(on) });
    });
    return reactions.length ? el('div', { class: 'reactions' }, ...reactions) : undefined;
  }

  #menu() {
    const { message } = this;
    if (message.deletedAt) return undefined;
    const close = (act) => () => {
      details.open = false;
      act();
    };
    const has = (emoji) => message.reactions?.some((reaction) =>
      reaction.emoji === emoji && reaction.by.some(({ kind, id }) => kind === this.#me.kind && id === this.#me.id));
    const emoji = EMOJI.map((sign) =>
      signButton(sign, `React with ${sign}`, close(() => this.#does.react(message, sign, !has(sign)))));
    const actions = [['reply', 'Reply']];
    if (this.mine && message.body) actions.push(['edit', 'Edit']);
    if (this.mine) actions.push(['remove', 'Delete']);
    const buttons = actions.map(([action, name]) => {
      const act = close(() => this.#does[action](message));
      return el('button', { type: 'button', data: { action }, on: { click: act } }, name);
    });
    const summary = el('summary', { title: 'More', 'aria-label': 'What to do with this message' }, '⋯');
    const details = el('details', { class: 'menu', on: { toggle: () => this.#place(details) } },
      summary, el('div', { class: 'actions' }, ...emoji, ...buttons));
    return details;
  }

  // Above the message, if there is enough space.
  #place(details) {
    const room = this.element.getBoundingClientRect().top - this.element.parentElement.getBoundingClientRect().top;
    details.classList.toggle('below', room < 90);
  }
}
