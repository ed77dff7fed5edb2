// Messages sent and received in one session, from which loss, duplicates and disorder are judged.
// This file does not depend on k6.

/** Read state of one side. */
class Reader {
  constructor(after) {
    /** Highest `seq` received from the server; `after` of the next join. */
    this.told = after;
    /** Everything up to this `seq` is known; own messages count by their acknowledgement. */
    this.whole = after;
    this.beyond = new Set();
    this.heard = new Set();
  }

  has(seq) {
    if (seq <= this.whole) return;
    this.beyond.add(seq);
    while (this.beyond.delete(this.whole + 1)) this.whole += 1;
  }

  holes(until) {
    let count = 0;
    for (let seq = this.whole + 1; seq <= until; seq += 1) count += this.beyond.has(seq) ? 0 : 1;
    return count;
  }
}

export class Ledger {
  constructor(after) {
    this.said = new Map();
    this.readers = { customer: new Reader(after), dentist: new Reader(after) };
    this.acknowledgements = 0;
    this.start = after;
    this.last = after;
  }

  /** Records a message, which is repeated until it is acknowledged. */
  say(clientId, from, now_ms) {
    this.said.set(clientId, { from, saidAt_ms: now_ms, seq: null, heard: false, again: false });
  }

  /** Records an acknowledgement. Returns the time of the send, or null if it was acknowledged before. */
  acknowledged(clientId, seq) {
    const entry = this.said.get(clientId);
    if (!entry || entry.seq !== null) return null;
    entry.seq = seq;
    this.acknowledgements += 1;
    this.last = Math.max(this.last, seq);
    this.readers[entry.from].has(seq);
    if (entry.heard) this.said.delete(clientId);
    return { saidAt_ms: entry.saidAt_ms, again: entry.again };
  }

  /**
   * Records a message that one side received live or in the reply to a join. Returns the fault,
   * `doubled` or `disordered`, and for the other side's message the time of its send.
   */
  heard(by, message) {
    const reader = this.readers[by];
    const own = message.sender.kind === by;
    const known = reader.heard.has(message.seq);
    const fault = known ? 'doubled' : message.seq <= reader.told ? 'disordered' : null;
    reader.told = Math.max(reader.told, message.seq);
    reader.heard.add(message.seq);
    reader.has(message.seq);
    this.last = Math.max(this.last, message.seq);
    const entry = this.said.get(message.clientId);
    if (own || known) return { fault };
    // Stored a second time under another number, despite the same `clientId`.
    if (!entry || entry.heard || (entry.seq !== null && entry.seq !== message.seq)) return { fault: 'doubled' };
    entry.heard = true;
    if (entry.seq !== null) this.said.delete(message.clientId);
    return { fault, saidAt_ms: entry.saidAt_ms, again: entry.again };
  }

  /** Messages of one side, or of both, without an acknowledgement, in order. */
  unanswered(from) {
    return [...this.said].filter(([, entry]) => entry.seq === null && (!from || entry.from === from));
  }

  /** Messages that were acknowledged but not delivered to the other side. */
  lost() {
    return [...this.said].filter(([, entry]) => entry.seq !== null && !entry.heard);
  }

  /** Numbers that a side has no message for, of both sides together. */
  holes() {
    return this.readers.customer.holes(this.last) + this.readers.dentist.holes(this.last);
  }

  settled() {
    return this.said.size === 0;
  }
}
