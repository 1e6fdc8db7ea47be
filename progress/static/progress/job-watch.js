/** What a page knows of one job, and the socket that tells it. No DOM. */

import { socketAddress } from "./address.js";
import { BROWSER, Connection } from "./connection.js";
import { fold, positionOf } from "./fold.js";
import { JOB_NOT_FOUND } from "./policy.js";

export class JobWatch {
  #jobs = new Map();
  #missedAt = null; // when the server first knew of no such job

  /**
   * @param {object} options
   * @param {string} options.jobId
   * @param {object|null} [options.frame] with the state that came with the page
   * @param {{protocol: string, host: string}} options.location where the server is
   * @param {number} [options.heartbeatSeconds] the server's interval
   * @param {number} [options.waitSeconds] how long to wait for a job that is not there yet
   * @param {() => void} options.onChange called when what is known has changed
   * @param {(state: string, detail: object) => void} options.onState as of a `Connection`; `detail` has `isKnown` too
   * @param {object} [options.environment] clock, sockets and chance, for tests
   */
  constructor({ jobId, frame = null, location, heartbeatSeconds, waitSeconds = 60, onChange, onState, environment = {} }) {
    Object.assign(this, { jobId, waitSeconds, onChange, onState });
    this.environment = { ...BROWSER, ...environment };
    if (frame) this.#jobs = fold(this.#jobs, frame);
    this.connection = new Connection({
      url: () => socketAddress(location, jobId, positionOf(this.job)),
      onFrame: (received) => this.#take(received),
      onState: (state, detail) => this.onState(state, { ...detail, isKnown: this.isKnown }),
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
    return Boolean(this.job);
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
