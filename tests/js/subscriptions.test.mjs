import assert from "node:assert/strict";
import { test } from "node:test";

import { FEED, MAX_JOBS, newestFirst, onlyNamed, Subscriptions } from "../../progress/static/progress/subscriptions.js";

function job(job_id, status = "in_progress", created_at = job_id) {
  return { job_id, status, created_at, timestamp: created_at, epoch: `e-${job_id}`, seq: 3 };
}

const jobsOf = (...jobs) => new Map(jobs.map((each) => [each.job_id, each]));
const entry = (job_id) => ({ job_id, since: { epoch: `e-${job_id}`, seq: 3 } });
const subscribe = (...jobIds) => ({ type: "subscribe", jobs: jobIds.map(entry) });
const unsubscribe = (...jobIds) => ({ type: "unsubscribe", job_ids: jobIds });

test("greeting: the feed, and all unfinished jobs at once, each from its position", () => {
  const jobs = jobsOf(job("a"), job("b", "completed"), job("c", "queued"));
  assert.deepEqual(new Subscriptions().greeting(jobs), [FEED, subscribe("c", "a")]);
});

test("greeting: where nothing runs, the feed alone", () => {
  assert.deepEqual(new Subscriptions().greeting(jobsOf(job("a", "failed"))), [FEED]);
});

test("greeting: repeats every subscription for a new connection", () => {
  const subscriptions = new Subscriptions();
  subscriptions.greeting(jobsOf(job("a")));
  assert.deepEqual(subscriptions.greeting(jobsOf(job("a"))), [FEED, subscribe("a")]);
});

test("changes: finished jobs are dropped, new and retried ones are watched, by one message each", () => {
  const subscriptions = new Subscriptions();
  subscriptions.greeting(jobsOf(job("a"), job("b", "failed"), job("d")));
  assert.deepEqual(subscriptions.changes(jobsOf(job("a"), job("b", "failed"), job("d"))), []);
  const changes = subscriptions.changes(jobsOf(job("a", "completed"), job("b", "queued"), job("c")));
  assert.deepEqual(changes, [unsubscribe("d", "a"), subscribe("c", "b")]);
});

test("changes: a job without a known stream is asked for without a position", () => {
  const changes = new Subscriptions().changes(jobsOf({ ...job("a"), epoch: null }));
  assert.deepEqual(changes, [{ type: "subscribe", jobs: [{ job_id: "a" }] }]);
});

test("changes: a refused job is asked for again", () => {
  const subscriptions = new Subscriptions();
  subscriptions.greeting(jobsOf(job("a"), job("b")));
  subscriptions.forget(["a"]);
  assert.deepEqual(subscriptions.changes(jobsOf(job("a"), job("b"))), [subscribe("a")]);
});

test("changes: a finished job in doubt is watched until its own answer", () => {
  const subscriptions = new Subscriptions();
  const jobs = jobsOf(job("a", "completed"), job("b", "failed"));
  subscriptions.greeting(jobs);
  subscriptions.doubt(["a"]);
  assert.deepEqual(subscriptions.changes(jobs), [subscribe("a")]);
  subscriptions.confirm("a");
  assert.deepEqual(subscriptions.changes(jobs), [unsubscribe("a")]);
});

test("greeting: doubts were of the connection before", () => {
  const subscriptions = new Subscriptions();
  subscriptions.doubt(["a"]);
  assert.deepEqual(subscriptions.greeting(jobsOf(job("a", "completed"))), [FEED]);
});

test("changes: no more than a socket may watch, the newest first", () => {
  const subscriptions = new Subscriptions(2);
  assert.deepEqual(subscriptions.changes(jobsOf(job("a"), job("b"), job("c"))), [subscribe("c", "b")]);
  const changes = subscriptions.changes(jobsOf(job("a"), job("b"), job("c", "completed")));
  assert.deepEqual(changes, [unsubscribe("c"), subscribe("a")]);
});

test("changes: a message has as many jobs as the protocol allows, and fits into 64 KiB", () => {
  const ids = Array.from({ length: MAX_JOBS + 1 }, (_, number) => String(number).padStart(64, "0"));
  const longest = { epoch: "f".repeat(16), seq: Number.MAX_SAFE_INTEGER };
  const subscriptions = new Subscriptions(1000);
  const added = subscriptions.changes(jobsOf(...ids.map((jobId) => ({ ...job(jobId), ...longest }))));
  assert.deepEqual(added.map((message) => message.jobs.length), [MAX_JOBS, 1]);
  const dropped = subscriptions.changes(new Map());
  assert.deepEqual(dropped.map((message) => message.job_ids.length), [MAX_JOBS, 1]);
  for (const message of [...added, ...dropped]) assert.ok(JSON.stringify(message).length < 65_536);
});

test("newestFirst: by the time they were made, at most the limit", () => {
  const jobs = jobsOf(job("a"), job("c"), job("b"));
  assert.deepEqual(newestFirst(jobs, 2).map((each) => each.job_id), ["c", "b"]);
});

const kept = (jobs, feed) => [...onlyNamed(jobs, feed).keys()];

test("onlyNamed: what a feed's first answer leaves out is gone", () => {
  assert.deepEqual(kept(jobsOf(job("a"), job("b")), { jobs: [job("b")] }), ["b"]);
  assert.deepEqual(kept(jobsOf(job("a"), job("b")), { jobs: [] }), []);
});

test("onlyNamed: an answer that was cut says nothing of older jobs", () => {
  const jobs = jobsOf(job("a"), job("b"), job("c"), job("d"), job("e"));
  assert.deepEqual(kept(jobs, { jobs: [job("c"), job("e")], cut: true }), ["a", "b", "c", "e"]);
});

test("onlyNamed: an answer that was cut says nothing of a job as old as the last, nor of one of unknown age", () => {
  const jobs = jobsOf(job("a", "queued", "c"), { ...job("b"), created_at: null, timestamp: "d" }, job("c"));
  assert.deepEqual(kept(jobs, { jobs: [job("c")], cut: true }), ["a", "b", "c"]);
});
