import assert from "node:assert/strict";
import { test } from "node:test";

import * as format from "../../progress/static/progress/format.js";

const equal = (found, expected) => assert.equal(found, expected);

test("rate: bytes in units of thousands", () => {
  equal(format.rateWords({ rate: 12_340_000, unit: "bytes" }), "12.3 MB/s");
  equal(format.rateWords({ rate: 999, unit: "bytes" }), "999 B/s");
  equal(format.rateWords({ rate: 999_999, unit: "bytes" }), "1.0 MB/s");
  equal(format.rateWords({ rate: 2.5e9, unit: "bytes" }), "2.5 GB/s");
  equal(format.rateWords({ rate: 0.2, unit: "bytes" }), "0 B/s");
});

test("rate: other units, and none", () => {
  equal(format.rateWords({ rate: 1234, unit: "rows" }), "1,234 rows/s");
  equal(format.rateWords({ rate: 3.42 }), "3.4/s");
  equal(format.rateWords({ rate: 0.2, unit: "rows" }), "12 rows/min");
  equal(format.rateWords({ rate: 0.001, unit: "films" }), "3.6 films/h");
});

test("rate: unknown, standing still or foreign metadata say nothing", () => {
  for (const rate of [undefined, null, 0, NaN, "fast", {}]) equal(format.rateWords({ rate }), "");
});

test("time left: the two largest units", () => {
  const left = (eta_seconds) => format.leftWords({ eta_seconds });
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
  equal(format.doneWords({ current: 1200, total: 5000, unit: "rows" }), "1,200 of 5,000 rows");
  equal(format.doneWords({ current: 3_200_000, total: 10_000_000, unit: "bytes" }), "3.2 MB of 10.0 MB");
  equal(format.doneWords({ current: 17, unit: "files" }), "17 files");
  equal(format.doneWords({ total: 17 }), "");
});

test("percent: rounded down, empty while indeterminate", () => {
  equal(format.percentWords({ progress: 99.99 }), "99%");
  equal(format.percentWords({ progress: 100 }), "100%");
  equal(format.percentWords({ progress: null }), "");
});

test("status: in words, also while a cancellation waits", () => {
  equal(format.statusWords({ status: "in_progress", metadata: {} }), "In progress");
  equal(format.statusWords({ status: "in_progress", metadata: { cancel_requested: true } }), "Cancelling");
  const unanswered = { cancel_requested: true, cancel_unanswered: true };
  equal(format.statusWords({ status: "in_progress", metadata: unanswered }), "Cancelling — the worker has not answered");
  equal(format.statusWords({ status: "completed", metadata: unanswered }), "Completed");
  equal(format.statusWords({ status: "cancelled", metadata: { cancel_requested: true } }), "Cancelled");
  equal(format.statusWords({ status: "in_progress", metadata: { ...unanswered, stalled: {} } }), "Stalled");
  equal(format.statusWords({ status: "failed", metadata: { stalled: {} } }), "Failed");
  equal(format.statusWords({ status: "in_progress", metadata: { stalled: null } }), "In progress");
});

test("title: the percentage while it runs, else the status; an id where there is no name", () => {
  const job = { job_id: "job-1", name: "Import", status: "in_progress", progress: 42.7, metadata: {} };
  equal(format.titleWords(job), "42% · Import");
  equal(format.titleWords({ ...job, progress: null }), "In progress · Import");
  equal(format.titleWords({ ...job, metadata: { stalled: {} } }), "Stalled · Import");
  equal(format.titleWords({ ...job, status: "failed", name: "" }), "Failed · job-1");
});

test("connection: never silent about what is on the page", () => {
  equal(format.connectionWords("live"), "live");
  equal(format.connectionWords("live", { isSilent: true }), "connected");
  equal(format.connectionWords("reconnecting", { asOf: new Date(2026, 0, 1, 12, 3, 7) }), "reconnecting, as of 12:03:07");
  equal(format.connectionWords("reconnecting"), "reconnecting");
  equal(format.connectionWords("stopped", { code: 4504 }), "this job is no longer here, or not for you");
  equal(format.connectionWords("stopped", { code: 4504, isKnown: false }), "job not found");
  equal(format.connectionWords("waiting", { code: 4504, isKnown: false }), "waiting for the job");
  equal(format.connectionWords("stopped"), "disconnected");
  equal(format.connectionWords("stopped", { code: 4503 }), "this link has expired, or was taken back");
  equal(format.connectionWords("stopped", { code: 4500 }), "disconnected; reload the page to go on");
});

test("moment: the time today, with the date else", () => {
  const noon = new Date(2026, 0, 2, 12, 0, 0);
  equal(format.momentWords(new Date(2026, 0, 2, 9, 5, 7), noon), "09:05:07");
  equal(format.momentWords(new Date(2026, 0, 1, 9, 5, 7), noon), "1 Jan 2026, 09:05");
});
