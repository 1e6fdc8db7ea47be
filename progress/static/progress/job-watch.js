/** What a page knows of one job, and the socket that tells it. No DOM. */

import { isJobId, socketAddress } from "./address.js";
import { BROWSER, Connection } from "./connection.js";
import { fold, positionOf } from "./fold.js";
import { JOB_NOT_FOUND } from "./policy.js";

export class JobWatch {
  #jobs = new Map();
  #missedAt = null; // when the server first knew of no such job

  /**
   * @param {object} options
   * @param {string} options.jobId where it can be none, the job is not found, and nothing is asked of the server
   * @param {object|null} [options.frame] with the state that came with the page
   * @param {boolean} [options.isShown] whether the page shows the job already, though nothing else is known of it
   * @param {{protocol: string, host: string}} options.location where the server is
   * @param {number} [options.heartbeatSeconds] the server's interval
   * @param {number} [options.waitSeconds] how long to wait for a job that is not there yet
   * @param {() => void} options.onChange called when what is known has changed
   * @param {(state: string, detail: object) => void} options.onState as of a `Connection`; `detail` has `isKnown` too
   * @param {object} [options.environment] clock, sockets and chance, for tests
   */
  constructor({
    jobId, frame = null, isShown = false, location, heartbeatSeconds, waitSeconds = 60, onChange, onState, environment = {},
  }) {
    Object.assign(this, { jobId, isShown, waitSeconds, onChange });
    this.onState = (state, detail) => onState(state, { ...detail, isKnown: this.isKnown });
    this.isStarted = false;
    this.environment = { ...BROWSER, ...environment };
    if (frame) this.#jobs = fold(this.#jobs, frame);
    this.connection = new Connection({
      url: () => socketAddress(location, jobId, positionOf(this.job)),
      onFrame: (received) => this.#take(received),
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

  /** Begin, or begin again from what is known. */
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

  #take(frame) {
    if (frame.type === "error") return this.#takeError(frame);
    const before = this.job;
    this.#jobs = fold(this.#jobs, frame);
    if (this.job !== before) this.onChange();
  }

  /** Return for how long yet to wait for a job of which nothing is known: its worker may make it a moment later. */
  #secondsLeft() {
    if (this.isKnown) return 0;
    const now = this.environment.now();
    this.#missedAt ??= now;
    return this.waitSeconds - (now - this.#missedAt) / 1000;
  }

  /** A watcher who is turned away later is told so by a frame alone; the socket has no purpose then. */
  #takeError({ code, subject }) {
    if (code === "job_not_found" && subject === this.jobId) this.connection.end(JOB_NOT_FOUND);
  }
}
