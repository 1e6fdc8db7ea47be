import assert from "node:assert/strict";
import { test } from "node:test";

import * as words from "../../progress/static/progress/words.js";

const equal = (found, expected) => assert.equal(found, expected);

test("rate: bytes in units of thousands", () => {
  equal(words.rateWords({ rate: 12_340_000, unit: "bytes" }), "12.3 MB/s");
  equal(words.rateWords({ rate: 999, unit: "bytes" }), "999 B/s");
  equal(words.rateWords({ rate: 999_999, unit: "bytes" }), "1.0 MB/s");
  equal(words.rateWords({ rate: 2.5e9, unit: "bytes" }), "2.5 GB/s");
  equal(words.rateWords({ rate: 0.2, unit: "bytes" }), "0 B/s");
});

test("rate: other units, and none", () => {
  equal(words.rateWords({ rate: 1234, unit: "rows" }), "1,234 rows/s");
  equal(words.rateWords({ rate: 3.42 }), "3.4/s");
  equal(words.rateWords({ rate: 0.2, unit: "rows" }), "12 rows/min");
  equal(words.rateWords({ rate: 0.001, unit: "films" }), "3.6 films/h");
});

test("rate: unknown, standing still or foreign metadata say nothing", () => {
  for (const rate of [undefined, null, 0, NaN, "fast", {}]) equal(words.rateWords({ rate }), "");
});

test("time left: the two largest units", () => {
  const left = (eta_seconds) => words.leftWords({ eta_seconds });
  equal(left(0), "1 s left");
  equal(left(19.2), "20 s left");
  equal(left(59.5), "1 min left");
  equal(left(80), "1 min 20 s left");
  equal(left(7500), "2 h 5 min left");
  equal(left(3599.9), "1 h left");
  equal(left(86_400 * 3 + 3600 * 4), "3 d 4 h left");
  equal(left(undefined), "");
});

test("done: with and without a total", () => {
  equal(words.doneWords({ current: 1200, total: 5000, unit: "rows" }), "1,200 of 5,000 rows");
  equal(words.doneWords({ current: 3_200_000, total: 10_000_000, unit: "bytes" }), "3.2 MB of 10.0 MB");
  equal(words.doneWords({ current: 17, unit: "files" }), "17 files");
  equal(words.doneWords({ total: 17 }), "");
});

test("percent: rounded down, empty while indeterminate", () => {
  equal(words.percentWords({ progress: 99.99 }), "99%");
  equal(words.percentWords({ progress: 100 }), "100%");
  equal(words.percentWords({ progress: null }), "");
});

test("status: in words, also while a cancellation waits", () => {
  equal(words.statusWords({ status: "in_progress", metadata: {} }), "In progress");
  equal(words.statusWords({ status: "in_progress", metadata: { cancel_requested: true } }), "Cancelling");
  equal(words.statusWords({ status: "cancelled", metadata: { cancel_requested: true } }), "Cancelled");
});

test("title: the percentage while it runs, else the status; an id where there is no name", () => {
  const job = { job_id: "job-1", name: "Import", status: "in_progress", progress: 42.7, metadata: {} };
  equal(words.titleWords(job), "42% · Import");
  equal(words.titleWords({ ...job, progress: null }), "In progress · Import");
  equal(words.titleWords({ ...job, status: "failed", name: "" }), "Failed · job-1");
});

test("connection: never silent about what is on the page", () => {
  equal(words.connectionWords("live"), "live");
  equal(words.connectionWords("reconnecting", { asOf: new Date(2026, 0, 1, 12, 3, 7) }), "reconnecting, as of 12:03:07");
  equal(words.connectionWords("reconnecting"), "reconnecting");
  equal(words.connectionWords("stopped", { code: 4504 }), "this job is no longer here, or not for you");
  equal(words.connectionWords("stopped", { code: 4504, isKnown: false }), "job not found");
  equal(words.connectionWords("waiting", { code: 4504, isKnown: false }), "waiting for the job");
  equal(words.connectionWords("stopped"), "disconnected");
  equal(words.connectionWords("stopped", { code: 4500 }), "disconnected; reload the page to go on");
});

test("moment: the time today, with the date else", () => {
  const noon = new Date(2026, 0, 2, 12, 0, 0);
  equal(words.momentWords(new Date(2026, 0, 2, 9, 5, 7), noon), "09:05:07");
  equal(words.momentWords(new Date(2026, 0, 1, 9, 5, 7), noon), "1 Jan 2026, 09:05");
});
