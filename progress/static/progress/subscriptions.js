/** Which jobs the list watches: those that are not finished, each from its last position. */

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
 * Return the jobs that stay after the first frame of a feed: those that it does not name were deleted, or are no
 * longer among the newest. A frame that was cut says nothing about jobs older than the oldest one in it.
 */
export function onlyNamed(jobs, feed) {
  const named = namedIn(feed);
  const isLeftOpen = ({ created_at: at }) => feed.cut && (at === null || at <= feed.jobs[0].created_at);
  return new Map([...jobs].filter(([jobId, job]) => named.has(jobId) || isLeftOpen(job)));
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

  /** Return the messages for a new connection, which has no subscriptions yet. */
  greeting(jobs) {
    this.#watched.clear();
    this.#doubted.clear();
    return [FEED, ...this.changes(jobs)];
  }

  /** Forget subscriptions that were refused, so that `changes` asks for them again. */
  forget(jobIds) {
    for (const jobId of jobIds) this.#watched.delete(jobId);
  }

  /** Watch these jobs even if they seem finished, until each has answered: the feed did not name them. */
  doubt(jobIds) {
    this.#doubted = new Set(jobIds);
  }

  /** A job in doubt has answered. */
  confirm(jobId) {
    this.#doubted.delete(jobId);
  }

  /** Return the messages that bring the subscriptions in line with the jobs; those that make room come first. */
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

/** Return a list in pieces, each short enough for a message. */
function pieces(list) {
  const count = Math.ceil(list.length / MAX_JOBS);
  return Array.from({ length: count }, (_, index) => list.slice(index * MAX_JOBS, (index + 1) * MAX_JOBS));
}
