// A few pairs for ten seconds, as a check of the target, the proxy and the tokens.
//
//   k6 run loadtest/smoke.js

import { scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'smoke',
  question: 'Does the target work, through this proxy and with these tokens?',
  defaults: { PAIRS: 5, RATE: 2, DURATION: '10s', REST_EVERY: '1s' },
});
