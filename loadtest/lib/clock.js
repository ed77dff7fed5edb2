// Clock of the run.

import exec from 'k6/execution';
import { setTimeout } from 'k6/timers';

// `exec.instance` is kept, because each look-up costs as much as all other work on a message here.
let instance = null;

/** Milliseconds since the run began, with a higher resolution than `Date.now()`. */
export function now_ms() {
  instance = instance || exec.instance;
  return instance.currentTestRunDuration;
}

export const wait = (ms) => new Promise((done) => setTimeout(done, Math.max(0, ms)));
