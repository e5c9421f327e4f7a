// The site: the cinema's own name, look and links, as the server has written them into the page's HTML.

const given = document.querySelector('meta[name="site"]')?.content;
/** Each colour of the site and the page's own tokens (`style/base.css`) that it replaces, in both colour schemes. */
const TOKENS = {
  header: ["--fascia"],
  onHeader: ["--on-fascia", "--on-fascia-soft", "--on-fascia-mark"],
  button: ["--bulb", "--bulb-strong"],
  onButton: ["--on-bulb"],
};

/** What the page shows of the site: name, company, address, languages, logoUrl, colours, contact, links. */
export let site = given ? JSON.parse(given) : { name: "", languages: [], contact: {}, links: {} };

const listeners = new Set();

/** Calls `listener` when staff have changed the site on this page. */
export function onSite(listener) {
  listeners.add(listener);
}

/** Shows a site that `PUT /v1/sites/{id}` has answered. */
export function setSite({ name, legal = {}, languages, theme = {}, contact = {}, links = {} }) {
  site = { name, company: legal.company, address: legal.address, languages, logoUrl: theme.logoUrl, colours: theme.colours, contact, links };
  dress();
  for (const listener of listeners) listener();
}

/** Gives an element these colours, or takes them off again; without arguments: the page, the site's. */
export function dress(element = document.documentElement, colours = site.colours) {
  for (const [name, tokens] of Object.entries(TOKENS)) {
    for (const token of tokens) {
      if (colours?.[name]) element.style.setProperty(token, colours[name]);
      else element.style.removeProperty(token);
    }
  }
}
