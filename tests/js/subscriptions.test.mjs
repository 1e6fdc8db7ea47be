import assert from "node:assert/strict";
import { test } from "node:test";

import { FEED, newestFirst, onlyNamed, Subscriptions } from "../../progress/static/progress/subscriptions.js";

function job(job_id, status = "in_progress", created_at = job_id) {
  return { job_id, status, created_at, timestamp: created_at, epoch: `e-${job_id}`, seq: 3 };
}

const jobsOf = (...jobs) => new Map(jobs.map((each) => [each.job_id, each]));
const subscribe = (job_id) => ({ type: "subscribe", job_id, since: { epoch: `e-${job_id}`, seq: 3 } });

test("greeting: the feed, and each unfinished job from its position", () => {
  const jobs = jobsOf(job("a"), job("b", "completed"), job("c", "queued"));
  assert.deepEqual(new Subscriptions().greeting(jobs), [FEED, subscribe("a"), subscribe("c")]);
});

test("greeting: a new connection is told all again", () => {
  const subscriptions = new Subscriptions();
  subscriptions.greeting(jobsOf(job("a")));
  assert.deepEqual(subscriptions.greeting(jobsOf(job("a"))), [FEED, subscribe("a")]);
});

test("changes: a finished job is dropped, a new and a retried one are watched", () => {
  const subscriptions = new Subscriptions();
  subscriptions.greeting(jobsOf(job("a"), job("b", "failed")));
  assert.deepEqual(subscriptions.changes(jobsOf(job("a"), job("b", "failed"))), []);
  const changes = subscriptions.changes(jobsOf(job("a", "completed"), job("b", "queued"), job("c")));
  assert.deepEqual(changes, [{ type: "unsubscribe", job_id: "a" }, subscribe("b"), subscribe("c")]);
});

test("changes: a refused job is asked for again", () => {
  const subscriptions = new Subscriptions();
  subscriptions.greeting(jobsOf(job("a")));
  subscriptions.forget("a");
  assert.deepEqual(subscriptions.changes(jobsOf(job("a"))), [subscribe("a")]);
});

test("newestFirst: by the time they were made, at most the limit", () => {
  const jobs = jobsOf(job("a"), job("c"), job("b"));
  assert.deepEqual(newestFirst(jobs, 2).map((each) => each.job_id), ["c", "b"]);
});

test("onlyNamed: what a feed's first answer leaves out is gone", () => {
  assert.deepEqual([...onlyNamed(jobsOf(job("a"), job("b")), { jobs: [job("b")] }).keys()], ["b"]);
});
