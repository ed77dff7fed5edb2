// Every few seconds many clients lose their connections at the same moment and rejoin with `after`: all
// customers, then all dentists, then everyone. The others continue to send, so that there are messages
// to catch up with.
//
//   k6 run -e PAIRS=200 -e RECONNECT_EVERY=10s -e AWAY=1s loadtest/reconnect.js

import { scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'reconnect',
  question: 'When many reconnect at once, how long does it take, and is a message missed?',
  defaults: { PAIRS: 200, RATE: 2, RAMP: '5s', DURATION: '1m', RECONNECT_EVERY: '10s', P95_MS: 500, P99_MS: 2000 },
  also: (set) => ({
    reconnects: ['count>0'],
    reconnect_ms: [`p(95)<${4 * set.p95_ms}`],
    messages_caught_up: ['count>0'],
  }),
});
