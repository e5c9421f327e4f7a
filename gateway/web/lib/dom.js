// DOM elements without a framework: `h` creates one, `replace` replaces children. Strings become text nodes: nothing here
// parses markup, so user input cannot become markup.

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
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

/** Appends nodes and strings, flattened; `null`, `undefined` and `false` are skipped. */
export function add(parent, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    parent.append(child);
  }
  return parent;
}

/** Replaces all children by these. */
export function replace(parent, ...children) {
  parent.replaceChildren();
  return add(parent, children);
}

/** An id that is unique on the page. */
export const unique = (() => {
  let last = 0;
  return (name) => `${name}-${++last}`;
})();
