import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { fold, positionOf } from "../../progress/static/progress/fold.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors/frames.json", import.meta.url)));
const folded = (frames, from = new Map()) => frames.reduce(fold, from);

for (const { name, frames, expected, fresh } of vectors) {
  test(`fold: ${name}`, () => {
    const jobs = folded(frames);
    assert.deepEqual(Object.fromEntries(jobs), expected);
    if (fresh) assert.deepEqual(jobs, folded([fresh]));
  });

  test(`fold leaves the old state as it was: ${name}`, () => {
    const before = folded(frames.slice(0, 1));
    const copy = structuredClone(before);
    folded(frames.slice(1), before);
    assert.deepEqual(before, copy);
  });
}

test("fold: a frame that changes nothing returns the same map", () => {
  const jobs = folded(vectors[0].frames);
  assert.equal(fold(jobs, { type: "heartbeat" }), jobs);
  assert.equal(fold(jobs, { ...vectors[0].frames[0], type: "progress" }), jobs);
});

test("positionOf: there is none without an epoch", () => {
  assert.deepEqual(positionOf({ epoch: "e", seq: 3 }), { epoch: "e", seq: 3 });
  assert.equal(positionOf({ epoch: null, seq: 3 }), null);
  assert.equal(positionOf(undefined), null);
});
