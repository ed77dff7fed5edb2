// The sessions of one person, each with a badge of what is unread.

import { avatar } from './avatar.js';
import { el, signButton } from './dom.js';

export class Rail {
  #nav;
  #me;
  #does;

  /** `does` is what its buttons do: `select` a session, `open` one with someone. */
  constructor(nav, me, does) {
    this.#nav = nav;
    this.#me = me;
    this.#does = does;
  }

  show(sessions, activeId) {
    const latest = [...sessions].toSorted((a, b) => b.activeAt.localeCompare(a.activeAt));
    const focused = this.#nav.contains(document.activeElement) && document.activeElement.dataset.id;
    const opens = signButton('+', 'Write to someone else', () => this.#does.open(), { class: 'new' });
    this.#nav.replaceChildren(...latest.map((session) => this.#entry(session, activeId)), opens);
    if (focused) this.#nav.querySelector(`[data-id="${focused}"]`)?.focus();
  }

  #entry(session, activeId) {
    const other = this.#me.kind === 'customer' ? session.dentist : session.customer;
    const unread = session.id === activeId ? 0 : session.unread;
    const states = [other.name, unread && `${unread} unread`, session.muted && 'muted', session.status === 'closed' && 'closed'];
    const badge = unread ? el('span', { class: 'badge' }, unread > 99 ? '99+' : String(unread)) : undefined;
    return el('button', {
      type: 'button',
      class: `session ${session.status}${session.muted ? ' muted' : ''}`,
      title: other.name,
      'aria-label': states.filter(Boolean).join(', '),
      'aria-current': session.id === activeId ? 'true' : undefined,
      data: { id: session.id },
      on: { click: () => this.#does.select(session.id) },
    }, avatar(other), badge);
  }
}
