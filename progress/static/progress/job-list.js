/** The state of the page of recent jobs, and the messages that it sends. No DOM. */

import { BROWSER } from "./connection.js";
import { fold } from "./fold.js";
import { backoffSeconds } from "./policy.js";
import { FEED, namedIn, newestFirst, onlyNamed, Subscriptions } from "./subscriptions.js";

const WATCH_SECONDS = 0.5; // between changes of the subscriptions, of two messages each: the server allows 20 a second
const RETRY_AFTER_FAILURES = 3; // after a temporary refusal, wait as after so many failed tries to connect

export class JobList {
  #jobs;
  #subscriptions;
  #isFirstFeed = true;
  #refused = new Set(); // the subjects to subscribe to again
  #retry = null;

  /**
   * @param {object} options
   * @param {object} options.listed the feed frame that came with the page
   * @param {number} options.limit how many jobs are shown
   * @param {number} [options.maxSubscriptions] how many jobs the socket may watch
   * @param {(message: object) => void} options.send
   * @param {() => void} options.onChange called when the jobs have changed
   * @param {object} [options.environment] clock and randomness, for tests
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

  receive(frame) {
    if (frame.type === "error") return this.#receiveError(frame);
    // Frames of a job that has left the list still come until its subscription ends; only the feed adds jobs.
    if (frame.type !== "feed" && !this.#jobs.has(frame.job_id ?? frame.subject)) return;
    this.#subscriptions.confirm(frame.job_id);
    const jobs = fold(this.#jobs, frame);
    if (frame.type === "feed" && this.#isFirstFeed) this.#receiveFirst(jobs, frame);
    else if (jobs !== this.#jobs) this.#setJobs(jobs);
  }

  #receiveFirst(jobs, feed) {
    this.#isFirstFeed = false;
    const left = onlyNamed(jobs, feed);
    const named = namedIn(feed);
    this.#subscriptions.doubt([...left.keys()].filter((jobId) => !named.has(jobId)));
    this.#setJobs(left);
  }

  #setJobs(jobs) {
    this.#jobs = new Map(newestFirst(jobs, this.limit).map((job) => [job.job_id, job]));
    this.watch();
    this.onChange();
  }

  /** A job that no longer exists leaves the list; after a temporary error, the subscription is tried again later. */
  #receiveError({ temporary, code, subject }) {
    if (temporary) this.#askLater(subject);
    else if (code === "job_not_found" && this.#jobs.has(subject)) {
      this.#subscriptions.forget([subject]);
      this.#setJobs(new Map([...this.#jobs].filter(([jobId]) => jobId !== subject)));
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

/** Return a function that acts at most once in so many seconds: at once if it can, else once for all calls since. */
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
