/** Which jobs the list watches: those that are not finished, each from the position that is known of it. */

import { isFinished, positionOf } from "./fold.js";

export const FEED = { type: "subscribe", feed: "all" };

/** Return the newest of the jobs, newest first. */
export function newestFirst(jobs, limit = Infinity) {
  const made = (job) => job.created_at ?? job.timestamp;
  const sorted = [...jobs.values()].sort((a, b) => (made(a) < made(b) ? 1 : made(a) > made(b) ? -1 : 0));
  return sorted.slice(0, limit);
}

/** Return those jobs that the first answer of a feed names; the others were deleted, or are listed no more. */
export function onlyNamed(jobs, feed) {
  const named = new Set(feed.jobs.map((job) => job.job_id));
  return new Map([...jobs].filter(([jobId]) => named.has(jobId)));
}

export class Subscriptions {
  #watched = new Set();

  /** Return the messages for a new connection, which knows of no subscription. */
  greeting(jobs) {
    this.#watched.clear();
    return [FEED, ...this.changes(jobs)];
  }

  /** Note that a subscription was refused, so that the next changes ask for it again. */
  forget(jobId) {
    this.#watched.delete(jobId);
  }

  /** Return the messages that make what is watched fit the jobs. */
  changes(jobs) {
    const wanted = new Map([...jobs].filter(([, job]) => !isFinished(job)));
    const dropped = [...this.#watched].filter((jobId) => !wanted.has(jobId));
    const added = [...wanted.keys()].filter((jobId) => !this.#watched.has(jobId));
    this.#watched = new Set(wanted.keys());
    return [
      ...dropped.map((jobId) => ({ type: "unsubscribe", job_id: jobId })),
      ...added.map((jobId) => subscribe(wanted.get(jobId))),
    ];
  }
}

function subscribe(job) {
  const since = positionOf(job);
  return { type: "subscribe", job_id: job.job_id, ...(since && { since }) };
}
