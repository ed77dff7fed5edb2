// The pairs of a busy day. They start one after the other and send at a usual pace.
//
//   k6 run -e PAIRS=100 -e RATE=1 -e DURATION=2m loadtest/load.js

import { everyone, scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'load',
  question: 'On a busy day, does everyone receive every message in time?',
  defaults: { PAIRS: 100, RATE: 1, RAMP: '20s', DURATION: '2m' },
  shape: (set) => ({
    groups: [everyone(set)],
    phases: [
      { name: 'coming', to_s: Math.min(set.ramp_s, set.duration_s / 2), factor: 1 },
      { name: 'everyone', to_s: set.duration_s, factor: 1 },
    ],
  }),
});
