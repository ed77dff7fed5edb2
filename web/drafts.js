// Drafts of one person, one for each session: a text, a picture, a reply, or a change of a message.

export class Drafts {
  #prefix;
  #drafts = new Map();

  constructor({ kind, id }) {
    this.#prefix = `draft ${kind}:${id} `;
  }

  /** The draft of a session: `{text, file?, replyTo?, editing?: {message, text}}`. */
  of(sessionId) {
    if (!this.#drafts.has(sessionId)) this.#drafts.set(sessionId, { text: this.#stored(sessionId) });
    return this.#drafts.get(sessionId);
  }

  /** Stores the text, so that it survives a reload. */
  store(sessionId) {
    const { text } = this.of(sessionId);
    storage((tab) => (text ? tab.setItem(this.#prefix + sessionId, text) : tab.removeItem(this.#prefix + sessionId)));
  }

  /** Removes the draft of a session. */
  remove(sessionId) {
    this.#drafts.delete(sessionId);
    storage((tab) => tab.removeItem(this.#prefix + sessionId));
  }

  /** Removes all drafts of this person. */
  clear() {
    this.#drafts.clear();
    const own = (key) => key.startsWith(this.#prefix);
    storage((tab) => Object.keys(tab).filter(own).forEach((key) => tab.removeItem(key)));
  }

  #stored(sessionId) {
    return storage((tab) => tab.getItem(this.#prefix + sessionId)) ?? '';
  }
}

// The tab's own storage: it stays on this device and ends with the tab. If the browser forbids it,
// a draft does not survive a reload.
function storage(use) {
  try {
    return use(sessionStorage);
  } catch {
    return undefined;
  }
}
