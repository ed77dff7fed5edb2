// A few pairs for ten seconds: does the target work at all, with this proxy and these tokens?
//
//   k6 run loadtest/smoke.js

import { scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'smoke',
  question: 'Does it work at all: here, through this proxy, with these tokens?',
  defaults: { PAIRS: 5, RATE: 2, DURATION: '10s', REST_EVERY: '1s' },
});
