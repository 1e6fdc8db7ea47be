/** What to do when a connection ends: the rules of the wire protocol, as pure functions. */

const BASE_SECONDS = 0.5;
const MAX_SECONDS = 20;
export const RESYNC = 4010; // the close codes
export const NOT_AUTHENTICATED = 4503;
export const JOB_NOT_FOUND = 4504;
export const GRACE_SECONDS = 10; // beyond the heartbeat interval, before a silent connection counts as dead

/**
 * Return how many seconds to wait before the next try, after so many failed ones in a row (0: the last connection
 * worked); with full jitter, so that many clients do not reconnect at once.
 */
export function backoffSeconds(failures, random = Math.random) {
  const jitter = random() * Math.min(MAX_SECONDS, BASE_SECONDS * 2 ** failures);
  return Math.min(MAX_SECONDS, BASE_SECONDS + jitter);
}

/** Return whether a frame answers a subscription; heartbeats, errors and replayed events do not. */
export function isAnswer(frame) {
  return frame.type === "snapshot" || frame.type === "feed";
}

/** Return whether a close code means that the same request would fail again. */
export function isFinal(code) {
  return code >= 4500 && code <= 4999;
}
