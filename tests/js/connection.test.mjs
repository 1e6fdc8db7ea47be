import assert from "node:assert/strict";
import { test } from "node:test";

import { isJobId, socketUrl } from "../../progress/static/progress/socket-url.js";
import { Connection, wakeWithPage } from "../../progress/static/progress/connection.js";
import { fold, positionOf } from "../../progress/static/progress/fold.js";
import { FakePage, World } from "./fakes.mjs";

const HERE = { protocol: "http:", host: "example.org:8000" };
const SNAPSHOT = { type: "snapshot", job_id: "job-1", seq: 7, epoch: "e1", metadata: {}, recovered: false };
const HEARTBEAT = { type: "heartbeat" };
const PING = { type: "ping" };

/** A started connection that watches job-1, and all that it did from there on. */
function watching(options = {}) {
  const world = new World();
  const seen = { states: [], frames: [], jobs: new Map() };
  const connection = new Connection({
    url: () => socketUrl(HERE, "job-1", positionOf(seen.jobs.get("job-1"))),
    onFrame: (frame) => {
      seen.frames.push(frame);
      seen.jobs = fold(seen.jobs, frame);
    },
    onState: (state, detail) => seen.states.push([state, detail]),
    environment: world.environment,
    ...options,
  });
  connection.start();
  assert.deepEqual(seen.states.splice(0), [["connecting", { asOf: options.asOf ? new Date(options.asOf) : null, code: null }]]);
  return { world, seen, connection, names: () => seen.states.map(([state]) => state) };
}

function live(options) {
  const watch = watching(options);
  watch.world.socket.accept();
  watch.world.socket.deliver(SNAPSHOT);
  return watch;
}

test("live: from the first frame, not from the handshake", () => {
  const { world, names } = watching();
  world.socket.accept();
  assert.deepEqual(names(), []);
  world.socket.deliver(SNAPSHOT);
  assert.deepEqual(names(), ["live"]);
});

test("live: from an answer, not from a heartbeat, an error or a replayed event", () => {
  const { world, seen, names } = watching();
  world.socket.accept();
  const refusal = { type: "error", code: "unavailable", temporary: true };
  for (const frame of [HEARTBEAT, { type: "pong" }, refusal, { ...SNAPSHOT, type: "progress" }]) {
    world.pass(1);
    world.socket.deliver(frame);
  }
  assert.deepEqual(names(), []);
  world.socket.drop(4010);
  assert.deepEqual(seen.states, [["reconnecting", { asOf: null, code: 4010 }]], "nothing is known as of any time");
});

test("resume: the URL carries epoch and seq, and is made anew for each try", () => {
  const { world } = watching();
  assert.equal(world.socket.url, "ws://example.org:8000/progress/ws/job-1");
  world.socket.accept();
  world.socket.deliver(SNAPSHOT);
  world.socket.deliver({ ...SNAPSHOT, type: "progress", seq: 9 });
  world.socket.drop(1006);
  world.pass(20);
  assert.equal(world.sockets[1].url, "ws://example.org:8000/progress/ws/job-1?epoch=e1&seq=9");
});

test("greeting: sent on each opening, and the time asked for", () => {
  const greeting = [{ type: "subscribe", feed: "all" }];
  const { world } = live({ greeting: () => greeting });
  world.socket.drop(4001);
  world.pass(0.5);
  world.socket.accept();
  for (const socket of world.sockets) assert.deepEqual(socket.sent, [...greeting, PING]);
});

test("clock: the server's time from its answer on, and anew with each connection", () => {
  const { world, connection } = live();
  const told = "2026-01-01T12:00:00.000000Z";
  assert.equal(connection.clock.now(), null);
  world.socket.deliver({ type: "pong", timestamp: told });
  world.pass(20);
  assert.equal(connection.clock.now(), Date.parse(told) + 20_000);
  world.socket.drop(4001);
  world.pass(0.5);
  world.socket.accept();
  assert.equal(connection.clock.now(), null);
});

test("reconnecting: says as of when the page is true", () => {
  const { world, seen } = live();
  world.pass(3);
  world.socket.deliver(HEARTBEAT);
  world.pass(2);
  world.socket.drop(1006);
  assert.deepEqual(seen.states.at(-1), ["reconnecting", { asOf: new Date(3000), code: 1006 }]);
});

test("reconnecting: before any frame, as of what came with the page", () => {
  const { world, seen } = watching({ asOf: 1234 });
  world.socket.drop(1006);
  assert.deepEqual(seen.states, [["reconnecting", { asOf: new Date(1234), code: 1006 }]]);
});

for (const code of [1001, 1006, 1009, 1011, 4001, 4005, 4007, 4008, 4010, 4013, 4014]) {
  test(`close ${code}: connects again`, () => {
    const { world } = live();
    world.socket.drop(code);
    assert.equal(world.sockets.length, 1);
    world.pass(0.5);
    assert.equal(world.sockets.length, 2);
  });
}

for (const code of [4500, 4503, 4504, 4505]) {
  test(`close ${code}: stops for good`, () => {
    const { world, seen, connection } = live();
    world.socket.drop(code);
    connection.wake();
    world.pass(3600);
    assert.equal(world.sockets.length, 1);
    assert.deepEqual(seen.states.at(-1)[0], "stopped");
    assert.equal(seen.states.at(-1)[1].code, code);
  });
}

test("end: a frame that amounts to a close is met like one", () => {
  const { world, seen, connection } = live();
  connection.end(4504);
  assert.ok(world.socket.isClosedByPage);
  world.pass(3600);
  assert.equal(world.sockets.length, 1);
  assert.deepEqual(seen.states.at(-1), ["stopped", { asOf: new Date(0), code: 4504 }]);
});

test("backoff: each failed try waits longer", () => {
  const { world, connection } = watching();
  connection.environment.random = () => 1;
  for (const wait of [1, 1.5, 2.5, 4.5, 8.5]) {
    const tries = world.sockets.length;
    world.socket.drop(1006);
    world.pass(wait - 0.01);
    assert.equal(world.sockets.length, tries);
    world.pass(0.02);
    assert.equal(world.sockets.length, tries + 1);
  }
});

test("backoff: an accepted socket that only refuses does not reset it; a good frame does", () => {
  const { world, connection, names } = watching();
  for (const failures of [1, 2, 3]) {
    world.socket.accept();
    world.socket.deliver({ type: "error", code: "too_many_connections", temporary: true, error: "Too many." });
    world.socket.drop(4014);
    assert.equal(connection.failures, failures);
    world.pass(0.5);
  }
  assert.ok(!names().includes("live"));
  world.socket.accept();
  world.socket.deliver(SNAPSHOT);
  assert.equal(connection.failures, 0);
});

test("dead connection: no frame for the heartbeat interval and 10 seconds", () => {
  const { world, names } = live();
  world.pass(34.9);
  assert.deepEqual(names(), ["live"]);
  world.pass(0.2);
  assert.deepEqual(names(), ["live", "reconnecting"]);
  assert.ok(world.sockets[0].isClosedByPage);
  world.pass(0.5);
  assert.equal(world.sockets.length, 2);
});

test("dead connection: each frame is a sign of life, and the interval is the server's", () => {
  const { world, names } = live({ heartbeatSeconds: 5 });
  for (let i = 0; i < 10; i += 1) {
    world.pass(14);
    world.socket.deliver(HEARTBEAT);
  }
  assert.deepEqual(names(), ["live"]);
  world.pass(15.1);
  assert.deepEqual(names(), ["live", "reconnecting"]);
});

test("dead connection: a handshake that never ends is given up", () => {
  const { world } = watching();
  world.pass(10.6);
  assert.equal(world.sockets.length, 2);
});

test("dead connection: what the old socket still says is not heard", () => {
  const { world, seen } = live();
  world.pass(36);
  world.sockets[0].deliver(HEARTBEAT);
  assert.equal(seen.frames.length, 1);
});

test("online: tries at once instead of waiting", () => {
  const { world, connection } = watching();
  const page = new FakePage();
  wakeWithPage(connection, page);
  world.socket.drop(1006);
  page.dispatchEvent(new Event("online"));
  assert.equal(world.sockets.length, 2);
  world.pass(1);
  assert.equal(world.sockets.length, 2, "the waiting try was given up");
});

test("visible: tries at once instead of waiting; hidden does not", () => {
  const { world, connection } = watching();
  const page = new FakePage();
  wakeWithPage(connection, page);
  world.socket.drop(1006);
  page.show("hidden");
  assert.equal(world.sockets.length, 1);
  page.show("visible");
  assert.equal(world.sockets.length, 2);
});

test("visible: a connection that looks alive has 5 seconds to prove it", () => {
  const { world, connection, names } = live();
  const page = new FakePage();
  wakeWithPage(connection, page);
  page.show("visible");
  assert.deepEqual(world.socket.sent, [PING, PING]);
  world.socket.deliver({ type: "pong" });
  world.pass(10);
  assert.deepEqual(names(), ["live"]);
  page.show("visible");
  world.pass(5);
  assert.deepEqual(names(), ["live", "reconnecting"]);
});

test("visible: after a sleep past the deadline, connects without asking", () => {
  const { world, connection, names } = live();
  world.seconds = 3600; // a machine that sleeps runs no timers
  connection.wake();
  assert.equal(world.sockets.length, 2);
  assert.deepEqual(names(), ["live", "reconnecting"]);
});

test("offline: the connection has to prove itself", () => {
  const { world, connection } = live();
  const page = new FakePage();
  wakeWithPage(connection, page);
  page.dispatchEvent(new Event("offline"));
  assert.deepEqual(world.socket.sent, [PING, PING]);
});

test("wakeWithPage: stops when asked to", () => {
  const { world, connection } = watching();
  const page = new FakePage();
  wakeWithPage(connection, page)();
  world.socket.drop(1006);
  page.dispatchEvent(new Event("online"));
  assert.equal(world.sockets.length, 1);
});

test("close: nothing is tried any more", () => {
  const { world, connection, names } = live();
  connection.close();
  world.pass(3600);
  assert.equal(world.sockets.length, 1);
  assert.deepEqual(names(), ["live", "stopped"]);
  assert.equal(world.timers.size, 0);
});

test("start: after a close it goes on from its position, says as of when, and hears nothing late", () => {
  const { world, connection, seen, names } = live();
  const [first] = world.sockets;
  world.pass(5);
  connection.close();
  first.deliver({ ...SNAPSHOT, type: "progress", seq: 8 });
  world.pass(60);
  connection.start();
  assert.deepEqual(seen.states.at(-1), ["reconnecting", { asOf: new Date(0), code: null }]);
  assert.equal(world.socket.url, "ws://example.org:8000/progress/ws/job-1?epoch=e1&seq=7");
  first.deliver({ ...SNAPSHOT, type: "progress", seq: 9 });
  world.socket.accept();
  world.socket.deliver(SNAPSHOT);
  assert.deepEqual(names(), ["live", "stopped", "reconnecting", "live"]);
  assert.equal(seen.frames.length, 2);
});

test("start: what was never live is connecting again, not reconnecting", () => {
  const { connection, names } = watching({ asOf: 1234 });
  connection.close();
  connection.start();
  assert.deepEqual(names(), ["stopped", "connecting"]);
});

test("frames: what is no JSON object is passed over", () => {
  const { world, seen } = live();
  for (const text of ["", "{", "null", "3", '"text"']) world.socket.deliver(text);
  assert.equal(seen.frames.length, 1);
});

test("URL: wss for https, and the id is escaped", () => {
  assert.equal(socketUrl({ protocol: "https:", host: "example.org" }), "wss://example.org/progress/ws");
  assert.equal(socketUrl(HERE, "a/b?c"), "ws://example.org:8000/progress/ws/a%2Fb%3Fc");
});

test("job ids: well-formed ones and no others, as in tests/jobs/test_bounds.py", () => {
  for (const id of ["a", "job-123", "0", "A.b_c-d", "x".repeat(64)]) assert.ok(isJobId(id), id);
  for (const id of ["", "-a", ".a", "_a", "a b", "a/b", "a\n", "x".repeat(65), "é", "a\0"]) assert.ok(!isJobId(id), id);
});
