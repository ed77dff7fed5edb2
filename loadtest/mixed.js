// Sockets and the HTTP API together: lists, unread counts, history, search, read positions, and sends
// by both ways into the same sessions.
//
//   k6 run -e PAIRS=100 -e REST_EVERY=1s loadtest/mixed.js

import { scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'mixed',
  question: 'Do sockets and the HTTP API slow each other down?',
  defaults: { PAIRS: 50, RATE: 1, RAMP: '10s', DURATION: '1m', REST_EVERY: '2s' },
  also: (set) => ({ 'http_req_duration{kind:rest}': [`p(95)<${set.restP95_ms}`] }),
});
