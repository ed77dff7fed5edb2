// The frame of every scenario: groups of pairs that arrive, talk until the end of the run or of
// their group, and leave; and phases of time for the report.

import exec from 'k6/execution';
import http from 'k6/http';
import { now_ms, wait } from './clock.js';
import { Conversation } from './conversation.js';
import { framingOf } from './framings.js';
import { thresholds } from './metrics.js';
import { People } from './people.js';
import { report } from './report.js';
import { doubts, settings } from './settings.js';

/** Time for opening, joining and judging besides DURATION and GRACE, in seconds. */
const MARGIN_S = 30;

/**
 * A scenario: its name, the question that it answers, its defaults, and a function from the
 * settings to groups `{name, pairs, from_s, to_s, ramp_s}` and phases `{name, to_s, factor}`.
 * `factor` multiplies the limits on latency; 0 means no limit.
 */
export function scenario({ name, question, defaults, shape = together, also = () => ({}) }) {
  const set = settings(defaults);
  const people = new People(set);
  const { groups, phases } = shape(set);
  const pairs = groups.reduce((sum, group) => sum + group.pairs, 0);
  const scenarios = {};
  for (const group of groups) {
    scenarios[group.name] = {
      executor: 'per-vu-iterations', exec: 'talk', vus: group.pairs, iterations: 1,
      startTime: `${group.from_s}s`,
      maxDuration: `${Math.ceil(group.to_s - group.from_s + set.grace_s + MARGIN_S)}s`,
      gracefulStop: '0s',
    };
  }

  function setup() {
    for (const doubt of doubts()) console.warn(doubt);
    const against = people.reasonAgainst(pairs);
    if (against) exec.test.abort(against);
    for (const base of set.bases) {
      const answer = http.get(`${base}/health/ready`, { tags: { name: 'GET /health/ready' } });
      if (answer.status !== 200) {
        exec.test.abort(`no frontdesk is ready at ${base} (${answer.status || answer.error}): start one, or set BASE_URL`);
      }
    }
    const run = Date.now().toString(36);
    try {
      people.person('customer', run, 1).token();
      people.person('dentist', run, 1).token();
    } catch (error) {
      exec.test.abort(error.message);
    }
    return { run, began_ms: now_ms() };
  }

  async function talk({ run, began_ms }) {
    const group = groups.find((one) => one.name === exec.scenario.name);
    const ends_ms = began_ms + group.to_s * 1000;
    const number = exec.vu.idInTest;
    const phase = (at_ms) => (phases.find(({ to_s }) => at_ms < began_ms + to_s * 1000) ?? phases.at(-1)).name;
    const ramp_s = Math.min(group.ramp_s, (group.to_s - group.from_s) / 2);
    await wait((ramp_s * 1000 * exec.scenario.iterationInTest) / group.pairs);
    const framing = framingOf(set.framing, number);
    const conversation = new Conversation(set, people.pair(run, number), number, framing, phase);
    if (!conversation.open()) return;
    await conversation.hold(ends_ms, storms(set, began_ms, ends_ms));
  }

  return {
    options: {
      scenarios,
      thresholds: { ...thresholds(set, phases), ...also(set) },
      summaryTrendStats: ['min', 'med', 'avg', 'p(90)', 'p(95)', 'p(99)', 'max', 'count'],
      setupTimeout: '60s',
      userAgent: 'frontdesk-loadtest',
    },
    setup,
    talk,
    handleSummary: (summary) => report({ name, question, set, pairs, phases }, summary),
  };
}

/** All pairs, from the beginning to the end. */
export function everyone(set) {
  return { name: 'everyone', pairs: set.pairs, from_s: 0, to_s: set.duration_s, ramp_s: set.ramp_s };
}

function together(set) {
  return { groups: [everyone(set)], phases: [{ name: 'all', to_s: set.duration_s, factor: 1 }] };
}

/** Times at which connections are cut, the same for all pairs. */
function storms(set, began_ms, ends_ms) {
  const every_ms = set.reconnectEvery_s * 1000;
  const moments = [];
  if (every_ms === 0) return moments;
  for (let at_ms = began_ms + every_ms; at_ms < ends_ms; at_ms += every_ms) moments.push(at_ms);
  return moments;
}
