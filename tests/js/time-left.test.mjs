import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { leftWords } from "../../progress/static/progress/format.js";
import { silenceWords, thenWords } from "../../progress/static/progress/silence.js";
import { spokenWords, Timing } from "../../progress/static/progress/timing.js";
import { Countdown, leftAt, leftInWords, roundedLeft } from "../../progress/static/progress/time-left.js";
import { isLonger, usualPercent, usualWords } from "../../progress/static/progress/usual.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors/time_left.json", import.meta.url)));

for (const { name, metadata, age, seconds, floor } of vectors.left) {
  test(`left: ${name}`, () => {
    assert.deepEqual(leftAt(metadata, age), { seconds: seconds === "longer" ? Infinity : seconds, floor });
  });
}

for (const { name, steps } of vectors.countdown) {
  test(`countdown: ${name}`, () => {
    const countdown = new Countdown();
    for (const [now, left, floor, expected] of steps) {
      const shown = countdown.show(left, now, floor);
      if (expected === null) assert.equal(shown, null);
      else assert.ok(Math.abs(shown - expected) < 1e-5, `${shown} at ${now}, not ${expected}`);
    }
  });
}

for (const { name, seconds, words } of vectors.words) {
  test(`words: ${name}`, () => {
    let before = null;
    const shown = seconds.map((each) => leftInWords((before = roundedLeft(each, before))));
    assert.deepEqual(shown, words);
  });
}

test("usual: what earlier runs took, where one would be, and what is longer", () => {
  for (const { usual, elapsed, words, percent, longer } of vectors.usual) {
    const found = [usualWords(usual), usualPercent(usual, elapsed), isLonger(usual, elapsed)];
    assert.deepEqual(found, [words, percent, longer], JSON.stringify(usual));
  }
});

for (const { name, steps } of vectors.timing) {
  test(`timing: ${name}`, () => {
    const timing = new Timing();
    for (const { job, now, is_live: isLive, told } of steps) {
      const { left, usual, usualPercent: percent, then } = timing.of(job, now && Date.parse(now), isLive);
      const { silence, rate } = told;
      const expected = rate ? leftWords({ eta_seconds: rate }) : told.left;
      assert.equal(left, silence ? silence.replace(/^n/, "N") : expected, now);
      assert.deepEqual([usual, percent, then], [told.usual, told.usual_percent, told.then]);
    }
  });
}

test("silence: whole seconds, rounded down", () => {
  assert.equal(silenceWords(34.9), "No report for 34 s");
  assert.equal(silenceWords(0.2), "No report for 1 s");
  assert.equal(silenceWords(125), "No report for 2 min 5 s");
});

test("then: what will happen, and when, in the viewer's time", () => {
  const now = new Date(2026, 0, 1, 12, 0, 0);
  const at = new Date(2026, 0, 1, 12, 5, 22).toISOString();
  const say = (stalled) => thenWords(stalled, now);
  const words = "If the worker stays silent, the job";
  assert.equal(say({ then: "requeue", at, attempt: 3, of: 3 }), `${words} is queued again at 12:05:22 as attempt 3 of 3.`);
  assert.equal(say({ then: "requeue", at, attempt: 3 }), `${words} is queued again at 12:05:22 as attempt 3.`);
  assert.equal(say({ then: "requeue" }), `${words} is queued again.`);
  assert.equal(say({ then: "fail", at, attempt: 3, of: 3 }), `${words} counts as failed at 12:05:22.`);
  const tomorrow = new Date(2026, 0, 2, 0, 0, 3).toISOString();
  assert.equal(say({ then: "fail", at: tomorrow }), `${words} counts as failed at 2 Jan 2026, 00:00.`);
  for (const then of ["toString", "", null, {}]) assert.equal(say({ then, at }), "");
});

test("spoken: the same words while the time passes", () => {
  const job = { status: "in_progress", metadata: {} };
  const told = { trouble: "", isLonger: false };
  assert.equal(spokenWords(job, told), "In progress");
  assert.equal(spokenWords(job, { ...told, isLonger: true }), "In progress, longer than usual");
  assert.equal(spokenWords(job, { trouble: "silent", isLonger: true }), "In progress, no report");
  const stalled = { ...job, metadata: { stalled: {} } };
  assert.equal(spokenWords(stalled, { trouble: "stalled", isLonger: true }), "Stalled");
});
