// The same conversation in the Socket.IO framing: a third of the pairs over WebSockets, a third by
// polling, and a third natively. FRAMING=socketio or polling selects one, in every scenario.
//
//   k6 run loadtest/socketio.js

import { scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'socketio',
  question: 'Do Socket.IO apps receive the same, by WebSocket and by polling?',
  defaults: { PAIRS: 60, RATE: 1, RAMP: '10s', DURATION: '1m', FRAMING: 'all' },
});
