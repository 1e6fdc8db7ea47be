import assert from "node:assert/strict";
import { test } from "node:test";

import { JobWatch } from "../../progress/static/progress/job-watch.js";
import { World } from "./fakes.mjs";

const LOCATION = { protocol: "http:", host: "example.org" };
const JOB = { job_id: "job-1", status: "in_progress", progress: 10, message: "", timestamp: "2026-01-01T00:00:00Z", metadata: {} };
const SNAPSHOT = { ...JOB, type: "snapshot", name: "Import", seq: 7, epoch: "e1", recovered: false };
const LISTED = { type: "feed", subject: "all", jobs: [{ ...JOB, name: "Import", seq: 5, epoch: "e1", created_at: JOB.timestamp }] };
const notFound = (subject) => ({ type: "error", code: "job_not_found", temporary: false, subject });
const UNAVAILABLE = { type: "error", code: "unavailable", temporary: true, subject: "job-1" };

/** A started watch of job-1, and what it told: its states, and how often the job changed. */
function watching(options = {}) {
  const world = new World();
  const seen = { states: [], changes: 0 };
  const watch = new JobWatch({
    jobId: "job-1",
    location: LOCATION,
    onChange: () => (seen.changes += 1),
    onState: (state, { code, isKnown }) => seen.states.push({ state, code, isKnown }),
    environment: world.environment,
    ...options,
  });
  watch.connection.start();
  return { world, seen, watch, last: () => seen.states.at(-1) };
}

function live(options) {
  const all = watching(options);
  all.world.socket.accept();
  all.world.socket.tell(SNAPSHOT);
  return all;
}

test("what came with the page is known, and resumed from", () => {
  const { world, watch } = watching({ frame: LISTED });
  assert.equal(watch.job.name, "Import");
  assert.equal(world.socket.url, "ws://example.org/progress/ws/job-1?epoch=e1&seq=5");
});

test("a change is told, and nothing else", () => {
  const { world, seen, watch } = live();
  assert.equal(seen.changes, 1);
  for (const frame of [{ type: "heartbeat" }, { ...SNAPSHOT, type: "progress", seq: 7 }, notFound("job-2")]) {
    world.socket.tell(frame);
  }
  assert.equal(seen.changes, 1);
  world.socket.tell({ ...SNAPSHOT, type: "progress", seq: 8, progress: 20 });
  assert.equal(seen.changes, 2);
  assert.equal(watch.job.progress, 20);
});

test("turned away on an open socket: it stops, and what was known stays", () => {
  const { world, watch, last } = live();
  world.socket.tell(notFound("job-1"));
  assert.deepEqual(last(), { state: "stopped", code: 4504, isKnown: true });
  assert.ok(world.socket.isClosedByPage);
  world.pass(3600);
  assert.equal(world.sockets.length, 1);
  assert.equal(watch.job.name, "Import");
});

test("turned away for now: it comes back and resumes", () => {
  const { world, last } = live();
  world.socket.tell(UNAVAILABLE);
  world.socket.drop(4010);
  assert.deepEqual(last(), { state: "reconnecting", code: 4010, isKnown: true });
  world.pass(0.5);
  assert.equal(world.socket.url, "ws://example.org/progress/ws/job-1?epoch=e1&seq=7");
  world.socket.accept();
  world.socket.tell({ ...SNAPSHOT, recovered: true });
  assert.equal(last().state, "live");
});
