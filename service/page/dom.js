// The few lines of DOM that the views share. Text only ever becomes text nodes: nothing that the API says is parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An HTML element; attributes that begin with `on` are listeners; null and false children are left out. */
export const h = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

/** Replaces the children of an element only if `state` has changed since the last call: focus and selections survive polling. */
export function redraw(element, state, build) {
  const text = JSON.stringify(state);
  if (element.drawn === text) return;
  element.drawn = text;
  element.replaceChildren(...[build()].flat().filter(Boolean));
}

/** Keeps one child per item, in order; `update` is called with the child and its item. Children that stay are not rebuilt. */
export function keyed(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.key, child]));
  items.forEach((item, index) => {
    let child = known.get(key(item));
    known.delete(key(item));
    if (!child) {
      child = create(item);
      child.key = key(item);
    }
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
    update(child, item);
  });
  for (const child of known.values()) child.remove();
}

/** A number for people, to three significant digits. */
export function number(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(digits - 1);
  return String(Number(value.toPrecision(digits)));
}

/** A confidence interval. */
export const between = ([low, high]) => `[${number(low)}, ${number(high)}]`;

/** An estimate with its 95 % confidence interval, or with its standard error where it has none. */
export const estimate = ({ mean, standard_error, interval }) =>
  interval ? `${number(mean)} ${between(interval)}` : `${number(mean)} ± ${number(standard_error, 2)}`;

/** Ends of the 95 % confidence interval of an estimate. */
export const ends = ({ mean, standard_error, interval }) => interval ?? [mean - 1.96 * standard_error, mean + 1.96 * standard_error];

/** Current value of a custom property of the style sheet. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
