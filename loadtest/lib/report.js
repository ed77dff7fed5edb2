// The report at the end of a run: as text on the terminal, as an HTML page, and as JSON.

import { findings, framings, measured } from './findings.js';
import { page } from './page.js';

/** Output of k6: standard output, and files by name. */
export function report(scenario, summary) {
  const found = findings(scenario, summary);
  const file = `${scenario.set.outDir}${scenario.name}`;
  return {
    stdout: words(found, file),
    [`${file}.html`]: page(found),
    [`${file}.json`]: `${JSON.stringify(found, null, 2)}\n`,
  };
}

function words(found, file) {
  const { numbers } = found;
  if (numbers.sent === 0 && numbers.errors === 0) {
    return `\n  FAILED: ${found.scenario}. Nothing was measured; k6 printed the reason above.\n\n`;
  }
  const column = (value, width = 10) => String(value).padStart(width);
  const row = (name, { p50_ms, p95_ms, p99_ms, max_ms }, more = '') => (
    `  ${name.padEnd(28)}${column(p50_ms)}${column(p95_ms)}${column(p99_ms)}${column(max_ms)}${more}`
  );
  const head = (name, more = '') => `  ${name.padEnd(28)}${['p50', 'p95', 'p99', 'max'].map((at) => column(at)).join('')}${more}`;
  const lines = [
    '',
    `  ${found.passed ? 'PASSED' : 'FAILED'}: ${found.scenario}. ${found.question}`,
    ...found.advice.map((said) => `  → ${said}`),
    `  ${found.target.join(' and ')}, ${found.pairs} pairs, ${found.ratePerPair} messages a second each, `
      + `${framings(found)}, ${found.duration_s} s`,
    '',
    `  messages      ${numbers.sent} sent, ${numbers.acknowledged} acknowledged, ${numbers.delivered} delivered, ${numbers.caughtUp} of them caught up with`,
    `  faults        ${numbers.lost} lost, ${numbers.vanished} vanished, ${numbers.unanswered} unanswered, ${numbers.doubled} doubled, `
      + `${numbers.disordered} disordered, ${numbers.holes} holes`,
    `  connections   ${numbers.connections} opened, ${numbers.reconnects} came back, ${numbers.refusals} refusals`,
    `  errors        ${Object.entries(found.errorsOf).map(([kind, count]) => `${count} ${kind}`).join(', ')}`,
    `  checks        ${found.checks.passes} passed, ${found.checks.fails} failed; ${numbers.unjudged} conversations not judged`,
    '',
    head('milliseconds'),
    ...measured(found).map(([name, trend]) => row(name, trend)),
    '',
  ];
  if (found.phases.length > 1) {
    const more = (delivered, errors) => column(delivered, 12) + column(errors, 8);
    lines.push(head('delivery by phase', more('a second', 'errors')));
    for (const phase of found.phases) lines.push(row(phase.name, phase.delivery, more(phase.deliveredPerS, phase.errors)));
    lines.push('');
  }
  for (const { metric, rule, ok, follows } of found.thresholds) {
    if (!ok) lines.push(`  ✗ ${metric}: ${rule}${follows ? ', a consequence of the refusals' : ''}`);
  }
  lines.push(`  ${file}.html and .json`, '', '');
  return lines.join('\n');
}
