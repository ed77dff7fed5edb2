// The HTTP API for one person, with a token of the node's own issuer.

/** Remaining lifetime below which a token is replaced by a new one. */
const FRESH_MS = 120_000;

export class Api {
  #person;
  #issued;

  constructor({ kind, id }) {
    this.#person = { kind, id };
  }

  /** A token that stays valid for a while. */
  async token() {
    const left = () => new Date(this.#issued.expiresAt) - Date.now();
    if (!this.#issued || left() < FRESH_MS) {
      const response = await fetch('/dev/token', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(this.#person),
      });
      this.#issued = await answer(response);
    }
    return this.#issued.token;
  }

  /** Discards the token: the node may have another key now. */
  forgetToken() {
    this.#issued = undefined;
  }

  async request(method, path, body) {
    const response = await this.#fetch(method, path, body);
    return answer(response);
  }

  /** The resource at a path, as bytes. */
  async blob(path) {
    const response = await this.#fetch('GET', path);
    if (!response.ok) await answer(response);
    return response.blob();
  }

  async #fetch(method, path, body) {
    const headers = { authorization: `Bearer ${await this.token()}` };
    if (body) headers['content-type'] = 'application/json';
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    if (response.status === 401) this.forgetToken();
    return response;
  }
}

async function answer(response) {
  const json = await response.json();
  if (response.ok) return json;
  throw Object.assign(new Error(json.detail ?? json.title), { code: json.code });
}
