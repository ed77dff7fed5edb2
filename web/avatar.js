// A person's picture: the directory's, or the first letters of their name on a colour of their own.

import { el } from './dom.js';

function initials(name) {
  const words = name.trim().split(/\s+/).filter((word) => /\p{L}/u.test(word));
  const letters = [words.at(0), words.length > 1 ? words.at(-1) : undefined];
  return letters.map((word) => word?.match(/\p{L}/u)?.[0] ?? '').join('').toUpperCase();
}

function hue(text) {
  let hash = 0;
  for (const letter of text) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return hash;
}

export function avatar(person) {
  const element = el('span', { class: 'avatar', 'aria-hidden': 'true' });
  element.style.setProperty('--hue', hue(`${person.kind}:${person.id}`));
  const letters = document.createTextNode(initials(person.name));
  if (!person.avatarUrl) {
    element.append(letters);
    return element;
  }
  const picture = el('img', { src: person.avatarUrl, alt: '', referrerpolicy: 'no-referrer' });
  picture.addEventListener('error', () => picture.replaceWith(letters));
  element.append(picture);
  return element;
}
