import assert from "node:assert/strict";
import { test } from "node:test";

import { Connection } from "../../progress/static/progress/connection.js";
import { JobList } from "../../progress/static/progress/job-list.js";
import { World } from "./fakes.mjs";

const ROWS = 50;
const BURST = 200; // PROGRESS_MAX_MESSAGES_BURST
const PER_SECOND = 20; // PROGRESS_MAX_MESSAGES_PER_SECOND
const MAX_SUBSCRIPTIONS = 128;
const MAX_MESSAGE_BYTES = 65_536;
const GATHER_SECONDS = 0.05; // of a feed

const made = (number) => new Date(1.7e12 + number).toISOString();

/** A job as a feed shows it; a higher number was made later. */
function job(number, fields = {}) {
  const [created_at, job_id] = [made(number), `j${number}`];
  const state = { status: "in_progress", progress: 0, message: "", metadata: { attempt: 1 }, seq: 2 };
  return { job_id, ...state, name: "", timestamp: created_at, created_at, epoch: `e-${number}`, ...fields };
}

const feed = (...jobs) => ({ type: "feed", subject: "all", jobs });
const snapshot = (number, fields) => ({ ...job(number, fields), created_at: undefined, type: "snapshot", recovered: true });
const progress = (number, seq, fields) => ({ ...job(number, { seq, ...fields }), type: "progress" });
const notFound = (job_id) => ({ type: "error", code: "job_not_found", temporary: false, subject: job_id });
const unavailable = (subject) => ({ type: "error", code: "unavailable", temporary: true, subject });
const numbers = (from, upto) => Array.from({ length: upto - from }, (_, index) => from + index);
const jobs = (from, upto, fields) => numbers(from, upto).map((number) => job(number, fields));

/** The list of a page behind a real connection, over a socket whose other end is the test. */
class Page {
  constructor(listed = [], options = {}) {
    this.world = new World();
    this.changes = 0;
    this.list = new JobList({
      listed: feed(...listed),
      limit: ROWS,
      send: (message) => this.connection.send(message),
      onChange: () => (this.changes += 1),
      ...options,
      environment: { ...this.world.environment, ...options.environment },
    });
    this.connection = new Connection({
      url: () => "ws://page",
      greeting: () => this.list.greeting(),
      onFrame: (frame) => this.list.receive(frame),
      onState: () => {},
      environment: this.world.environment,
    });
    this.connection.start();
    this.world.socket.accept();
  }

  deliver(...frames) {
    frames.forEach((frame) => this.world.socket.deliver(frame));
  }

  /** Return what was sent since this was last asked. */
  sent() {
    return this.world.socket.sent.splice(0);
  }

  get shown() {
    return this.list.newest.map((each) => each.job_id);
  }
}

/** The server's side of what a page sends: the bucket, and the bounds of subscriptions and messages. */
class Server {
  constructor(page) {
    Object.assign(this, { page, watched: new Set(), left: BURST, lowest: BURST, at: 0, messages: 0 });
  }

  take() {
    const sent = this.page.sent();
    this.left = Math.min(BURST, this.left + (this.page.world.seconds - this.at) * PER_SECOND);
    this.at = this.page.world.seconds;
    sent.forEach((message) => this.#takeOne(message));
    return sent;
  }

  #takeOne(message) {
    this.left -= 1;
    this.messages += 1;
    this.lowest = Math.min(this.lowest, this.left);
    assert.ok(this.left >= 0, "cut off with 4013");
    assert.ok(JSON.stringify(message).length <= MAX_MESSAGE_BYTES);
    for (const jobId of message.job_ids ?? []) assert.ok(this.watched.delete(jobId), "it was not watched");
    for (const { job_id: jobId } of message.jobs ?? []) {
      assert.ok(this.page.shown.includes(jobId), "it has left the list already");
      this.watched.add(jobId);
    }
    assert.ok(this.watched.size <= MAX_SUBSCRIPTIONS);
  }
}

for (const perSecond of [5, 10, 12, 15, 20, 30, 50]) {
  test(`${perSecond} new jobs a second for five minutes, each of which runs on: the page stays well within its messages`, () => {
    const page = new Page(jobs(0, ROWS));
    const server = new Server(page);
    let newest = ROWS;
    page.deliver(feed(...jobs(0, ROWS)));
    for (let step = 1; step <= 300 / GATHER_SECONDS; step += 1) {
      page.world.pass(GATHER_SECONDS);
      const late = server.take();
      const upto = ROWS + Math.floor(step * GATHER_SECONDS * perSecond);
      if (upto > newest) page.deliver(feed(...jobs(newest, upto)));
      newest = upto;
      const answered = [...late, ...server.take()].flatMap((message) => message.jobs ?? []);
      page.deliver(...answered.map(({ job_id: jobId }) => snapshot(Number(jobId.slice(1)))));
      if (step % 20 === 0) page.deliver(...[...server.watched].map((jobId) => progress(Number(jobId.slice(1)), 2 + step)));
      if (step % 400 === 0) page.deliver({ type: "heartbeat" });
      server.take();
    }
    const wanted = numbers(newest - ROWS, newest).reverse().map((number) => `j${number}`);
    assert.deepEqual(page.shown, wanted);
    page.world.pass(1);
    server.take();
    assert.deepEqual(server.watched, new Set(wanted));
    assert.ok(server.messages / 300 <= 5, `${server.messages / 300} messages a second`);
    assert.ok(server.lowest >= BURST - 10, `${server.lowest} left`);
    assert.equal(page.world.sockets.length, 1);
  });
}

test("a new job is watched at once, and what follows within half a second together", () => {
  const page = new Page();
  page.deliver(feed());
  page.world.pass(1);
  page.sent();
  page.deliver(feed(job(1)));
  assert.deepEqual(page.sent(), [{ type: "subscribe", jobs: [{ job_id: "j1", since: { epoch: "e-1", seq: 2 } }] }]);
  page.deliver(feed(job(2)), feed(job(3)), feed(job(1, { status: "completed", seq: 3 })));
  assert.deepEqual(page.sent(), []);
  page.world.pass(0.5);
  const [dropped, added] = page.sent();
  assert.deepEqual(dropped, { type: "unsubscribe", job_ids: ["j1"] });
  assert.deepEqual(added.jobs.map((each) => each.job_id), ["j3", "j2"]);
  page.world.pass(10);
  assert.deepEqual(page.sent(), []);
});

test("a job that has come and gone within half a second is never watched", () => {
  const page = new Page();
  page.deliver(feed(job(1)), feed(job(2)), feed(job(2, { status: "failed", seq: 3 })));
  page.sent();
  page.world.pass(10);
  assert.deepEqual(page.sent(), []);
});

test("a job that has left the list is not brought back by late frames of its subscription", () => {
  const page = new Page(jobs(0, ROWS));
  page.deliver(feed(...jobs(0, ROWS)), feed(job(ROWS)));
  const log = { type: "log", subject: "j0", seq: 4 };
  page.deliver(progress(0, 3, { timestamp: made(1000) }), log, snapshot(0, { timestamp: made(1000) }));
  assert.equal(page.shown.length, ROWS);
  assert.ok(!page.shown.includes("j0"));
});

test("no more is watched than the site allows, also where the list is longer", () => {
  const page = new Page(jobs(0, ROWS), { maxSubscriptions: 20 });
  const [, message] = page.sent();
  assert.deepEqual(message.jobs.map((each) => each.job_id), page.shown.slice(0, 20));
});

test("the first feed frame of a connection shows what is gone, later ones do not", () => {
  const page = new Page(jobs(0, 3));
  page.deliver(feed(job(1)));
  assert.deepEqual(page.shown, ["j1"]);
  page.deliver(feed(job(2)));
  assert.deepEqual(page.shown, ["j2", "j1"]);
  page.world.socket.drop(1006);
  page.world.pass(1);
  page.world.socket.accept();
  page.deliver(feed(job(2)));
  assert.deepEqual(page.shown, ["j2"]);
});

test("rows stay where the first answer was cut", () => {
  const page = new Page(jobs(0, ROWS));
  page.deliver({ ...feed(...jobs(33, ROWS)), cut: true });
  assert.equal(page.shown.length, ROWS);
});

test("a finished job that the cut answer left out is asked about, and let go once it has answered", () => {
  const done = { status: "completed", seq: 5 };
  const page = new Page([job(0, done), job(1, done), job(2, done), job(3, done)]);
  page.sent();
  page.deliver({ ...feed(job(3, done)), cut: true });
  assert.deepEqual(page.sent().map((message) => message.jobs.map((each) => each.job_id)), [["j2", "j1", "j0"]]);

  page.deliver(notFound("j0"), snapshot(1, done), progress(2, 6, { status: "queued" }), snapshot(2, { status: "queued", seq: 6 }));
  assert.deepEqual(page.shown, ["j3", "j2", "j1"]);
  page.world.pass(1);
  assert.deepEqual(page.sent(), [{ type: "unsubscribe", job_ids: ["j1"] }]); // j2 was retried: it is watched on
});

test("a job that is gone leaves the list, and nothing is sent about it", () => {
  const page = new Page(jobs(0, 2));
  page.deliver(feed(...jobs(0, 2)));
  page.sent();
  page.deliver(notFound("j0"), notFound("unknown"));
  assert.deepEqual(page.shown, ["j1"]);
  page.world.pass(10);
  assert.deepEqual(page.sent(), []);
});

test("what was refused for now is asked for again, all in one message", () => {
  const page = new Page(jobs(0, 3));
  page.sent();
  page.deliver(unavailable("all"), unavailable("j0"), unavailable("j2"), { type: "error", temporary: true });
  page.world.pass(0.4);
  assert.deepEqual(page.sent(), []);
  page.world.pass(1);
  const [asked, { jobs: wanted }, ...rest] = page.sent();
  assert.deepEqual(asked, { type: "subscribe", feed: "all" });
  assert.deepEqual(wanted.map((each) => each.job_id), ["j2", "j0"]);
  assert.deepEqual(rest, []);

  page.deliver(unavailable("j1"));
  page.world.pass(10);
  assert.deepEqual(page.sent().map((message) => message.jobs.map((each) => each.job_id)), [["j1"]]);
});

test("a refusal of the job «all» is none of the feed", () => {
  const page = new Page([job(0, { job_id: "all" })]);
  page.deliver(feed(job(0, { job_id: "all" })));
  page.sent();
  page.deliver(unavailable("all"));
  page.world.pass(10);
  assert.deepEqual(page.sent().map((message) => message.jobs.map((each) => each.job_id)), [["all"]]);
});

test("a new connection asks for all by itself: what the one before refused is not asked for twice", () => {
  const page = new Page(jobs(0, 3), { environment: { random: () => 1 } }); // asks again later than it connects
  page.deliver(unavailable("j0"));
  page.world.socket.drop(1006);
  page.world.pass(0.5);
  page.world.socket.accept();
  assert.deepEqual(page.sent().map(({ type }) => type), ["subscribe", "subscribe", "ping"]);
  page.deliver(feed(...jobs(0, 3)));
  page.world.pass(10);
  assert.deepEqual(page.sent(), []);
});

test("onChange: called for a change, and for nothing else", () => {
  const page = new Page(jobs(0, 2));
  page.deliver(feed(...jobs(0, 2)));
  const before = page.changes;
  page.deliver({ type: "heartbeat" }, { type: "unsubscribed", subject: "j0" }, progress(0, 1), unavailable("j0"));
  assert.equal(page.changes, before);
  page.deliver(progress(0, 3));
  assert.equal(page.changes, before + 1);
});
