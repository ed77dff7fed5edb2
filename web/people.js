// People as shown on the page: name, and avatar or initials.

import { el } from './dom.js';

/** Names that the server sends if the directory has none. */
const NEUTRAL = { customer: 'Patient', dentist: 'Dentist' };
/** Maximum length of an id that is shown as a whole. */
const ID_MAX = 12;
const ID_END = 6;

/** Whether both are the same person. */
export function isSame(one, other) {
  return one.kind === other.kind && one.id === other.id;
}

/** The directory's name, or the neutral name with enough of the id to distinguish people. */
export function nameOf({ kind, id, name }) {
  if (name && name !== NEUTRAL[kind]) return name;
  return `${NEUTRAL[kind]} ${id.length > ID_MAX ? id.slice(-ID_END) : id}`;
}

function initials(name) {
  const words = name.split(/\s+/).map((word) => word.match(/[\p{L}\p{N}]/u)?.[0]).filter(Boolean);
  return [words.at(0), words.length > 1 ? words.at(-1) : ''].join('').toUpperCase();
}

function hue(text) {
  let hash = 0;
  for (const letter of text) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return hash;
}

export function avatar(person) {
  const element = el('span', { class: 'avatar', 'aria-hidden': 'true' });
  element.style.setProperty('--hue', hue(`${person.kind}:${person.id}`));
  const letters = document.createTextNode(initials(nameOf(person)));
  if (!person.avatarUrl) {
    element.append(letters);
    return element;
  }
  const picture = el('img', { src: person.avatarUrl, alt: '', referrerpolicy: 'no-referrer' });
  picture.addEventListener('error', () => picture.replaceWith(letters));
  element.append(picture);
  return element;
}
