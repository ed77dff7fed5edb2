// The messages of one session, in their order, with unsent ones at the end.

import { Line } from './line.js';
import { isSame } from './people.js';

/** Space above the first unread message: for its heading, and a part of the message before. */
const UNREAD_TOP_PX = 64;

export class Conversation {
  /** The highest `seq` that is shown, and the revision up to which changes are applied. */
  lastSeq = 0;
  rev = 0;
  /** The epoch in which they count. */
  epoch;
  /** Read position of this side: the other side's latest message that was in view. */
  readSeq = 0;
  #list;
  #me;
  #api;
  #does;
  #lines = new Map(); // sender's kind and clientId → line: a clientId is unique only for its sender
  #byId = new Map();
  #otherReadSeq = 0;
  #otherDeliveredSeq = 0;
  #atEnd = true;
  #inView = new Map(); // the other side's lines → whether their end is in view, once known
  #views = new IntersectionObserver((changes) => this.#viewed(changes), { threshold: 0.5 });

  /** `does` holds the actions of a line's buttons, and `viewed`, called when the view has changed. */
  constructor(list, me, api, does) {
    this.#list = list;
    this.#me = me;
    this.#api = api;
    // A view at the end stays there when the window or the elements below change their size.
    list.addEventListener('scroll', () => (this.#atEnd = this.#isAtEnd()));
    new ResizeObserver(() => this.#follow()).observe(list);
    document.addEventListener('visibilitychange', () => this.#read());
    // A click outside closes a menu.
    document.addEventListener('click', ({ target }) => this.#closeMenus((menu) => !menu.contains(target)));
    list.addEventListener('keydown', ({ key }) => key === 'Escape' && this.#closeMenus(() => true));
    this.#does = { ...does, find: (id) => this.#byId.get(id), jump: (seq) => this.jump(seq) };
  }

  clear() {
    this.#views.disconnect();
    this.#inView.clear();
    this.#list.replaceChildren();
    this.#lines.clear();
    this.#byId.clear();
    this.#atEnd = true;
    this.epoch = undefined;
    this.lastSeq = this.rev = this.readSeq = this.#otherReadSeq = this.#otherDeliveredSeq = 0;
  }

  /** The lowest `seq` that is shown. */
  get firstSeq() {
    const seqs = [...this.#byId.values()].map(({ seq }) => seq);
    return seqs.length ? Math.min(...seqs) : 0;
  }

  /** Number of the other side's messages that are shown and were not in view. */
  get unread() {
    return [...this.#inView.keys()].filter(({ dataset }) => Number(dataset.seq) > this.readSeq).length;
  }

  /** Moves the read position of this side, from here or from another device. */
  isRead(seq) {
    this.readSeq = Math.max(this.readSeq, seq);
  }

  /** Marks the beginning of the other side's unread messages, and shows them from there. */
  begin() {
    this.#firstUnread()?.classList.add('first-unread');
    this.#follow();
  }

  /** The line of a message that is being sent. */
  pending(clientId, content) {
    const line = this.#line(this.#me, clientId);
    line.pending(content);
    this.#sort();
    this.toEnd();
    return line;
  }

  /** Shows a message, new or changed. */
  show(message) {
    this.lastSeq = Math.max(this.lastSeq, message.seq);
    this.#byId.set(message.id, message);
    const line = this.#line(message.sender, message.clientId);
    // Events may arrive out of order: an older state does not replace a newer one.
    if (line.message && (line.message.rev ?? 0) > (message.rev ?? 0)) return;
    line.show(message);
    if (message.rev === this.rev + 1) this.rev = message.rev;
    this.#sort();
    this.#tick(line);
  }

  /** Moves the positions up to which the other side has received and read. */
  positions(readSeq = 0, deliveredSeq = 0) {
    this.#otherReadSeq = Math.max(this.#otherReadSeq, readSeq);
    this.#otherDeliveredSeq = Math.max(this.#otherDeliveredSeq, deliveredSeq);
    this.#lines.forEach((line) => this.#tick(line));
  }

  /** Scrolls to a message and highlights it. */
  jump(seq) {
    const line = this.#list.querySelector(`[data-seq="${Number(seq)}"]`);
    if (!line) return false;
    line.scrollIntoView({ block: 'center' });
    line.classList.remove('found');
    // Forces a layout, so that the animation restarts even while it runs.
    void line.offsetWidth;
    line.classList.add('found');
    return true;
  }

  /** Shows earlier messages: the visible ones keep their places on the screen. */
  showOlder(messages) {
    const list = this.#list;
    const fromEnd = list.scrollHeight - list.scrollTop;
    messages.forEach((message) => this.show(message));
    list.scrollTop = list.scrollHeight - fromEnd;
  }

  #closeMenus(which) {
    const open = [...this.#list.querySelectorAll('details[open]')];
    open.filter(which).forEach((menu) => (menu.open = false));
  }

  #line(sender, clientId) {
    const key = `${sender.kind} ${sender.id} ${clientId}`;
    if (!this.#lines.has(key)) {
      const line = new Line(this.#me, isSame(sender, this.#me), this.#api, this.#does);
      this.#lines.set(key, line);
      this.#list.append(line.element);
      if (!line.mine) this.#views.observe(line.foot);
    }
    return this.#lines.get(key);
  }

  #viewed(changes) {
    for (const { target, isIntersecting } of changes) {
      // The last changes may belong to a session that was left.
      const line = this.#list.contains(target) && target.closest('li');
      if (line) this.#inView.set(line, isIntersecting);
    }
    this.#read();
  }

  #read() {
    if (document.visibilityState !== 'visible') return;
    for (const [line, inView] of this.#inView) {
      if (inView) this.readSeq = Math.max(this.readSeq, Number(line.dataset.seq));
    }
    this.#does.viewed();
  }

  #tick(line) {
    if (!line.message) return;
    const { seq } = line.message;
    if (seq <= this.#otherReadSeq) line.tick('read');
    else line.tick(seq <= this.#otherDeliveredSeq ? 'delivered' : 'sent');
  }

  #sort() {
    const list = this.#list;
    const seq = (line) => Number(line.dataset.seq ?? Infinity);
    const lines = [...list.children];
    const sorted = lines.toSorted((a, b) => seq(a) - seq(b));
    if (sorted.some((line, at) => line !== lines[at])) list.append(...sorted);
    this.#follow();
  }

  #firstUnread() {
    const theirs = [...this.#list.querySelectorAll('.theirs')];
    return theirs.find(({ dataset }) => Number(dataset.seq) > this.readSeq);
  }

  /** Stays at the end, but skips no unread message: if they do not fit, it shows them from the first. */
  #follow() {
    if (!this.#atEnd) return;
    this.toEnd();
    const first = this.#firstUnread();
    const above = first ? this.#list.getBoundingClientRect().top - first.getBoundingClientRect().top : 0;
    if (above <= 0) return;
    first.classList.add('first-unread');
    this.#list.scrollTop -= above + UNREAD_TOP_PX;
    this.#atEnd = this.#isAtEnd();
  }

  toEnd() {
    this.#atEnd = true;
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < 120;
  }
}
