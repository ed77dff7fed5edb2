// A device that reads: `node listener.mjs '<json>'` with {url, carrier: native | websocket | polling,
// token, session}. Prints "joined", then the `seq` of each new message. Reconnects by itself.

import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { story } from './telling.mjs';

const { url, carrier, token, session } = story;
let read = 0;
const see = ({ seq }) => {
  if (seq > read) console.log(String(read = seq));
};
const joining = () => ({ sessionId: session, after: read });
const joined = ({ messages }) => {
  if (read === 0) console.log('joined');
  messages.forEach(see);
};

const native = () => {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws?token=${token}`);
  socket.on('open', () => socket.send(JSON.stringify({ id: 1, event: 'session:join', data: joining() })));
  socket.on('message', (text) => {
    const frame = JSON.parse(text);
    if (frame.id === 1 && frame.ok) joined(frame.data);
    if (frame.event === 'message:new') see(frame.data.message);
  });
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(native, 100));
};

if (carrier === 'native') {
  native();
} else {
  const socket = io(url, { transports: [carrier], auth: { token }, reconnectionDelay: 100, reconnectionDelayMax: 200 });
  socket.on('message:new', ({ message }) => see(message));
  socket.on('connect', async () => {
    const answer = await socket.emitWithAck('session:join', joining());
    if (answer.ok) joined(answer);
  });
}
