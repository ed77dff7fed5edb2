// More pairs in each step, up to PAIRS. It shows at how many pairs delivery becomes late. Only the first step
// has limits on latency; no message may be lost in any step.
//
//   k6 run -e PAIRS=1000 -e RATE=2 -e STEPS=5 -e DURATION=5m loadtest/stress.js

import { scenario } from './lib/run.js';

export const { options, setup, talk, handleSummary } = scenario({
  name: 'stress',
  question: 'At how many pairs does delivery become late?',
  defaults: { PAIRS: 500, RATE: 2, STEPS: 5, DURATION: '2m30s' },
  shape(set) {
    const steps = Math.min(set.steps, set.pairs);
    const length_s = set.duration_s / steps;
    const groups = [];
    const phases = [];
    for (let step = 0; step < steps; step += 1) {
      const upTo = (count) => Math.floor((set.pairs * count) / steps);
      const from_s = Math.round(step * length_s);
      groups.push({
        name: `step_${step + 1}`, pairs: upTo(step + 1) - upTo(step), from_s, to_s: set.duration_s,
        ramp_s: length_s / 4,
      });
      phases.push({ name: `${upTo(step + 1)}_pairs`, to_s: (step + 1) * length_s, factor: step === 0 ? 1 : 0 });
    }
    return { groups, phases };
  },
});
