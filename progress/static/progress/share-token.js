/** The token of a share link, `/jobs/ID/#t=TOKEN`: out of the URL at once, and from then on only in memory. */

const BEGIN = "#t=";

/** Return whether there is a token in the fragment of the page's URL. */
export function hasToken({ location } = globalThis) {
  return location.hash.startsWith(BEGIN);
}

/** Return the token in the fragment of the page's URL, and take it out of there; null if there is none. */
export function takeToken({ location, history } = globalThis) {
  if (!hasToken({ location })) return null;
  const token = location.hash.slice(BEGIN.length);
  history.replaceState(history.state, "", location.pathname + location.search);
  return token || null;
}

/** The token with which this page was opened. A page imports this module before all others. */
export const tokenOfPage = globalThis.document ? takeToken() : null;
