// Time within a run.

import exec from 'k6/execution';
import { setTimeout } from 'k6/timers';

// Asked for each time it would cost as much as all else that a message does here.
let instance = null;

/** Milliseconds since the run began, finer than `Date.now()`. */
export function now_ms() {
  instance = instance || exec.instance;
  return instance.currentTestRunDuration;
}

export const wait = (ms) => new Promise((done) => setTimeout(done, Math.max(0, ms)));
