// The results of a run, taken from the metrics of k6: the numbers of every report.

import { ERRORS } from './metrics.js';

/** Thresholds that also fail when limits refuse clients and end the run. */
const FOLLOWING = /^(checks|conversations_unjudged|messages_(unanswered|delivered|caught_up)|reconnect|delivery_ms|http_req_duration)/;

/** The results, taken from the metrics of k6. */
export function findings({ name, question, set, pairs, phases }, { metrics, state }) {
  const values = (metric) => metrics[metric]?.values ?? {};
  const count = (metric) => values(metric).count ?? 0;
  const trend = (metric) => {
    const { med = 0, 'p(95)': p95 = 0, 'p(99)': p99 = 0, max = 0, count: samples = 0 } = values(metric);
    return { samples, p50_ms: round(med), p95_ms: round(p95), p99_ms: round(p99), max_ms: round(max) };
  };
  const turnedAway = set.refusals === 'fail' && count('refusals') > 0;
  const thresholds = Object.entries(metrics).flatMap(([metric, { thresholds: all = {} }]) => (
    Object.entries(all).filter(([rule]) => !rule.endsWith('>=0')).map(([rule, { ok }]) => (
      { metric, rule, value: valueOf(rule, values(metric)), ok, follows: turnedAway && !ok && FOLLOWING.test(metric) }
    ))
  ));
  // Failures come first, and consequences of the refusals after the other failures.
  thresholds.sort((one, other) => one.ok - other.ok || one.follows - other.follows || one.metric.localeCompare(other.metric));
  const passed = thresholds.every(({ ok }) => ok);
  const numbers = {
    sent: count('messages_sent'), acknowledged: count('messages_acknowledged'),
    delivered: count('messages_delivered'), caughtUp: count('messages_caught_up'),
    lost: count('messages_lost'), vanished: count('messages_vanished'),
    unanswered: count('messages_unanswered'), doubled: count('messages_doubled'),
    disordered: count('messages_disordered'), holes: count('seq_holes'),
    connections: count('connections'), reconnects: count('reconnects'),
    tokenRefreshes: count('token_refreshes'), refusals: count('refusals'),
    unjudged: count('conversations_unjudged'), errors: count('errors'),
  };
  let from_s = 0;
  return {
    scenario: name,
    question,
    passed,
    target: set.bases,
    framing: set.framing,
    pairs,
    ratePerPair: set.ratePerPair,
    duration_s: round(state.testRunDurationMs / 1000),
    advice: advice(numbers, metrics, set),
    numbers,
    errorsOf: Object.fromEntries(ERRORS.map((kind) => [kind, count(`errors{of:${kind}}`)])),
    latencies: {
      'delivery, both connected': trend('delivery_ms{way:live}'),
      // Only with several framings.
      '- native': trend('delivery_ms{way:live,framing:native}'),
      '- Socket.IO by WebSocket': trend('delivery_ms{way:live,framing:socketio}'),
      '- Socket.IO by polls': trend('delivery_ms{way:live,framing:polling}'),
      'delivery, caught up with': trend('delivery_ms{way:caught_up}'),
      acknowledgement: trend('acknowledgement_ms{way:live}'),
      'connecting and joining': trend('join_ms'),
      'coming back': trend('reconnect_ms'),
      'k6 behind its pace': trend('k6_lag_ms'),
      'HTTP API': trend('http_req_duration{kind:rest}'),
    },
    phases: phases.map((phase) => {
      const length_s = Math.max(0.001, phase.to_s - from_s);
      from_s = phase.to_s;
      const delivered = count(`messages_delivered{phase:${phase.name}}`);
      return {
        name: phase.name,
        delivered,
        deliveredPerS: round(delivered / length_s),
        errors: count(`errors{phase:${phase.name}}`),
        delivery: trend(`delivery_ms{way:live,phase:${phase.name}}`),
        acknowledgement: trend(`acknowledgement_ms{way:live,phase:${phase.name}}`),
      };
    }),
    checks: { passes: values('checks').passes ?? 0, fails: values('checks').fails ?? 0 },
    thresholds,
  };
}

/** Advice on common results. */
function advice(numbers, metrics, set) {
  const said = [];
  if (numbers.refusals > 0 && set.refusals === 'fail') {
    said.push('The limits of the target refuse clients, because a load test has one address and few people. '
      + 'Start its nodes with LIMIT_SENDS_PER_USER_S=0 LIMIT_CONNECTIONS_PER_USER=0 '
      + 'LIMIT_CONNECTIONS_PER_ADDRESS=0 LIMIT_REQUESTS_PER_ADDRESS_S=0 LIMIT_OPENS_PER_USER=0 '
      + 'LIMIT_UNANSWERED_PER_USER=0, '
      + 'or measure the limits themselves with REFUSALS=allow.');
  }
  if (numbers.unjudged > 0 && numbers.refusals === 0) {
    said.push('Conversations ended before they could be judged: the run was stopped, or the k6 machine is too slow for so many pairs.');
  }
  if (metrics.k6_lag_ms?.values?.['p(95)'] > 100) {
    said.push('k6 itself is behind its pace, which raises the measured latencies. Use a larger machine, several machines, or fewer pairs.');
  }
  if (numbers.lost > 0) said.push('Messages were acknowledged and not delivered within GRACE. This is a bug of the server; please report it.');
  if (numbers.vanished > 0) said.push('The server has stored fewer messages than it acknowledged. This is a bug of the server; please report it.');
  if (!(metrics.messages_delivered?.values?.count > 0)) said.push('No message was delivered, so nothing was measured.');
  return said;
}

/** Measured value for a rule like `p(95)<250`. A rate is rounded down, so that 1 means all. */
function valueOf(rule, values) {
  const [of] = /^[a-z]+(\(\d+\))?/.exec(rule);
  const value = values[of] ?? 0;
  return of === 'rate' ? Math.floor(value * 10000) / 10000 : round(value);
}

function round(value) {
  return Math.round(value * 10) / 10;
}

export function framings({ framing }) {
  return framing === 'all' ? 'framings in turn' : `${framing} framing`;
}

/** Latencies with samples. */
export function measured(found) {
  return Object.entries(found.latencies).filter(([, { samples, max_ms }]) => samples > 0 || max_ms > 0);
}
