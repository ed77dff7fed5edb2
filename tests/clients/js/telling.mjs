// Common parts of the scripts: their input, waits with a time limit, and the lines of standard
// input.

import { createInterface } from 'node:readline';

export const story = JSON.parse(process.argv[2]);
export const options = {
  forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200,
  ...(story.transports && { transports: story.transports }),
};
export const within = (promise, what, ms = 20_000) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`never: ${what}`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
export const once = (socket, event) => within(new Promise((resolve) => socket.once(event, resolve)), event);
export const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
