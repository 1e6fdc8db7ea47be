/** What the page of recent jobs knows, and what it asks of the server. No DOM. */

import { BROWSER } from "./connection.js";
import { fold } from "./fold.js";
import { backoffSeconds } from "./policy.js";
import { FEED, namedIn, newestFirst, onlyNamed, Subscriptions } from "./subscriptions.js";

const WATCH_SECONDS = 0.5; // between changes of what is watched, of two messages each: a server takes twenty a second
const RETRY_AFTER_FAILURES = 3; // a temporary refusal is met with the backoff after so many failed tries

export class JobList {
  #jobs;
  #subscriptions;
  #isFirstFeed = true;
  #refused = new Set(); // what is to be asked for again
  #retry = null;

  /**
   * @param {object} options
   * @param {object} options.listed the frame of a feed that came with the page
   * @param {number} options.limit how many jobs are shown
   * @param {number} [options.maxSubscriptions] how many jobs the socket may watch
   * @param {(message: object) => void} options.send
   * @param {() => void} options.onChange called when what is known has changed
   * @param {object} [options.environment] clock and chance, for tests
   */
  constructor({ listed, limit, maxSubscriptions, send, onChange, environment = {} }) {
    Object.assign(this, { limit, send, onChange });
    this.environment = { ...BROWSER, ...environment };
    this.watch = atMostEvery(WATCH_SECONDS, () => this.#watch(), this.environment);
    this.#subscriptions = new Subscriptions(maxSubscriptions);
    this.#jobs = fold(new Map(), listed);
  }

  get newest() {
    return newestFirst(this.#jobs);
  }

  /** Return the messages for a new connection. */
  greeting() {
    this.#isFirstFeed = true;
    this.#refused.clear();
    return this.#subscriptions.greeting(this.#jobs);
  }

  take(frame) {
    if (frame.type === "error") return this.#takeError(frame);
    // A job that has left the list is told of until its subscription ends; only the feed brings jobs in.
    if (frame.type !== "feed" && !this.#jobs.has(frame.job_id ?? frame.subject)) return;
    this.#subscriptions.settle(frame.job_id);
    const jobs = fold(this.#jobs, frame);
    if (frame.type === "feed" && this.#isFirstFeed) this.#takeFirst(jobs, frame);
    else if (jobs !== this.#jobs) this.#become(jobs);
  }

  #takeFirst(jobs, feed) {
    this.#isFirstFeed = false;
    const left = onlyNamed(jobs, feed);
    const named = namedIn(feed);
    this.#subscriptions.doubt([...left.keys()].filter((jobId) => !named.has(jobId)));
    this.#become(left);
  }

  #become(jobs) {
    this.#jobs = new Map(newestFirst(jobs, this.limit).map((job) => [job.job_id, job]));
    this.watch();
    this.onChange();
  }

  /** A job that is gone leaves the list; what may work later is asked for again. */
  #takeError({ temporary, code, subject }) {
    if (temporary) this.#askLater(subject);
    else if (code === "job_not_found" && this.#jobs.has(subject)) {
      this.#subscriptions.forget([subject]);
      this.#become(new Map([...this.#jobs].filter(([jobId]) => jobId !== subject)));
    }
  }

  #askLater(subject) {
    this.#refused.add(subject);
    const seconds = backoffSeconds(RETRY_AFTER_FAILURES, this.environment.random);
    this.#retry ??= this.environment.setTimeout(() => this.#askAgain(), seconds);
  }

  #askAgain() {
    this.#retry = null;
    if (this.#isFirstFeed && this.#refused.has(FEED.feed)) this.send(FEED);
    this.#subscriptions.forget(this.#refused);
    this.#refused.clear();
    this.watch();
  }

  #watch() {
    this.#subscriptions.changes(this.#jobs).forEach((message) => this.send(message));
  }
}

/** Return a function that acts at once, but so many seconds after the last time at the earliest: then once for many calls. */
function atMostEvery(seconds, act, environment) {
  let [isWaiting, isAsked] = [false, false];
  const run = () => {
    [isWaiting, isAsked] = [true, false];
    environment.setTimeout(() => {
      isWaiting = false;
      if (isAsked) run();
    }, seconds);
    act();
  };
  return () => (isWaiting ? (isAsked = true) : run());
}
