/** The state of one watched job, and the connection that keeps it up to date. No DOM. */

import { isJobId, socketUrl } from "./socket-url.js";
import { BROWSER, Connection } from "./connection.js";
import { fold, positionOf } from "./fold.js";
import { JOB_NOT_FOUND, RESYNC } from "./policy.js";

export class JobWatch {
  #jobs = new Map();
  #missedAt = null; // when the server first said that there is no such job

  /**
   * @param {object} options
   * @param {string} options.jobId if it is malformed, the job counts as not found, and the server is not asked
   * @param {object|null} [options.frame] with the state that came with the page
   * @param {boolean} [options.isShown] whether the page shows the job already, though there is no state of it
   * @param {{protocol: string, host: string}} options.location where the server is
   * @param {number} [options.heartbeatSeconds] the server's interval
   * @param {string|null} [options.token] shown whenever the socket opens, by who has no account
   * @param {number} [options.waitSeconds] how long to wait for a job that does not exist yet
   * @param {() => void} options.onChange called when the job has changed
   * @param {(state: string, detail: object) => void} options.onState as for a `Connection`; `detail` has `isKnown` too
   * @param {object} [options.environment] clock, sockets and randomness, for tests
   */
  constructor({
    jobId, frame = null, isShown = false, location, heartbeatSeconds, token = null, waitSeconds = 60, onChange, onState,
    environment = {},
  }) {
    Object.assign(this, { jobId, isShown, token, waitSeconds, onChange });
    this.onState = (state, detail) => onState(state, { ...detail, isKnown: this.isKnown });
    this.isStarted = false;
    this.environment = { ...BROWSER, ...environment };
    if (frame) this.#jobs = fold(this.#jobs, frame);
    this.connection = new Connection({
      // What the URL names is asked for before any message; and no token belongs into a URL, since servers log those.
      url: () => (token ? socketUrl(location) : socketUrl(location, jobId, positionOf(this.job))),
      greeting: () => (token ? [{ type: "auth", token }, this.#subscription()] : []),
      onFrame: (received) => this.#receive(received),
      onState: this.onState,
      secondsLeft: (code) => (code === JOB_NOT_FOUND ? this.#secondsLeft() : 0),
      heartbeatSeconds,
      asOf: this.job ? this.environment.now() : null,
      environment: this.environment,
    });
  }

  get job() {
    return this.#jobs.get(this.jobId);
  }

  get isKnown() {
    return this.isShown || Boolean(this.job);
  }

  /** Start, or start again from the last position. */
  start() {
    this.isStarted = true;
    this.#missedAt = null;
    if (isJobId(this.jobId)) this.connection.start();
    else this.onState("stopped", { asOf: null, code: JOB_NOT_FOUND });
  }

  stop() {
    this.isStarted = false;
    this.connection.close();
  }

  #subscription() {
    const since = positionOf(this.job);
    return { type: "subscribe", job_id: this.jobId, ...(since && { since }) };
  }

  #receive(frame) {
    if (frame.type === "error") return this.#receiveError(frame);
    const before = this.job;
    this.#jobs = fold(this.#jobs, frame);
    if (this.job !== before) this.onChange();
  }

  /** Return how much longer to wait for an unknown job: it may be created a moment later. */
  #secondsLeft() {
    if (this.isKnown) return 0;
    const now = this.environment.now();
    this.#missedAt ??= now;
    return this.waitSeconds - (now - this.#missedAt) / 1000;
  }

  /**
   * When access ends later, only an error frame says so; the connection has no purpose then. What is asked for by a
   * message, as with a token, leaves the socket open if it can't be answered now.
   */
  #receiveError({ code, subject }) {
    if (code === "job_not_found" && subject === this.jobId) this.connection.end(JOB_NOT_FOUND);
    if (code === "unavailable" && this.token) this.connection.end(RESYNC);
  }
}
