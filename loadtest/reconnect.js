// Every few seconds a crowd loses its connections in the same moment and comes back with `after`: all
// patients, then all dentists, then everyone. Who stays goes on writing, so there is something to miss.
//
//   k6 run -e PAIRS=200 -e RECONNECT_EVERY=10s -e AWAY=1s loadtest/reconnect.js

import { scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'reconnect',
  question: 'When all come back at once, how long does it take, and does anyone miss anything?',
  defaults: { PAIRS: 200, RATE: 2, RAMP: '5s', DURATION: '1m', RECONNECT_EVERY: '10s', P95_MS: 500, P99_MS: 2000 },
  also: (set) => ({
    reconnects: ['count>0'],
    reconnect_ms: [`p(95)<${4 * set.p95_ms}`],
    messages_caught_up: ['count>0'],
  }),
});
