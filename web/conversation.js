// The messages of one session, in their order, with what is on its way at the end.

import { Line } from './line.js';

/** Room above the first unread message: its heading, and a part of what came before. */
const UNREAD_TOP_PX = 64;

export class Conversation {
  /** The highest `seq` that is here, and the revision up to which changes are. */
  lastSeq = 0;
  rev = 0;
  /** The epoch in which they count. */
  epoch;
  /** Up to where this side has read: the other side's latest message that was in view. */
  readSeq = 0;
  #list;
  #me;
  #api;
  #does;
  #lines = new Map(); // sender's kind and clientId → line: a clientId is its sender's own
  #byId = new Map();
  #otherReadSeq = 0;
  #otherDeliveredSeq = 0;
  #atEnd = true;
  #inView = new Map(); // the other side's lines, and whether their end is in view, once that is known
  #views = new IntersectionObserver((changes) => this.#viewed(changes), { threshold: 0.5 });

  /** `does` holds the actions of a line's buttons, and `viewed`, called when another part is in view. */
  constructor(list, me, api, does) {
    this.#list = list;
    this.#me = me;
    this.#api = api;
    // Whoever is at the end stays there, when the window or what is below changes its size.
    list.addEventListener('scroll', () => (this.#atEnd = this.#isAtEnd()));
    new ResizeObserver(() => this.#follow()).observe(list);
    document.addEventListener('visibilitychange', () => this.#read());
    // A menu that is left is closed.
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

  /** The lowest `seq` that is here. */
  get firstSeq() {
    const seqs = [...this.#byId.values()].map(({ seq }) => seq);
    return seqs.length ? Math.min(...seqs) : 0;
  }

  /** How many messages of the other side are here and were not in view. */
  get unread() {
    return [...this.#inView.keys()].filter(({ dataset }) => Number(dataset.seq) > this.readSeq).length;
  }

  /** This side has read so far, here or on another device. */
  isRead(seq) {
    this.readSeq = Math.max(this.readSeq, seq);
  }

  /** Marks where the other side's unread messages begin, and shows them from there. */
  begin() {
    this.#firstUnread()?.classList.add('first-unread');
    this.#follow();
  }

  /** The line of something that is being sent. */
  pending(clientId, content) {
    const line = this.#line(this.#me.kind, clientId);
    line.pending(content);
    this.#sort();
    this.toEnd();
    return line;
  }

  /** A message, new or changed. */
  show(message) {
    this.lastSeq = Math.max(this.lastSeq, message.seq);
    this.#byId.set(message.id, message);
    const line = this.#line(message.sender.kind, message.clientId);
    // What was told first may come last: an older state does not undo a newer one.
    if (line.message && (line.message.rev ?? 0) > (message.rev ?? 0)) return;
    line.show(message);
    if (message.rev === this.rev + 1) this.rev = message.rev;
    this.#sort();
    this.#tick(line);
  }

  /** How far the other side has had and read them. */
  positions(readSeq = 0, deliveredSeq = 0) {
    this.#otherReadSeq = Math.max(this.#otherReadSeq, readSeq);
    this.#otherDeliveredSeq = Math.max(this.#otherDeliveredSeq, deliveredSeq);
    this.#lines.forEach((line) => this.#tick(line));
  }

  /** Scrolls to a message and shows which one it is. */
  jump(seq) {
    const line = this.#list.querySelector(`[data-seq="${Number(seq)}"]`);
    if (!line) return false;
    line.scrollIntoView({ block: 'center' });
    line.classList.remove('found');
    // Begun anew, also where it is still under way.
    void line.offsetWidth;
    line.classList.add('found');
    return true;
  }

  /** Messages from before: what is on the screen stays where it is. */
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

  #line(kind, clientId) {
    const key = `${kind} ${clientId}`;
    if (!this.#lines.has(key)) {
      const line = new Line(this.#me, kind === this.#me.kind, this.#api, this.#does);
      this.#lines.set(key, line);
      this.#list.append(line.element);
      if (!line.mine) this.#views.observe(line.foot);
    }
    return this.#lines.get(key);
  }

  #viewed(changes) {
    for (const { target, isIntersecting } of changes) {
      // A line of a session that was left may come last.
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

  /** Stays at the end, but leaves no unread message behind out of view: more of them than fit are shown from the first. */
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
