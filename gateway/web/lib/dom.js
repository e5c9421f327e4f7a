// Elements without a framework: `h` makes one, `replace` puts others in its place. Text is only ever text: nothing here
// reads markup, so nothing that a user wrote can become any.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `props`: class, dataset, style (custom properties too), on (listeners); the rest are attributes. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An SVG element. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

/** Adds nodes and texts, flat; `null`, `undefined` and `false` are nothing. */
export function add(parent, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    parent.append(child);
  }
  return parent;
}

/** Leaves only these children. */
export function replace(parent, ...children) {
  parent.replaceChildren();
  return add(parent, children);
}

/** An id that nothing else on the page has. */
export const unique = (() => {
  let last = 0;
  return (name) => `${name}-${++last}`;
})();
