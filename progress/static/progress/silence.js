/** What is said of a running job that does not report. Pure. As progress/client/silence.py. */

import { stalledOf } from "./fold.js";
import { durationWords, momentWords } from "./format.js";
import { secondsSince } from "./server-clock.js";

const HAPPENS = {
  requeue: "the job is queued again",
  fail: "the job counts as failed",
  cancel: "the job counts as cancelled",
};

/**
 * Return for how many seconds a job has said nothing, or null if it reports as it should, or if nobody knows.
 *
 * @param {object} job
 * @param {number|null} now the server's time
 */
export function silenceOf(job, now) {
  const stalled = stalledOf(job);
  if (stalled) return secondsSince(stalled.since, now);
  if (job.status !== "in_progress" || !(job.max_silence > 0)) return null;
  const silent = secondsSince(job.timestamp, now);
  return silent >= job.max_silence ? silent : null;
}

export function silenceWords(seconds) {
  return `No report for ${durationWords(Math.max(1, Math.floor(seconds)))}`;
}

/** Return what will happen to a stalled job, and when: «… the job is queued again at 12:05:22 as attempt 3 of 3.» */
export function thenWords({ then, at, attempt, of }, now = new Date()) {
  if (then === "leave") return "If the worker stays silent, nothing is done by itself.";
  if (!Object.hasOwn(HAPPENS, then)) return "";
  const moment = new Date(at);
  const when = Number.isNaN(moment.getTime()) ? "" : ` at ${momentWords(moment, now)}`;
  const which = then === "requeue" && attempt > 0 ? ` as attempt ${attempt}${of > 0 ? ` of ${of}` : ""}` : "";
  return `If the worker stays silent, ${HAPPENS[then]}${when}${which}.`;
}
