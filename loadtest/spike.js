// A tenth of the pairs sends all the time. In the middle third of the run all others connect at once.
//
//   k6 run -e PAIRS=500 -e DURATION=90s loadtest/spike.js

import { scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'spike',
  question: 'When a crowd connects at once, who waits, and is everything as before when it has left?',
  defaults: { PAIRS: 300, RATE: 1, DURATION: '90s' },
  shape(set) {
    const third_s = Math.round(set.duration_s / 3);
    const steady = Math.max(1, Math.floor(set.pairs / 10));
    const rush = Math.max(1, set.pairs - steady);
    return {
      groups: [
        { name: 'steady', pairs: steady, from_s: 0, to_s: set.duration_s, ramp_s: third_s / 4 },
        { name: 'rush', pairs: rush, from_s: third_s, to_s: 2 * third_s, ramp_s: set.ramp_s },
      ],
      phases: [
        { name: 'before', to_s: third_s, factor: 1 },
        { name: 'rush', to_s: 2 * third_s, factor: 4 },
        // The backlog of the crowd may take some seconds.
        { name: 'leaving', to_s: 2 * third_s + third_s / 4, factor: 4 },
        { name: 'after', to_s: set.duration_s, factor: 1 },
      ],
    };
  },
});
