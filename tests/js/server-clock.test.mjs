import assert from "node:assert/strict";
import { test } from "node:test";

import { secondsSince, ServerClock } from "../../progress/static/progress/server-clock.js";

const NOON = Date.parse("2026-01-01T12:00:00Z");
const heartbeat = (seconds, type = "heartbeat") => ({ type, timestamp: new Date(NOON + seconds * 1000).toISOString() });

test("it is unknown until the server has told it, and goes on by the steady clock", () => {
  let ticks = 5000;
  const clock = new ServerClock(() => ticks);
  assert.equal(clock.now(), null);
  clock.hear({ type: "snapshot", timestamp: heartbeat(-60).timestamp });
  clock.hear({ type: "heartbeat" });
  assert.equal(clock.now(), null);
  clock.hear(heartbeat(0, "pong"));
  assert.equal(clock.now(), NOON);
  ticks += 34_000;
  assert.equal(clock.now(), NOON + 34_000);
});

test("what comes late sets nothing back; what was on its way for less time counts", () => {
  let ticks = 0;
  const clock = new ServerClock(() => ticks);
  clock.hear(heartbeat(-0.5)); // half a second on its way
  ticks = 25_000;
  clock.hear(heartbeat(24.9));
  assert.equal(clock.now(), NOON + 24_900);
  ticks = 50_000;
  clock.hear(heartbeat(40));
  assert.equal(clock.now(), NOON + 49_900);
  clock.reset();
  assert.equal(clock.now(), null);
});

test("the clock of the day may be five minutes off, or be set meanwhile", (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: NOON - 300_000 });
  const clock = new ServerClock();
  clock.hear(heartbeat(0));
  assert.ok(Math.abs(clock.now() - NOON) < 1000);
  context.mock.timers.setTime(NOON + 3_600_000);
  assert.ok(Math.abs(clock.now() - NOON) < 1000);
});

test("seconds since: never negative, and unknown of what is no time", () => {
  assert.equal(secondsSince("2026-01-01T11:59:26.000000Z", NOON), 34);
  assert.equal(secondsSince("2026-01-01T12:01:00Z", NOON), 0);
  for (const timestamp of [undefined, null, "soon", {}]) assert.equal(secondsSince(timestamp, NOON), null);
  assert.equal(secondsSince("2026-01-01T12:00:00Z", null), null);
});
