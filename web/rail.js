// The sessions of one person: the other member, the last line and its time, and the unread count.

import { el, icon, when } from './dom.js';
import { summary } from './line.js';
import { avatar, isSame, nameOf } from './people.js';

export class Rail {
  #list;
  #me;
  #does;
  #entries = new Map(); // session's id → its list item

  /** `does` holds the actions of its buttons: `select` a session, `open` one with someone. */
  constructor(nav, me, does) {
    this.#list = nav.querySelector('ol');
    this.#me = me;
    this.#does = does;
    nav.querySelector('.new').addEventListener('click', () => does.open());
  }

  show(sessions, activeId) {
    const latest = [...sessions].toSorted((a, b) => b.activeAt.localeCompare(a.activeAt));
    const items = latest.map((session) => this.#item(session, session.id === activeId));
    if (items.every((item, at) => item === this.#list.children[at])) return;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : undefined;
    this.#list.replaceChildren(...items);
    // Moving an element removes its focus.
    focused?.focus({ preventScroll: true });
  }

  /** Moves the focus to the session that is shown. */
  focus() {
    this.#list.querySelector('[aria-current]')?.focus();
  }

  #item(session, active) {
    if (!this.#entries.has(session.id)) {
      const select = () => this.#does.select(session.id);
      const button = el('button', { type: 'button', data: { id: session.id }, on: { click: select } });
      this.#entries.set(session.id, el('li', {}, button));
    }
    const item = this.#entries.get(session.id);
    const button = item.firstChild;
    button.className = `session ${session.status}${session.muted ? ' muted' : ''}`;
    if (active) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
    const other = this.#me.kind === 'customer' ? session.dentist : session.customer;
    button.replaceChildren(this.#face(button, other), ...this.#content(session, other));
    return item;
  }

  /** Reuses the existing avatar unless it has changed: a new element would fetch it again. */
  #face(button, { kind, id, name, avatarUrl }) {
    const shown = `${name} ${avatarUrl}`;
    if (button.dataset.face === shown) return button.firstChild;
    button.dataset.face = shown;
    return avatar({ kind, id, name, avatarUrl });
  }

  #content(session, other) {
    const { unread } = session;
    const count = unread > 99 ? '99+' : String(unread);
    const name = el('span', { class: 'name', title: other.id, dir: 'auto' }, nameOf(other));
    const marks = el('span', { class: 'marks' },
      session.status === 'closed' ? icon('close', 'closed') : undefined,
      session.muted ? icon('bell-off', 'muted') : undefined,
      unread ? el('span', { class: 'badge' }, count, el('span', { class: 'spoken' }, ' unread')) : undefined);
    const last = el('span', { class: 'last', dir: 'auto' }, this.#lastLine(session));
    const time = el('time', { datetime: session.activeAt }, when(session.activeAt));
    return [el('span', { class: 'row' }, name, marks), el('span', { class: 'row' }, last, time)];
  }

  #lastLine({ lastMessage }) {
    if (!lastMessage) return 'No messages yet';
    const mine = isSame(lastMessage.sender, this.#me);
    return `${mine ? 'You: ' : ''}${summary(lastMessage)}`;
  }
}
