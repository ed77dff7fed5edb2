// Who has said what in one session, and who has heard it: from this loss, doubles and disorder are
// judged. It knows nothing of k6.

/** How far one side has read, and what of it came how. */
class Reader {
  constructor(after) {
    /** The highest `seq` that the server has told: what a join names as `after`. */
    this.told = after;
    /** Up to here there is no hole, counting one's own messages by their acknowledgement. */
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

  /** Someone says something, and will say it again until it is acknowledged. */
  say(clientId, from, now_ms) {
    this.said.set(clientId, { from, saidAt_ms: now_ms, seq: null, heard: false, again: false });
  }

  /** It is committed. Tells when it was said, and nothing where that was known. */
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
   * One side is told of a message, by a push or in the answer to a join. Tells what is wrong with
   * it: `doubled` or `disordered`; and of the other side's, when it was said.
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
    // Stored a second time under another number, though its `clientId` is the same.
    if (!entry || entry.heard || (entry.seq !== null && entry.seq !== message.seq)) return { fault: 'doubled' };
    entry.heard = true;
    if (entry.seq !== null) this.said.delete(message.clientId);
    return { fault, saidAt_ms: entry.saidAt_ms, again: entry.again };
  }

  /** What one side has said and knows no answer to, in its order. */
  unanswered(from) {
    return [...this.said].filter(([, entry]) => entry.seq === null && (!from || entry.from === from));
  }

  /** What is acknowledged, but was never told to the other side. */
  lost() {
    return [...this.said].filter(([, entry]) => entry.seq !== null && !entry.heard);
  }

  /** Numbers that one side, or the other, has no message for. */
  holes() {
    return this.readers.customer.holes(this.last) + this.readers.dentist.holes(this.last);
  }

  settled() {
    return this.said.size === 0;
  }
}
