/** Which jobs the list watches: those that are not finished, each from the position that is known of it. */

import { isFinished, positionOf } from "./fold.js";

export const FEED = { type: "subscribe", feed: "all" };
export const MAX_JOBS = 128; // in one message, by the wire protocol; also what a socket may watch by default

/** Return the newest of the jobs, newest first. */
export function newestFirst(jobs, limit = Infinity) {
  const made = (job) => job.created_at ?? job.timestamp;
  const sorted = [...jobs.values()].sort((a, b) => (made(a) < made(b) ? 1 : made(a) > made(b) ? -1 : 0));
  return sorted.slice(0, limit);
}

/**
 * Return those jobs that the first answer of a feed leaves: the others were deleted, or are listed no more. It names
 * the newest; where it was cut, it says nothing of those that are no newer than the oldest that it names.
 */
export function onlyNamed(jobs, feed) {
  const named = namedIn(feed);
  const isUnsaid = ({ created_at: at }) => feed.cut && (at === null || at <= feed.jobs[0].created_at);
  return new Map([...jobs].filter(([jobId, job]) => named.has(jobId) || isUnsaid(job)));
}

export function namedIn(feed) {
  return new Set(feed.jobs.map((job) => job.job_id));
}

export class Subscriptions {
  #watched = new Set();
  #doubted = new Set();

  /** @param {number} limit how many jobs the socket may watch */
  constructor(limit = MAX_JOBS) {
    this.limit = limit;
  }

  /** Return the messages for a new connection, which knows of no subscription. */
  greeting(jobs) {
    this.#watched.clear();
    this.#doubted.clear();
    return [FEED, ...this.changes(jobs)];
  }

  /** Note that subscriptions were refused, so that the next changes ask for them again. */
  forget(jobIds) {
    for (const jobId of jobIds) this.#watched.delete(jobId);
  }

  /** Note that only their own answers can tell how these jobs are, finished or not. */
  doubt(jobIds) {
    this.#doubted = new Set(jobIds);
  }

  /** Note that a job has answered for itself. */
  settle(jobId) {
    this.#doubted.delete(jobId);
  }

  /** Return the messages that make what is watched fit the jobs; first those that make room. */
  changes(jobs) {
    const wanted = new Map(this.#wanted(jobs).map((job) => [job.job_id, job]));
    const dropped = [...this.#watched].filter((jobId) => !wanted.has(jobId));
    const added = [...wanted.values()].filter((job) => !this.#watched.has(job.job_id));
    this.#watched = new Set(wanted.keys());
    return [
      ...pieces(dropped).map((jobIds) => ({ type: "unsubscribe", job_ids: jobIds })),
      ...pieces(added).map((piece) => ({ type: "subscribe", jobs: piece.map(subscription) })),
    ];
  }

  #wanted(jobs) {
    const moving = newestFirst(jobs).filter((job) => !isFinished(job) || this.#doubted.has(job.job_id));
    return moving.slice(0, this.limit);
  }
}

function subscription(job) {
  const since = positionOf(job);
  return { job_id: job.job_id, ...(since && { since }) };
}

/** Return a list in pieces that are each a message. */
function pieces(list) {
  const count = Math.ceil(list.length / MAX_JOBS);
  return Array.from({ length: count }, (_, index) => list.slice(index * MAX_JOBS, (index + 1) * MAX_JOBS));
}
