// The report as one HTML page that needs no network.

import { framings, measured } from './findings.js';

const escaped = (value) => String(value).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const cells = (values, tag = 'td') => values.map((value) => `<${tag}>${escaped(value)}</${tag}>`).join('');

const STYLE = `
  :root { color-scheme: light dark; --ink: #1c2430; --soft: #66707f; --line: #dfe4ea; --paper: #fff;
    --back: #f4f6f8; --good: #0b7a4b; --bad: #b3261e; --p50: #9cc4e8; --p95: #3f8ccc; --p99: #1d5488; }
  @media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #9aa5b3; --line: #333c48;
    --paper: #1b212a; --back: #12161c; --good: #4cc38a; --bad: #ff8a80; --p50: #31597d; --p95: #3f8ccc; --p99: #9cc4e8; } }
  * { box-sizing: border-box } body { margin: 0; background: var(--back); color: var(--ink);
    font: 15px/1.5 system-ui, sans-serif } main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem }
  h1 { font-size: 1.7rem; margin: .2rem 0 } h2 { font-size: 1.05rem; margin: 0 0 .6rem }
  section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem;
    margin: 1rem 0; overflow-x: auto }
  .badge { display: inline-block; padding: .15rem .8rem; border-radius: 99px; color: var(--paper); font-weight: 600 }
  .good { background: var(--good) } .bad { background: var(--bad) } .soft { color: var(--soft) }
  .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .8rem }
  .tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums } .tile.wrong b { color: var(--bad) }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
  th, td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap }
  th:first-child, td:first-child { text-align: left } tr:last-child td { border: 0 } th { color: var(--soft); font-weight: 500 }
  .bar { position: relative; width: 14rem; height: .9rem; background: var(--back); border-radius: 3px }
  .bar i { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 3px }
  .key { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-left: .6rem }
  @media (max-width: 40rem) { main { padding: 1rem .5rem } section { padding: .8rem .6rem } table { font-size: .75rem }
    th, td { padding: .3rem .25rem } th, td:first-child, .fails td { white-space: normal } code { overflow-wrap: anywhere }
    .bar { width: 100%; min-width: 2.5rem } }
  .fails td { color: var(--bad); font-weight: 600 } code { font-size: .9em }`;

/** p50 over p95 over p99, to the scale of the largest value in the table. */
function bar({ p50_ms, p95_ms, p99_ms }, longest_ms) {
  const part = (value_ms, colour) => (
    `<i style="width:${((100 * value_ms) / longest_ms).toFixed(1)}%;background:var(--${colour})"></i>`
  );
  return `<td><div class="bar">${part(p99_ms, 'p99')}${part(p95_ms, 'p95')}${part(p50_ms, 'p50')}</div></td>`;
}

function latencies(title, rows, heads = []) {
  const longest_ms = Math.max(0.1, ...rows.map(([, { p99_ms }]) => p99_ms));
  const body = rows.map(([name, trend, ...more]) => (
    `<tr>${cells([name, trend.p50_ms, trend.p95_ms, trend.p99_ms, trend.max_ms, ...more])}${bar(trend, longest_ms)}</tr>`
  ));
  const head = cells([title, 'p50', 'p95', 'p99', 'max', ...heads, ''], 'th');
  return `<table><tr>${head}</tr>${body.join('')}</table>`;
}

const LEGEND = `<p class="soft">${['p50', 'p95', 'p99'].map((at) => (
  `<span class="key" style="background:var(--${at})"></span> ${at}`
)).join(' ')}</p>`;

const tile = (name, count, wrong = false) => (
  `<div class="tile${wrong ? ' wrong' : ''}"><b>${escaped(count)}</b><span class="soft">${escaped(name)}</span></div>`
);

const section = (title, content) => `<section><h2>${escaped(title)}</h2>${content}</section>`;

export function page(found) {
  const { numbers } = found;
  const fault = (name, count) => tile(name, count, count > 0);
  const phases = found.phases.map((phase) => [phase.name, phase.delivery, phase.deliveredPerS, phase.errors]);
  const rules = found.thresholds.map(({ metric, rule, value, ok, follows }) => (
    `<tr${ok ? '' : ' class="fails"'}><td><code>${escaped(metric)}</code></td>${cells([rule, value, ok ? 'holds' : follows ? 'FAILS because of the refusals' : 'FAILS'])}</tr>`
  ));
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>frontdesk: ${escaped(found.scenario)}</title><style>${STYLE}</style></head><body><main>
<span class="badge ${found.passed ? 'good' : 'bad'}">${found.passed ? 'passed' : 'failed'}</span>
<h1>${escaped(found.scenario)}</h1>
<p>${escaped(found.question)}</p>
<p class="soft">${escaped(found.target.join(' and '))} · ${found.pairs} pairs, ${found.ratePerPair} messages a second each ·
${escaped(framings(found))} · ${found.duration_s} s</p>
${found.advice.length > 0 ? section('What to do', found.advice.map((said) => `<p>${escaped(said)}</p>`).join('')) : ''}
${section('Messages', `<div class="tiles">${[
    tile('sent', numbers.sent), tile('acknowledged', numbers.acknowledged), tile('delivered', numbers.delivered),
    tile('of them caught up with', numbers.caughtUp), fault('lost', numbers.lost), fault('vanished', numbers.vanished),
    fault('unanswered', numbers.unanswered), fault('doubled', numbers.doubled),
    fault('disordered', numbers.disordered), fault('holes', numbers.holes),
  ].join('')}</div>`)}
${section('Latency, in milliseconds', latencies('', measured(found)) + LEGEND)}
${found.phases.length > 1 ? section('Delivery by phase, in milliseconds', latencies('', phases, ['messages a second', 'errors'])) : ''}
${section('Connections and errors', `<div class="tiles">${[
    tile('opened', numbers.connections), tile('came back', numbers.reconnects), tile('tokens renewed', numbers.tokenRefreshes),
    fault('refusals', numbers.refusals), fault('not judged', numbers.unjudged),
    ...Object.entries(found.errorsOf).map(([kind, count]) => fault(`errors: ${kind}`, count)),
  ].join('')}</div>`)}
${section('What must hold', `<table><tr>${cells(['', 'threshold', 'measured', ''], 'th')}</tr>${rules.join('')}</table>`)}
</main></body></html>
`;
}
