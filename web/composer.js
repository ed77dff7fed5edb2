// Where one writes: a text, a picture with a preview, an answer to a message, or a change of one.

import { el } from './dom.js';
import { problem } from './images.js';
import { summary } from './line.js';

const TYPING_EVERY_MS = 2_000;

export class Composer {
  #form;
  #text;
  #note;
  #does;
  #file;
  #replyTo;
  #editing;
  #saidTyping = 0;

  /** `does` is what it leads to: `send` {body, file, replyTo}, `edit` (message, body), `typing`. */
  constructor(form, does) {
    this.#form = form;
    this.#does = does;
    this.#text = form.querySelector('textarea');
    this.#note = form.querySelector('.note');
    const picker = form.querySelector('input[type=file]');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener('input', () => this.#typing());
    this.#text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
      if (event.key === 'Escape') this.reset();
    });
    this.#text.addEventListener('paste', (event) => {
      if (event.clipboardData.files.length) this.attach(event.clipboardData.files[0]);
    });
    form.querySelector('.attach').addEventListener('click', () => picker.click());
    picker.addEventListener('change', () => {
      if (picker.files.length) this.attach(picker.files[0]);
      picker.value = '';
    });
  }

  enable(enabled) {
    for (const control of this.#form.querySelectorAll('textarea, button')) control.disabled = !enabled;
    this.#text.placeholder = enabled ? 'Write a message' : 'This conversation is closed';
  }

  /** Shows what has gone wrong, until the next thing is done. */
  warn(text) {
    this.#noted(el('span', { class: 'warning', role: 'alert' }, text));
  }

  reply(message) {
    this.reset();
    this.#replyTo = message;
    this.#noted(el('span', {}, 'Reply to ', el('strong', {}, message.sender.name), ': ', summary(message)));
    this.#text.focus();
  }

  edit(message) {
    this.reset();
    this.#editing = message;
    this.#text.value = message.body;
    this.#noted(el('span', {}, 'Change your message'));
    this.#text.focus();
  }

  attach(file) {
    const wrong = problem(file);
    if (wrong) return this.warn(wrong);
    this.#file = file;
    const preview = el('img', { src: URL.createObjectURL(file), alt: '', class: 'preview' });
    this.#noted(preview, el('span', {}, file.name));
    this.#text.focus();
  }

  reset() {
    if (this.#editing) this.#text.value = '';
    this.#file = this.#replyTo = this.#editing = undefined;
    const preview = this.#note.querySelector('img');
    if (preview) URL.revokeObjectURL(preview.src);
    this.#note.replaceChildren();
  }

  #noted(...content) {
    const cancel = el('button', { type: 'button', class: 'plain', 'aria-label': 'Never mind', on: { click: () => this.reset() } }, '✕');
    this.#note.replaceChildren(...content, cancel);
  }

  #submit() {
    const body = this.#text.value;
    if (!body.trim() && !this.#file) return;
    const [file, replyTo, editing] = [this.#file, this.#replyTo, this.#editing];
    this.#saidTyping = 0;
    this.#text.value = '';
    this.reset();
    this.#does.typing(false);
    if (editing) this.#does.edit(editing, body);
    else this.#does.send({ body: body.trim() ? body : undefined, file, replyTo: replyTo?.id });
  }

  #typing() {
    if (Date.now() - this.#saidTyping < TYPING_EVERY_MS) return;
    this.#saidTyping = Date.now();
    this.#does.typing(true);
  }
}
