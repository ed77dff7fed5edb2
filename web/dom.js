// Elements, created without markup: text of other people is never interpreted as HTML.

/** An element with its class, data, listeners (`on`), attributes and children. */
export function el(name, { class: className, data, on, ...attributes } = {}, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  Object.assign(element.dataset, data);
  for (const [type, listener] of Object.entries(on ?? {})) element.addEventListener(type, listener);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(attribute, '');
    else if (value !== undefined && value !== false) element.setAttribute(attribute, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** A button that shows a sign, with a name for assistive technology. */
export function signButton(sign, label, listener, more = {}) {
  const sees = el('span', { 'aria-hidden': 'true' }, sign);
  return el('button', { type: 'button', title: label, 'aria-label': label, ...more, on: { click: listener } }, sees);
}

/** An icon of the page, with a name for assistive technology. */
export function icon(id, label) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#${id}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  svg.append(use);
  return svg;
}

/** Sets a button's icon and name, and whether it is pressed. */
export function setButton(button, icon, label, pressed) {
  button.querySelector('use').setAttribute('href', `#${icon}`);
  button.title = label;
  button.setAttribute('aria-label', label);
  if (pressed !== undefined) button.setAttribute('aria-pressed', pressed);
}

/** The time of day for today, otherwise the date. */
export function when(time) {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return today
    ? date.toLocaleTimeString([], { hour: 'numeric', minute: '2-digit' })
    : date.toLocaleDateString([], { day: 'numeric', month: 'short' });
}
