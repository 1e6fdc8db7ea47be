import assert from "node:assert/strict";
import { test } from "node:test";

import { takeToken, tokenOfPage } from "../../progress/static/progress/share-token.js";

/** A page at a URL, and where its script leaves it. */
function pageAt(url) {
  const { hash, pathname, search } = new URL(url, "https://example.org");
  const page = { location: { hash, pathname, search }, history: { state: { kept: 1 } }, left: [] };
  page.history.replaceState = (...all) => page.left.push(all);
  return page;
}

test("the token is taken out of the URL, and nothing else", () => {
  const page = pageAt("/jobs/job-1/?lang=de#t=a.b-c._d");
  assert.equal(takeToken(page), "a.b-c._d");
  assert.deepEqual(page.left, [[{ kept: 1 }, "", "/jobs/job-1/?lang=de"]]);
});

test("another fragment, or none, stays", () => {
  for (const url of ["/jobs/job-1/", "/jobs/job-1/#content", "/jobs/job-1/#x&t=a"]) {
    const page = pageAt(url);
    assert.equal(takeToken(page), null);
    assert.deepEqual(page.left, []);
  }
});

test("a fragment without a token is taken out as well", () => {
  const page = pageAt("/jobs/job-1/#t=");
  assert.equal(takeToken(page), null);
  assert.equal(page.left.length, 1);
});

test("outside of a page there is no token", () => assert.equal(tokenOfPage, null));
