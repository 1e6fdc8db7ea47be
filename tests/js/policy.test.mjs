import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffSeconds, isFinal } from "../../progress/static/progress/policy.js";

test("backoff: the least is half a second, however many have failed", () => {
  for (const n of [0, 1, 2, 5, 50, 2000]) assert.equal(backoffSeconds(n, () => 0), 0.5);
});

test("backoff: the most doubles, up to 20 seconds", () => {
  const most = (n) => backoffSeconds(n, () => 1);
  assert.deepEqual([0, 1, 2, 3, 4, 5].map(most), [1, 1.5, 2.5, 4.5, 8.5, 16.5]);
  for (const n of [6, 7, 50, 2000]) assert.equal(most(n), 20);
});

test("backoff: the real jitter keeps to the bounds and spreads", () => {
  const waits = Array.from({ length: 500 }, () => backoffSeconds(4));
  assert.ok(waits.every((wait) => wait >= 0.5 && wait <= 8.5));
  assert.ok(Math.max(...waits) - Math.min(...waits) > 4);
});

test("close codes: 4500–4999 stop, all others reconnect", () => {
  for (const code of [4500, 4503, 4504, 4505, 4999]) assert.equal(isFinal(code), true, code);
  for (const code of [1000, 1001, 1006, 1009, 1011, 4000, 4001, 4005, 4007, 4008, 4010, 4013, 4014, 4499]) {
    assert.equal(isFinal(code), false, code);
  }
});
