// Metrics of the load test besides those of k6, and their thresholds.

import { Counter, Trend } from 'k6/metrics';
import { FRAMINGS } from './framings.js';

export const metrics = {
  delivery: new Trend('delivery_ms', true),
  acknowledgement: new Trend('acknowledgement_ms', true),
  // Delay of k6 behind its own pace. Latency from it is not the server's.
  lag: new Trend('k6_lag_ms', true),
  joining: new Trend('join_ms', true),
  reconnect: new Trend('reconnect_ms', true),
  sent: new Counter('messages_sent'),
  acknowledged: new Counter('messages_acknowledged'),
  delivered: new Counter('messages_delivered'),
  caughtUp: new Counter('messages_caught_up'),
  lost: new Counter('messages_lost'),
  vanished: new Counter('messages_vanished'),
  unanswered: new Counter('messages_unanswered'),
  doubled: new Counter('messages_doubled'),
  disordered: new Counter('messages_disordered'),
  holes: new Counter('seq_holes'),
  connections: new Counter('connections'),
  reconnects: new Counter('reconnects'),
  refreshes: new Counter('token_refreshes'),
  refusals: new Counter('refusals'),
  errors: new Counter('errors'),
  // Raised when a conversation begins and lowered when it is judged, so that it ends at 0.
  unjudged: new Counter('conversations_unjudged'),
};

/** Kinds of errors; each has a row in the report. */
export const ERRORS = ['connect', 'connection', 'answer', 'http'];

/** Thresholds of every scenario. */
export function thresholds(set, phases) {
  const zero = ['count==0'];
  const all = {
    checks: ['rate==1'],
    messages_delivered: ['count>0'],
    messages_lost: zero,
    messages_vanished: zero,
    messages_unanswered: zero,
    messages_doubled: zero,
    messages_disordered: zero,
    seq_holes: zero,
    conversations_unjudged: zero,
    errors: [`count<=${set.maxErrors}`],
    // With the limits on, a run would measure them, so it is aborted.
    refusals: set.refusals === 'allow' ? ['count>=0'] : [{ threshold: 'count==0', abortOnFail: true }],
    // Sent while both were connected; the others are late by the time that one was away.
    'delivery_ms{way:live}': ['p(95)>=0'],
    'delivery_ms{way:caught_up}': ['p(95)>=0'],
    'acknowledgement_ms{way:live}': ['p(95)>=0'],
    'http_req_duration{kind:rest}': ['p(95)>=0'],
  };
  // A threshold that always holds makes k6 keep the tagged metric for the report.
  for (const kind of ERRORS) all[`errors{of:${kind}}`] = ['count>=0'];
  for (const framing of Object.keys(FRAMINGS)) {
    if (set.framing === 'all') all[`delivery_ms{way:live,framing:${framing}}`] = ['p(95)>=0'];
  }
  for (const phase of phases) {
    const limits = [`p(95)<${set.p95_ms * phase.factor}`, `p(99)<${set.p99_ms * phase.factor}`];
    all[`delivery_ms{way:live,phase:${phase.name}}`] = phase.factor ? limits : ['p(95)>=0'];
    all[`acknowledgement_ms{way:live,phase:${phase.name}}`] = ['p(95)>=0'];
    all[`messages_delivered{phase:${phase.name}}`] = ['count>=0'];
    all[`errors{phase:${phase.name}}`] = ['count>=0'];
  }
  return all;
}
