/** Numbers, times and states in words for people. Pure. */

import { stalledOf } from "./fold.js";
import { JOB_NOT_FOUND, NOT_AUTHENTICATED } from "./policy.js";

const STATUS = {
  pending: "Pending",
  queued: "Queued",
  in_progress: "In progress",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
};
const BYTES = ["B", "KB", "MB", "GB", "TB", "PB"];

/** Return a status in words; «Stalled» while the worker gives no sign of life, «Cancelling» while the job runs on after it was asked to stop, or nobody knows whether. */
export function statusWords(job) {
  if (stalledOf(job)) return "Stalled";
  if (job.status === "in_progress" && job.metadata.cancel_unanswered) return "Cancelling — the worker has not answered";
  if (job.status === "in_progress" && job.metadata.cancel_requested) return "Cancelling";
  return STATUS[job.status] ?? job.status;
}

/** Return whole percents, rounded down, so that only a finished job shows 100%. Empty while indeterminate. */
export function percentWords(job) {
  return job.progress === null ? "" : `${Math.floor(job.progress)}%`;
}

/** Return an amount with its unit: «1,200 rows», «3.2 MB». */
export function amountWords(count, unit) {
  if (unit === "bytes") return bytes(count);
  return unit ? `${decimal(count)} ${unit}` : decimal(count);
}

/** Return how much is done, «1,200 of 5,000 rows», or an empty string while that is unknown. */
export function doneWords({ current, total, unit }) {
  if (!isNumber(current)) return "";
  if (!isNumber(total)) return amountWords(current, unit);
  const done = unit === "bytes" ? bytes(current) : decimal(current);
  return `${done} of ${amountWords(total, unit)}`;
}

/** Return a speed, «12.3 MB/s»; a slow one per minute or hour, so that it is not shown as «0.0 rows/s». */
export function rateWords({ rate, unit }) {
  if (!isNumber(rate) || rate <= 0) return "";
  if (unit === "bytes" || rate >= 1) return `${amountWords(rate, unit)}/s`;
  return rate >= 1 / 60 ? `${amountWords(rate * 60, unit)}/min` : `${amountWords(rate * 3600, unit)}/h`;
}

/** Return the time left, «1 min 20 s left». */
export function leftWords({ eta_seconds: seconds }) {
  return isNumber(seconds) && seconds >= 0 ? `${durationWords(seconds)} left` : "";
}

/** Return a duration in its two largest units; nobody needs the seconds of an hour. */
export function durationWords(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return whole <= 1 ? "1 s" : `${whole} s`;
  if (whole < 3600) return pair(Math.floor(whole / 60), "min", whole % 60, "s");
  const minutes = Math.round(whole / 60);
  if (minutes < 1440) return pair(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(minutes / 60);
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** Return the time of day where the viewer is, 12:03:07. */
export function clockWords(date) {
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** Return the time alone for a moment of today, else the date and the time. */
export function momentWords(date, now = new Date()) {
  if (date.toDateString() === now.toDateString()) return clockWords(date);
  const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
  return `${day}, ${clockWords(date).slice(0, 5)}`;
}

/**
 * Return the state of the connection in words; while it is down, with the time of what the page shows. Of a job that
 * does not report, nothing that is shown is live.
 */
export function connectionWords(state, { asOf = null, code = null, isKnown = true, isSilent = false } = {}) {
  if (state === "live") return isSilent ? "connected" : "live";
  if (state === "connecting") return "connecting";
  if (state === "waiting") return "waiting for the job";
  if (state === "stopped" && code === JOB_NOT_FOUND) {
    return isKnown ? "this job is no longer here, or not for you" : "job not found";
  }
  if (state === "stopped" && code === NOT_AUTHENTICATED) return "this link has expired, or was taken back";
  if (state === "stopped") return code === null ? "disconnected" : "disconnected; reload the page to go on";
  return asOf ? `reconnecting, as of ${clockWords(asOf)}` : "reconnecting";
}

/** Return the title of the browser's tab; the progress comes first, since tabs are narrow, or that nothing goes on. */
export function titleWords(job) {
  const isMoving = job.status === "in_progress" && !stalledOf(job);
  const lead = (isMoving && percentWords(job)) || statusWords(job);
  return `${lead} · ${nameWords(job)}`;
}

export function nameWords(job) {
  return job.name || job.job_id;
}

function bytes(count) {
  let [value, step] = [Math.round(count), 0];
  while (value >= 999.95 && step < BYTES.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${step === 0 ? value : value.toFixed(1)} ${BYTES[step]}`;
}

/** Whole numbers and those from 100 on without decimals, others with one; with thousands separators. */
function decimal(number) {
  const digits = Number.isInteger(number) || number >= 100 ? 0 : 1;
  return number.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function pair(large, largeUnit, small, smallUnit) {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
