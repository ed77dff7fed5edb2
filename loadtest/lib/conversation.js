// The conversation of a pair: both ends send in turn at a steady pace until the end. Then all open
// messages are waited for and judged.

import { check } from 'k6';
import http from 'k6/http';
import { clearTimeout, setTimeout } from 'k6/timers';
import { now_ms, wait } from './clock.js';
import { codeOf, complain, refused } from './errors.js';
import { FRAMINGS } from './framings.js';
import { Ledger } from './ledger.js';
import { metrics } from './metrics.js';
import { Rest } from './rest.js';
import { Side } from './side.js';

/** Kinds of people whose connections are cut in the first, second and third storm, and so on. */
const STORMS = [['customer'], ['dentist'], ['customer', 'dentist']];

export class Conversation {
  constructor(set, pair, number, framing, phase) {
    this.set = set;
    this.framing = FRAMINGS[framing];
    // The tag is set only with several framings, because tags cost memory in k6.
    this.tags = set.framing === 'all' ? { framing } : {};
    this.phase = phase;
    this.pair = pair;
    this.number = number;
    this.body = 'x'.repeat(set.bodyChars);
    this.saidCount = 0;
    this.moved = () => {};
  }

  /** Opens the session, as the customer's app does; false if that fails. */
  open() {
    const { customer, dentist } = this.pair;
    const answer = http.post(`${this.set.bases[0]}/api/chats`, JSON.stringify({ dentistId: dentist.id }), {
      headers: { 'content-type': 'application/json', authorization: `Bearer ${customer.token()}` },
      tags: { name: 'POST /api/chats' },
    });
    const opened = check(answer, { 'a session opens': ({ status }) => status === 200 || status === 201 });
    if (!opened) {
      const code = codeOf(answer);
      if (refused(code)) metrics.refusals.add(1);
      else complain('http', `POST /api/chats: ${answer.status} ${code}${HINTS[code] || ''}`, this.phase(now_ms()));
      return false;
    }
    const session = answer.json();
    this.id = session.id;
    this.ledger = new Ledger(session.lastSeq);
    // The sides connect to different nodes if there are several; half of the pairs the other way
    // round.
    this.sides = [new Side(this, customer, this.number), new Side(this, dentist, this.number + 1)];
    this.rest = new Rest(this);
    return true;
  }

  /** Sends until the given time and judges the result; both arguments are times of the run. */
  async hold(until_ms, storms_ms) {
    metrics.unjudged.add(1);
    for (const side of this.sides) side.connect();
    const both = () => this.sides.every((side) => side.live);
    await this.until(both, until_ms);
    check(this, { 'both sides join': both });
    const alongside = [this.talk(until_ms), this.storm(storms_ms, until_ms), this.rest.use(until_ms)];
    await Promise.all(alongside);
    await this.until(() => this.ledger.settled(), now_ms() + this.set.grace_s * 1000);
    this.judge();
    for (const side of this.sides) side.end();
    metrics.unjudged.add(-1);
  }

  /** The pace does not wait for replies, so a slow reply makes the later messages late too. */
  async talk(until_ms) {
    const every_ms = 1000 / this.set.ratePerPair;
    let due_ms = now_ms() + Math.random() * every_ms;
    for (let turn = 0; due_ms < until_ms; turn += 1) {
      await wait(due_ms - now_ms());
      metrics.lag.add(Math.max(0, now_ms() - due_ms));
      this.say(this.sides[turn % 2]);
      due_ms += every_ms;
    }
  }

  say(side) {
    side.send(this.note(side.person.kind));
  }

  /** Records the next message under a new `clientId`. */
  note(kind) {
    this.saidCount += 1;
    const clientId = `${kind[0]}-${this.ledger.start}-${this.saidCount}`;
    metrics.sent.add(1);
    this.ledger.say(clientId, kind, now_ms());
    return clientId;
  }

  async storm(storms_ms, until_ms) {
    for (let turn = 0; turn < storms_ms.length && storms_ms[turn] < until_ms; turn += 1) {
      await wait(storms_ms[turn] - now_ms());
      const cut = this.sides.filter(({ person }) => STORMS[turn % 3].includes(person.kind));
      for (const side of cut) side.leave(Math.random() * this.set.away_s * 1000);
    }
  }

  acknowledged(message) {
    const entry = this.ledger.acknowledged(message.clientId, message.seq);
    if (entry) {
      const { saidAt_ms, again } = entry;
      const [phase, way] = [this.phase(saidAt_ms), again ? 'caught_up' : 'live'];
      metrics.acknowledged.add(1);
      metrics.acknowledgement.add(now_ms() - saidAt_ms, { phase, way });
    }
    this.moved();
  }

  heard(side, message) {
    const { fault, saidAt_ms, again } = this.ledger.heard(side.person.kind, message);
    if (fault) metrics[fault].add(1);
    if (saidAt_ms !== undefined) {
      const way = again || saidAt_ms < side.cameBack_ms || !side.live ? 'caught_up' : 'live';
      const phase = this.phase(saidAt_ms);
      metrics.delivered.add(1, { phase });
      if (way === 'caught_up') metrics.caughtUp.add(1);
      metrics.delivery.add(now_ms() - saidAt_ms, { ...this.tags, phase, way });
    }
    this.moved();
  }

  /** Waits for a condition or the given time; the condition is checked whenever something arrives. */
  until(is, by_ms) {
    if (is()) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => done(), Math.max(0, by_ms - now_ms()));
      const done = () => {
        clearTimeout(timer);
        this.moved = () => {};
        resolve();
      };
      this.moved = () => { if (is()) done(); };
    });
  }

  judge() {
    const { ledger } = this;
    const [unanswered, lost, holes] = [ledger.unanswered(), ledger.lost(), ledger.holes()];
    metrics.unanswered.add(unanswered.length);
    metrics.lost.add(lost.length);
    metrics.holes.add(holes);
    const answer = http.get(`${this.set.bases[0]}/api/chats/${this.id}`, {
      headers: { authorization: `Bearer ${this.pair.customer.token()}` },
      tags: { name: 'GET /api/chats/{id}' },
    });
    const kept = answer.status === 200 ? answer.json('lastSeq') - ledger.start : null;
    if (kept === null && refused(codeOf(answer))) metrics.refusals.add(1);
    else if (kept === null) complain('http', `GET /api/chats/{id}: ${answer.status || answer.error}`, this.phase(now_ms()));
    // The server must have stored exactly the acknowledged messages, each once.
    const missing = kept === null ? 0 : ledger.acknowledgements - kept;
    metrics.vanished.add(Math.max(0, missing));
    metrics.doubled.add(Math.max(0, -missing - unanswered.length));
    check(this, {
      'everything is acknowledged': () => unanswered.length === 0,
      'everything acknowledged is delivered': () => lost.length === 0,
      'no number is missing': () => holes === 0,
      'the server keeps what it acknowledged, once': () => missing === 0 || (missing < 0 && -missing <= unanswered.length),
    });
  }
}

/** Hints for common refusals. */
const HINTS = {
  person_not_found: ': the directory does not know the dentist; give CUSTOMER_IDS and DENTIST_IDS',
  token_invalid: ': is it the issuer that the node trusts? See TOKENS_FILE, ISSUER_URL, DJANGO_JWT_SECRET',
};
