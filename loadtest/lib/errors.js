// What goes wrong, counted by what it is of.

import exec from 'k6/execution';
import { metrics } from './metrics.js';

let complaints = 0;

/** Counts an error; the first of each virtual user are said too. Never with a token or a body. */
export function complain(kind, what, phase) {
  metrics.errors.add(1, { of: kind, phase });
  complaints += 1;
  if (complaints <= 2 && exec.vu.idInTest <= 50) console.warn(`${kind}: ${what}`);
}

/** Whether a limit has refused it. */
export const refused = (code) => code === 'rate_limited' || code === 'too_many_connections';

/** The code of an HTTP answer that is an error, or why there is none. */
export function codeOf(answer) {
  try {
    return answer.json('code') || '';
  } catch (_) {
    return answer.error || '';
  }
}
