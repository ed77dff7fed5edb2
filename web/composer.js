// The form for messages: a text, a picture with a preview, a reply to a message, or a change of one.
// Each session has its own draft.

import { el } from './dom.js';
import { problem } from './images.js';
import { summary } from './line.js';
import { nameOf } from './people.js';

const TYPING_EVERY_MS = 2_000;

export class Composer {
  #form;
  #text;
  #note;
  #drafts;
  #does;
  #sessionId;
  #saidTyping = 0;

  /** `does` holds its actions: `send` {body, file, replyTo}, `edit` (message, body), `typing`. */
  constructor(form, drafts, does) {
    this.#form = form;
    this.#drafts = drafts;
    this.#does = does;
    this.#text = form.querySelector('textarea');
    this.#note = form.querySelector('.note');
    const picker = form.querySelector('input[type=file]');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener('input', () => this.#typed());
    this.#text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
      if (event.key === 'Escape') this.#cancel();
    });
    this.#text.addEventListener('paste', (event) => {
      if (event.clipboardData.files.length) this.attach(event.clipboardData.files[0]);
    });
    form.querySelector('.attach').addEventListener('click', () => picker.click());
    picker.addEventListener('change', () => {
      if (picker.files.length) this.attach(picker.files[0]);
      picker.value = '';
    });
    // A draft needs a session.
    this.enable(false);
    this.#text.placeholder = 'Connecting…';
  }

  enable(enabled) {
    for (const control of this.#form.querySelectorAll('textarea, button')) control.disabled = !enabled;
    this.#text.placeholder = enabled ? 'Write a message' : 'This conversation is closed';
  }

  /** Shows the draft of a session. */
  turnTo(sessionId) {
    if (sessionId === this.#sessionId) return;
    this.#sessionId = sessionId;
    this.#saidTyping = 0;
    this.#show();
  }

  /** Removes every draft. */
  clear() {
    this.#drafts.clear();
    if (this.#sessionId) this.#show();
  }

  /** Shows an error until the next action. */
  warn(text) {
    this.#noted(el('span', { class: 'warning', role: 'alert' }, text));
  }

  reply(message) {
    this.#change({ replyTo: message });
  }

  edit(message) {
    this.#change({ editing: { message, text: message.body } });
  }

  attach(file) {
    const wrong = problem(file);
    if (wrong) return this.warn(wrong);
    this.#change({ file, replyTo: this.#draft.replyTo });
  }

  get #draft() {
    return this.#drafts.of(this.#sessionId);
  }

  /** Sets the attachment of the text: a file, a reply or an edit replaces another. The text itself stays. */
  #change({ file, replyTo, editing }) {
    Object.assign(this.#draft, { file, replyTo, editing });
    this.#show();
    this.#text.focus();
  }

  #cancel() {
    Object.assign(this.#draft, { file: undefined, replyTo: undefined, editing: undefined });
    this.#show();
  }

  #show() {
    const { text, file, replyTo, editing } = this.#draft;
    const shown = editing ? editing.text : text;
    // Setting the value moves the caret to the end.
    if (this.#text.value !== shown) this.#text.value = shown;
    const notes = [];
    if (editing) notes.push(el('span', {}, 'Change your message'));
    if (file) notes.push(el('img', { src: URL.createObjectURL(file), alt: '', class: 'preview' }), el('span', {}, file.name));
    if (replyTo) notes.push(el('span', {}, 'Reply to ', el('strong', {}, nameOf(replyTo.sender)), ': ', summary(replyTo)));
    this.#noted(...notes);
  }

  #noted(...content) {
    const preview = this.#note.querySelector('img');
    if (preview) URL.revokeObjectURL(preview.src);
    const cancel = el('button', { type: 'button', class: 'plain', 'aria-label': 'Never mind', on: { click: () => this.#cancel() } }, '✕');
    this.#note.replaceChildren(...(content.length ? [...content, cancel] : []));
  }

  #submit() {
    const body = this.#text.value;
    const { file, replyTo, editing } = this.#draft;
    if (!body.trim() && !file) return;
    this.#saidTyping = 0;
    if (editing) this.#draft.editing = undefined;
    else this.#drafts.remove(this.#sessionId);
    this.#show();
    this.#does.typing(false);
    if (editing) this.#does.edit(editing.message, body);
    else this.#does.send({ body: body.trim() ? body : undefined, file, replyTo: replyTo?.id });
  }

  #typed() {
    const draft = this.#draft;
    if (draft.editing) draft.editing.text = this.#text.value;
    else {
      draft.text = this.#text.value;
      this.#drafts.store(this.#sessionId);
    }
    if (Date.now() - this.#saidTyping < TYPING_EVERY_MS) return;
    this.#saidTyping = Date.now();
    this.#does.typing(true);
  }
}
