// Settings from `-e NAME=value` or the environment.

import { misspelt } from './misspelt.js';

const KNOWN = new Set();

/** Warnings about variables whose names are close to a known one. */
export const doubts = () => misspelt(Object.keys(__ENV), [...KNOWN]);

/** Value of a variable, or the default. An empty value counts as unset. */
function text(name, otherwise) {
  KNOWN.add(name);
  const value = __ENV[name];
  return value === undefined || value === '' ? otherwise : value;
}

function number(name, otherwise, least = 0) {
  const value = Number(text(name, otherwise));
  if (!Number.isFinite(value) || value < least) {
    throw new Error(`${name}: must be a number of at least ${least}`);
  }
  return value;
}

/** Seconds of a text like `90`, `500ms`, `90s`, `2m` or `1h`. */
function seconds(name, otherwise, least = 0) {
  const found = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text(name, otherwise));
  const value = found && Number(found[1]) * { ms: 0.001, s: 1, m: 60, h: 3600 }[found[2] || 's'];
  if (!found || value < least) {
    throw new Error(`${name}: must be a time like 90s, 2m or 1h${least ? `, at least ${least}s` : ''}`);
  }
  return value;
}

function oneOf(name, choices, otherwise) {
  const value = text(name, otherwise);
  if (!choices.includes(value)) throw new Error(`${name}: must be one of ${choices.join(', ')}`);
  return value;
}

function list(name, otherwise = '') {
  return text(name, otherwise).split(',').map((part) => part.trim()).filter((part) => part);
}

/** Directory of the report. k6 does not create it, and would fail only at the end of the run. */
function directory(name, otherwise) {
  const given = path(text(name, otherwise)).replace(/\/*$/, '/');
  // k6 would look for a relative path beside this file.
  if (given.startsWith('/') && !isDirectory(given)) {
    throw new Error(`${name}: there is no directory ${given}; make it first`);
  }
  return given;
}

/** Whether a path is a directory. k6 opens none, and its error differs from that of a missing file. */
function isDirectory(place) {
  try {
    open(place);
    return false;
  } catch (error) {
    return !/no such file|not a directory/.test(error.message || error);
  }
}

/** Resolves a path against the directory where k6 was started, not against this file as k6 would. */
function path(given) {
  return given === null || given.startsWith('/') ? given : `${__ENV.PWD || '.'}/${given}`;
}

/** All settings, with a scenario's own defaults. */
export function settings(own) {
  const of = (name, otherwise) => String(own[name] ?? otherwise);
  const bases = list('BASE_URL', 'http://localhost:3000').map((url) => url.replace(/\/+$/, ''));
  if (bases.length === 0 || bases.some((url) => !/^https?:\/\/[^/]+/.test(url))) {
    throw new Error('BASE_URL: must be one or more URLs like http://localhost:3000');
  }
  const grace_s = seconds('GRACE', of('GRACE', '15s'));
  const reconnectEvery_s = seconds('RECONNECT_EVERY', of('RECONNECT_EVERY', '0s'));
  const away_s = seconds('AWAY', of('AWAY', '1s'));
  // A side that is still away at the end would count its messages as lost.
  if (reconnectEvery_s > 0 && away_s >= grace_s) {
    throw new Error('AWAY: a time shorter than GRACE is required');
  }
  return {
    bases,
    pairs: Math.floor(number('PAIRS', of('PAIRS', 5), 1)),
    ratePerPair: number('RATE', of('RATE', 1), 0.001),
    duration_s: seconds('DURATION', of('DURATION', '30s'), 1),
    ramp_s: seconds('RAMP', of('RAMP', '0s')),
    grace_s,
    reconnectEvery_s,
    away_s,
    restEvery_s: seconds('REST_EVERY', of('REST_EVERY', '0s')),
    steps: Math.floor(number('STEPS', of('STEPS', 5), 1)),
    framing: oneOf('FRAMING', ['native', 'socketio', 'polling', 'all'], of('FRAMING', 'native')),
    bodyChars: Math.floor(number('BODY_CHARS', of('BODY_CHARS', 80), 1)),
    p95_ms: number('P95_MS', of('P95_MS', 250)),
    p99_ms: number('P99_MS', of('P99_MS', 1000)),
    restP95_ms: number('REST_P95_MS', of('REST_P95_MS', 500)),
    maxErrors: number('MAX_ERRORS', of('MAX_ERRORS', 0)),
    refusals: oneOf('REFUSALS', ['fail', 'allow'], 'fail'),
    issuer: text('ISSUER_URL', bases[0]).replace(/\/+$/, ''),
    tokensFile: path(text('TOKENS_FILE', null)),
    djangoSecret: text('DJANGO_JWT_SECRET', null),
    djangoIssuer: text('DJANGO_ISSUER', null),
    // A token is renewed 60 s before it ends.
    tokenTtl_s: seconds('TOKEN_TTL', '1h', 61),
    customerIds: list('CUSTOMER_IDS'),
    dentistIds: list('DENTIST_IDS'),
    outDir: directory('OUT_DIR', decodeURIComponent(import.meta.resolve('../out/').replace(/^file:\/\//, ''))),
  };
}
