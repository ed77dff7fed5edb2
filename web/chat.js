// A client of the native framing: requests with answers, events, and reconnects with `after`.

const REQUEST_TIMEOUT_MS = 10_000;

export class Chat extends EventTarget {
  #socket;
  #token;
  #pending = new Map();
  #nextId = 1;
  #tries = 0;

  /** `getToken` is called for a token before each connection. */
  constructor(getToken) {
    super();
    this.#token = getToken;
    this.addEventListener('auth:expiring', async () => {
      // On failure the server closes the connection, and the next one gets a new token.
      this.request('auth:refresh', { token: await this.#token() }).catch(() => {});
    });
    this.#connect();
  }

  /** Resolves with the answer's data. Rejects with its error, or when the connection closes. */
  request(event, data) {
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) {
        return reject(new Error('not connected'));
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => this.#settle(id, { error: { detail: 'no answer' } }), REQUEST_TIMEOUT_MS);
      this.#pending.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ id, event, data }));
    });
  }

  /** Sends an event without an answer. */
  say(event, data) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ event, data }));
    }
  }

  async #connect() {
    let socket;
    try {
      const url = new URL('/ws', location.href);
      url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
      socket = this.#socket = new WebSocket(url, ['bearer', await this.#token()]);
    } catch (error) {
      // Only the node's own errors are shown; a browser's network error is of no use to anyone.
      this.#emit('close', { refused: error.code ? error.message : undefined });
      return this.#again();
    }
    socket.onopen = () => this.#emit('open');
    socket.onmessage = ({ data }) => {
      // Not before the first frame: a refused token closes a socket that did open.
      this.#tries = 0;
      const frame = JSON.parse(data);
      if ('id' in frame) this.#settle(frame.id, frame);
      else this.#emit(frame.event, frame.data);
    };
    socket.onclose = ({ code }) => {
      for (const id of [...this.#pending.keys()]) this.#settle(id, { error: { detail: 'connection lost' } });
      this.#emit('close', { code });
      // A blocked person would only be refused again.
      if (code !== 4403) this.#again();
    };
  }

  // Exponential, with jitter, so that the clients of a restarted node don't all reconnect at once.
  #again() {
    const ceiling = Math.min(5_000, 200 * 2 ** this.#tries++);
    setTimeout(() => this.#connect(), ceiling * (0.5 + Math.random() / 2));
  }

  #settle(id, { ok, data, error }) {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    if (ok) pending.resolve(data);
    else pending.reject(Object.assign(new Error(error.detail), { code: error.code }));
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
