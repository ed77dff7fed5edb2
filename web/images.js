// Pictures: uploaded by a presigned PUT, downloaded by a presigned GET, never through the chat itself.

import { el } from './dom.js';

const TYPES = ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/heic', 'image/heif'];
const SIZE_MAX = 10 * 1024 * 1024;
/** Maximum size of a thumbnail on the screen. */
const [WIDTH, HEIGHT] = [240, 176];

/** The reason why a file can't be sent, if there is one. */
export function problem(file) {
  if (!TYPES.includes(file.type)) return 'This is no picture that can be sent.';
  if (file.size > SIZE_MAX) return 'A picture may have 10 MB.';
  return undefined;
}

/** Uploads a file. Returns its key, with which a message can be sent. */
export async function upload(api, sessionId, file) {
  const wanted = { contentType: file.type, size: file.size, fileName: file.name.slice(-200) };
  const { imageKey, upload } = await api.request('POST', `/api/chats/${sessionId}/images`, wanted);
  const stored = await fetch(upload.url, { method: upload.method, headers: upload.headers, body: file });
  if (!stored.ok) throw new Error('The picture could not be uploaded.');
  return imageKey;
}

const path = (message, size) => {
  const key = encodeURIComponent(message.image.key);
  return `/api/chats/${message.sessionId}/images/${key}${size}`;
};

/** A message's thumbnail; a click shows the picture itself. */
export function thumbnail(api, message) {
  const { width, height, fileName } = message.image;
  const name = fileName ?? 'Picture';
  // Its space is reserved: nothing moves when it loads.
  const scale = Math.min(1, WIDTH / width, HEIGHT / height);
  const size = { width: Math.round(width * scale), height: Math.round(height * scale) };
  const img = el('img', { class: 'thumbnail', alt: name, ...size });
  const button = el('button', {
    type: 'button',
    class: 'picture',
    'aria-label': `Show ${name}`,
    on: { click: () => show(api, message, name) },
  }, img);
  api.blob(path(message, '?size=thumbnail')).then(
    (blob) => (img.src = URL.createObjectURL(blob)),
    () => button.replaceChildren(el('span', { class: 'missing' }, 'The picture can’t be had now')),
  );
  return button;
}

async function show(api, message, name) {
  const dialog = document.querySelector('#viewer');
  const img = dialog.querySelector('img');
  try {
    const blob = await api.blob(path(message, ''));
    img.src = URL.createObjectURL(blob);
    img.alt = name;
    dialog.showModal();
    dialog.addEventListener('close', () => URL.revokeObjectURL(img.src), { once: true });
  } catch {
    // The line already says that there is no picture.
  }
}
