import assert from "node:assert/strict";
import { test } from "node:test";

import { JobWatch } from "../../progress/static/progress/job-watch.js";
import { World } from "./fakes.mjs";

const LOCATION = { protocol: "http:", host: "example.org" };
const JOB = { job_id: "job-1", status: "in_progress", progress: 10, message: "", timestamp: "2026-01-01T00:00:00Z", metadata: {} };
const SNAPSHOT = { ...JOB, type: "snapshot", name: "Import", seq: 7, epoch: "e1", recovered: false };
const LISTED = { type: "feed", subject: "all", jobs: [{ ...JOB, name: "Import", seq: 5, epoch: "e1", created_at: JOB.timestamp }] };
const PING = { type: "ping" };
const notFound = (subject) => ({ type: "error", code: "job_not_found", temporary: false, subject });
const UNAVAILABLE = { type: "error", code: "unavailable", temporary: true, subject: "job-1" };

/** A started watch of job-1, and what it reported: its states, and how often the job changed. */
function watching({ random = () => 0, ...options } = {}) {
  const world = new World();
  const seen = { states: [], changes: 0 };
  const watch = new JobWatch({
    jobId: "job-1",
    location: LOCATION,
    onChange: () => (seen.changes += 1),
    onState: (state, { code, isKnown }) => seen.states.push({ state, code, isKnown }),
    environment: { ...world.environment, random },
    ...options,
  });
  watch.start();
  return { world, seen, watch, last: () => seen.states.at(-1) };
}

function live(options) {
  const all = watching(options);
  all.world.socket.accept();
  all.world.socket.deliver(SNAPSHOT);
  return all;
}

test("what came with the page is known, and resumed from", () => {
  const { world, watch } = watching({ frame: LISTED });
  assert.equal(watch.job.name, "Import");
  assert.equal(world.socket.url, "ws://example.org/progress/ws/job-1?epoch=e1&seq=5");
});

test("onChange: called for a change, and for nothing else", () => {
  const { world, seen, watch } = live();
  assert.equal(seen.changes, 1);
  for (const frame of [{ type: "heartbeat" }, { ...SNAPSHOT, type: "progress", seq: 7 }, notFound("job-2")]) {
    world.socket.deliver(frame);
  }
  assert.equal(seen.changes, 1);
  world.socket.deliver({ ...SNAPSHOT, type: "progress", seq: 8, progress: 20 });
  assert.equal(seen.changes, 2);
  assert.equal(watch.job.progress, 20);
});

test("turned away on an open socket: it stops, and what was known stays", () => {
  const { world, watch, last } = live();
  world.socket.deliver(notFound("job-1"));
  assert.deepEqual(last(), { state: "stopped", code: 4504, isKnown: true });
  assert.ok(world.socket.isClosedByPage);
  world.pass(3600);
  assert.equal(world.sockets.length, 1);
  assert.equal(watch.job.name, "Import");
});

/** Let so many seconds pass in which each try is refused; return when they were. */
function missFor(seconds, { world }) {
  const [tries, end] = [[], world.seconds + seconds];
  for (let known = 0; world.seconds < end; world.pass(0.1)) {
    if (world.sockets.length === known) continue;
    known = world.sockets.length;
    tries.push(world.socket.openedAt);
    world.socket.accept();
    world.socket.deliver(notFound("job-1"));
    world.socket.drop(4504);
  }
  return tries;
}

test("a job that is not there yet is waited for", () => {
  const watch = watching();
  const { world, last } = watch;
  missFor(30, watch);
  assert.deepEqual(last(), { state: "waiting", code: 4504, isKnown: false });
  world.pass(5);
  world.socket.accept();
  world.socket.deliver(SNAPSHOT);
  assert.equal(last().state, "live");
  world.socket.deliver(notFound("job-1"));
  assert.deepEqual(last(), { state: "stopped", code: 4504, isKnown: true }, "what was known is not waited for");
});

for (const [options, seconds] of [[{}, 60], [{ waitSeconds: 3 }, 3], [{ waitSeconds: 0 }, 0]]) {
  test(`a job that is not there in ${seconds} seconds is not found`, () => {
    const watch = watching(options);
    const tries = missFor(100, watch);
    assert.deepEqual(watch.last(), { state: "stopped", code: 4504, isKnown: false });
    assert.equal(Math.round(tries.at(-1)), seconds);
  });
}

test("a job of which only the page knows is not waited for", () => {
  const watch = watching({ isShown: true });
  assert.equal(missFor(100, watch).length, 1);
  assert.deepEqual(watch.last(), { state: "stopped", code: 4504, isKnown: true });
});

test("a job that is looked for again is waited for again", () => {
  const watch = watching();
  missFor(100, watch);
  watch.watch.stop();
  watch.watch.start();
  assert.equal(watch.last().state, "connecting");
  missFor(30, watch);
  assert.equal(watch.last().state, "waiting");
});

test("what can be no job id is not found at once, without a socket, whatever wakes the page", () => {
  for (const jobId of ["", "a/b", "-x"]) {
    const { world, watch, last } = watching({ jobId });
    watch.connection.wake();
    world.pass(100);
    assert.deepEqual(last(), { state: "stopped", code: 4504, isKnown: false });
    assert.equal(world.sockets.length, 0);
    watch.stop();
    assert.equal(last().code, 4504);
  }
});

test("a job that came with the page is not waited for", () => {
  const watch = watching({ frame: LISTED });
  assert.equal(missFor(100, watch).length, 1);
  assert.deepEqual(watch.last(), { state: "stopped", code: 4504, isKnown: true });
});

test("the tries for a job that is not there come more and more slowly, but for 5 seconds at the most", () => {
  const tries = missFor(100, watching({ random: () => 1 }));
  const gaps = tries.slice(1).map((at, index) => Math.floor(at - tries[index]));
  assert.deepEqual(gaps.slice(0, 5), [1, 1, 2, 4, 5]);
  assert.equal(Math.max(...gaps), 5);
});

test("turned away for now: it comes back and resumes", () => {
  const { world, last } = live();
  world.socket.deliver(UNAVAILABLE);
  world.socket.drop(4010);
  assert.deepEqual(last(), { state: "reconnecting", code: 4010, isKnown: true });
  world.pass(0.5);
  assert.equal(world.socket.url, "ws://example.org/progress/ws/job-1?epoch=e1&seq=7");
  world.socket.accept();
  world.socket.deliver({ ...SNAPSHOT, recovered: true });
  assert.equal(last().state, "live");
});

const sent = ({ world }) => {
  world.socket.accept();
  return world.socket.sent;
};

test("with a token: it is shown before the job is asked for, and is in no URL", () => {
  const all = watching({ token: "T" });
  assert.equal(all.world.socket.url, "ws://example.org/progress/ws");
  assert.deepEqual(sent(all), [{ type: "auth", token: "T" }, { type: "subscribe", job_id: "job-1" }, PING]);
});

test("with a token: each reconnect shows it again, and resumes", () => {
  const all = live({ token: "T" });
  all.world.socket.drop(1006);
  all.world.pass(30);
  const since = { epoch: "e1", seq: 7 };
  assert.deepEqual(sent(all), [{ type: "auth", token: "T" }, { type: "subscribe", job_id: "job-1", since }, PING]);
});

test("with a token: one that is refused is not shown again", () => {
  const { world, last } = live({ token: "T" });
  world.socket.deliver({ type: "error", code: "not_authenticated", temporary: false });
  world.socket.drop(4503);
  assert.deepEqual(last(), { state: "stopped", code: 4503, isKnown: true });
  world.pass(3600);
  assert.equal(world.sockets.length, 1);
});

test("with a token: what can't be answered now is asked for again", () => {
  for (const subject of ["job-1", undefined]) {
    const { world, last } = watching({ token: "T" });
    world.socket.accept();
    world.socket.deliver({ type: "error", code: "unavailable", temporary: true, subject });
    assert.equal(last().state, "reconnecting");
    world.pass(1);
    assert.equal(world.sockets.length, 2);
  }
});
