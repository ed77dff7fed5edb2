// The pairs of a run and their tokens. No token is ever printed.

import crypto from 'k6/crypto';
import { SharedArray } from 'k6/data';
import encoding from 'k6/encoding';
import http from 'k6/http';

/** The people of a run. Each virtual user of k6 is one pair: a customer and a dentist. */
export class People {
  constructor(set) {
    this.set = set;
    this.given = { customer: given(set, 'customers'), dentist: given(set, 'dentists') };
  }

  /** Reason why the run cannot start, or null. */
  reasonAgainst(pairs) {
    const { customerIds, djangoSecret, tokensFile } = this.set;
    const { customer, dentist } = this.given;
    if (tokensFile && !customer) return 'TOKENS_FILE has no "customers"';
    if (tokensFile && !dentist && !djangoSecret) {
      return 'TOKENS_FILE has no "dentists", and there is no DJANGO_JWT_SECRET to sign for them';
    }
    const customers = customer?.length || customerIds.length || pairs;
    return customers < pairs
      ? `${pairs} pairs need as many customers; TOKENS_FILE or CUSTOMER_IDS has ${customers}`
      : null;
  }

  /** The pair of this number; the first is 1. */
  pair(run, number) {
    return { customer: this.person('customer', run, number), dentist: this.person('dentist', run, number) };
  }

  person(kind, run, number) {
    const tokens = this.given[kind];
    if (tokens) {
      const token = tokens[(number - 1) % tokens.length];
      return { kind, id: idIn(token), token: () => token };
    }
    const ids = kind === 'customer' ? this.set.customerIds : this.set.dentistIds;
    const id = ids.length > 0 ? ids[(number - 1) % ids.length] : `load-${run}-${kind}-${number}`;
    let token = null;
    return { kind, id, token: (fresh) => (token = fresh || !token ? this.issue(kind, id) : token) };
  }

  issue(kind, id) {
    if (kind === 'dentist' && this.set.djangoSecret) return signed(this.set, id);
    const answer = http.post(`${this.set.issuer}/dev/token`, JSON.stringify({ kind, id }), {
      headers: { 'content-type': 'application/json' },
      tags: { name: 'POST /dev/token' },
    });
    if (answer.status === 200) return answer.json('token');
    const why = answer.status === 404
      ? `${this.set.issuer} issues no development tokens: give TOKENS_FILE, for dentists DJANGO_JWT_SECRET too`
      : `${this.set.issuer}/dev/token answers ${answer.status || answer.error}`;
    throw new Error(why);
  }
}

/** Tokens of one kind in TOKENS_FILE, shared by all virtual users. */
function given(set, kinds) {
  if (!set.tokensFile) return null;
  const tokens = new SharedArray(kinds, () => JSON.parse(open(set.tokensFile))[kinds] || []);
  return tokens.length > 0 ? tokens : null;
}

/** A dentist's token as Django's SimpleJWT signs it. */
function signed(set, id) {
  const now_s = Math.floor(Date.now() / 1000);
  const claims = {
    token_type: 'access', user_id: id, iat: now_s, exp: now_s + set.tokenTtl_s,
    jti: `${id}-${now_s}`, ...(set.djangoIssuer && { iss: set.djangoIssuer }),
  };
  const part = (value) => encoding.b64encode(JSON.stringify(value), 'rawurl');
  const content = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${content}.${crypto.hmac('sha256', set.djangoSecret, content, 'base64rawurl')}`;
}

function idIn(token) {
  const claims = JSON.parse(encoding.b64decode(token.split('.')[1], 'rawurl', 's'));
  return String(claims.user_id ?? claims.sub);
}
