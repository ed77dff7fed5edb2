// Full text search over one's own messages: hits with marked words, and links to them.

import { el, when } from './dom.js';
import { nameOf } from './people.js';

const WAIT_MS = 200;

export class Search {
  #form;
  #api;
  #does;
  #timer;
  #asked = 0;

  /** `does.found` is called with the selected message. */
  constructor(form, api, does) {
    this.#form = form;
    this.#api = api;
    this.#does = does;
    const input = form.querySelector('input');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#ask();
    });
    input.addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#ask(), WAIT_MS);
    });
    form.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.toggle(false);
    });
  }

  get open() {
    return !this.#form.hidden;
  }

  toggle(open = !this.open) {
    this.#form.hidden = !open;
    const input = this.#form.querySelector('input');
    if (open) input.focus();
    else {
      input.value = '';
      this.#results();
    }
    this.#does.toggled(open);
  }

  async #ask() {
    const q = this.#form.querySelector('input').value.trim();
    const asked = ++this.#asked;
    if (!q) return this.#results();
    let found;
    try {
      found = (await this.#api.request('GET', `/api/chats/search?q=${encodeURIComponent(q)}`)).items;
    } catch (error) {
      found = error;
    }
    // The answer to an older query may arrive last.
    if (asked !== this.#asked) return;
    if (found instanceof Error) this.#results(el('li', { class: 'nothing' }, found.message));
    else if (found.length === 0) this.#results(el('li', { class: 'nothing' }, 'Nothing found'));
    else this.#results(...found.map((item) => this.#result(item)));
  }

  #result({ message, snippet }) {
    const choose = () => this.#does.found(message);
    const pieces = snippet.map(({ text, hit }) => (hit ? el('mark', {}, text) : text));
    return el('li', {}, el('button', { type: 'button', on: { click: choose } },
      el('span', { class: 'from' }, `${nameOf(message.sender)} · ${when(message.createdAt)}`),
      el('span', { class: 'snippet', dir: 'auto' }, ...pieces)));
  }

  #results(...items) {
    this.#form.querySelector('.results').replaceChildren(...items);
  }
}
