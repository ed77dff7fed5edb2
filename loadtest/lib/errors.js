// Errors, counted by kind.

import exec from 'k6/execution';
import { metrics } from './metrics.js';

let complaints = 0;

/** Counts an error, and prints the first two of each virtual user, without tokens or bodies. */
export function complain(kind, what, phase) {
  metrics.errors.add(1, { of: kind, phase });
  complaints += 1;
  if (complaints <= 2 && exec.vu.idInTest <= 50) console.warn(`${kind}: ${what}`);
}

/** Whether a limit of the server caused the error. */
export const refused = (code) => code === 'rate_limited' || code === 'too_many_connections';

/** Error code of an HTTP response, or the reason why there is none. */
export function codeOf(answer) {
  try {
    return answer.json('code') || '';
  } catch (_) {
    return answer.error || '';
  }
}
