// Reads an AsyncAPI document from a URL and prints its errors.
import { Parser } from '@asyncapi/parser';

const text = await (await fetch(process.argv[2])).text();
const { document, diagnostics } = await new Parser().parse(text);
for (const { severity, path, message } of diagnostics) {
  console.log(`${severity === 0 ? 'error' : 'note'} at ${path.join('/')}: ${message}`);
}
if (!document || diagnostics.some(({ severity }) => severity === 0)) process.exit(1);
console.log(`${document.operations().all().length} operations`);
