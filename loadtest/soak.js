// A run for hours, with reconnections and expiring tokens. It shows whether the target gets slower, or leaks.
//
//   k6 run -e DURATION=4h loadtest/soak.js

import { everyone, scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'soak',
  question: 'After hours, is the target as fast as at the start?',
  defaults: { PAIRS: 100, RATE: 1, RAMP: '20s', DURATION: '1h', RECONNECT_EVERY: '5m', AWAY: '30s', GRACE: '45s' },
  shape: (set) => ({
    groups: [everyone(set)],
    phases: [1, 2, 3, 4].map((quarter) => (
      { name: `quarter_${quarter}`, to_s: (set.duration_s * quarter) / 4, factor: 1 }
    )),
  }),
});
