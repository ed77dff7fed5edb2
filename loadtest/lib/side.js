// One end of a conversation: a person with a connection that reconnects as an app's does.

import { clearTimeout, setTimeout } from 'k6/timers';
import { now_ms } from './clock.js';
import { complain, refused } from './errors.js';
import { metrics } from './metrics.js';

/** Limit of a reply. The server replies to a send within 8 s, if only with an error. */
const ANSWER_WITHIN_MS = 15000;
const COME_BACK_AFTER_MS = 1000;
const LIMITED_FOR_MS = 10000;
/** Errors after which a request is repeated. */
const TRY_AGAIN = ['rate_limited', 'busy', 'draining', 'unavailable', 'issuer_unavailable'];

export class Side {
  /** `place` is the index of its first base; each reconnection moves to the next one. */
  constructor(conversation, person, place) {
    this.conversation = conversation;
    this.person = person;
    this.place = place;
    this.wire = null;
    this.live = false;
    this.over = false;
    this.requests = new Map();
    this.lastId = 0;
    this.cameBack_ms = 0;
    this.times = 0;
  }

  /** Connects and joins; reconnects by itself from then on. */
  connect() {
    const { set, framing } = this.conversation;
    const [began_ms, again] = [now_ms(), this.times > 0];
    const base = set.bases[(this.place + this.times) % set.bases.length];
    const token = this.person.token();
    this.times += 1;
    this.delay_ms = COME_BACK_AFTER_MS;
    this.drained = false;
    // Events of an earlier connection are ignored.
    const ours = (then) => (...told) => { if (this.wire === wire && !this.over) then(...told); };
    let opened = false;
    const wire = framing(base, token, {
      open: ours(() => {
        opened = true;
        metrics.connections.add(1);
        this.join(began_ms, again);
      }),
      answer: ours((id, answer) => this.answered(id, answer)),
      push: ours((event, told) => this.told(event, told)),
      gone: ours((why) => {
        const limited = /close 4429|too_many_connections|answered with 429/.test(why);
        if (limited) metrics.refusals.add(1);
        else if (!this.drained && !why.includes('close 1001')) complain(opened ? 'connection' : 'connect', why, this.conversation.phase(now_ms()));
        this.leave((limited ? LIMITED_FOR_MS : this.delay_ms) * (0.5 + Math.random()));
      }),
    });
    this.wire = wire;
  }

  /** Closes the connection, and reconnects after a while. */
  leave(after_ms) {
    const { wire } = this;
    this.wire = null;
    this.live = false;
    this.requests = new Map();
    clearTimeout(this.watching);
    this.watching = null;
    if (wire) wire.close();
    if (this.over) return;
    metrics.reconnects.add(1);
    this.returning = setTimeout(() => this.connect(), after_ms);
  }

  /** Closes the connection for good. */
  end() {
    this.over = true;
    clearTimeout(this.returning);
    this.leave(0);
  }

  request(event, content, then) {
    const id = ++this.lastId;
    this.requests.set(id, { event, content, then, by_ms: now_ms() + ANSWER_WITHIN_MS });
    this.watching = this.watching || setTimeout(() => this.watch(), ANSWER_WITHIN_MS);
    this.wire.send(id, event, content);
  }

  /** Checks whether the oldest request waits for too long. One timer serves all requests. */
  watch() {
    const [oldest] = this.requests.values();
    this.watching = null;
    if (oldest && oldest.by_ms <= now_ms()) {
      complain('answer', `none to ${oldest.event}`, this.conversation.phase(now_ms()));
      this.leave(0);
    } else if (oldest) {
      this.watching = setTimeout(() => this.watch(), oldest.by_ms - now_ms());
    }
  }

  answered(id, answer) {
    const request = this.requests.get(id);
    if (!request) return;
    const { event, content, then } = request;
    this.requests.delete(id);
    if (answer.ok) {
      then(answer.data);
      return;
    }
    const { code, retryAfterMs } = answer.error;
    if (refused(code)) metrics.refusals.add(1);
    else if (code !== 'draining') complain('answer', `${event}: ${code}`, this.conversation.phase(now_ms()));
    // No repetition if limits end the run: it is useless, and k6 would warn about every pending
    // timer.
    if (!TRY_AGAIN.includes(code) || (refused(code) && this.conversation.set.refusals === 'fail')) return;
    const { wire } = this;
    const again = () => { if (wire === this.wire && !this.over) this.request(event, content, then); };
    setTimeout(again, retryAfterMs || COME_BACK_AFTER_MS);
  }

  join(began_ms, again) {
    const { conversation } = this;
    const after = conversation.ledger.readers[this.person.kind].told;
    this.request('session:join', { sessionId: conversation.id, after }, ({ messages }) => {
      (again ? metrics.reconnect : metrics.joining).add(now_ms() - began_ms);
      for (const message of messages) conversation.heard(this, message);
      this.live = true;
      this.cameBack_ms = again ? now_ms() : 0;
      for (const [clientId, entry] of conversation.ledger.unanswered(this.person.kind)) {
        entry.again = true;
        this.send(clientId);
      }
      conversation.moved();
    });
  }

  /** Sends a recorded message. Without a connection it is sent after the reconnection. */
  send(clientId) {
    if (!this.live) return;
    const { conversation } = this;
    const content = { sessionId: conversation.id, clientId, kind: 'text', body: conversation.body };
    this.request('message:send', content, ({ message }) => conversation.acknowledged(message));
  }

  told(event, content) {
    if (event === 'message:new') this.conversation.heard(this, content.message);
    else if (event === 'auth:expiring') this.refresh();
    else if (event === 'server:draining') {
      this.drained = true;
      this.delay_ms = content.reconnectAfterMs;
    }
  }

  /** Sends a new token before the old one ends. Tokens of a file cannot be renewed. */
  refresh() {
    try {
      const token = this.person.token(true);
      this.request('auth:refresh', { token }, () => metrics.refreshes.add(1));
    } catch (error) {
      complain('http', error.message, this.conversation.phase(now_ms()));
    }
  }
}
