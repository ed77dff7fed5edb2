// Time within a run.

import exec from 'k6/execution';
import { setTimeout } from 'k6/timers';

/** Milliseconds since the run began, finer than `Date.now()`. */
export const now_ms = () => exec.instance.currentTestRunDuration;

export const wait = (ms) => new Promise((done) => setTimeout(done, Math.max(0, ms)));
