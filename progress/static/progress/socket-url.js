/** The URL of the WebSocket, and which job ids it can name. Pure. */

const PATH = "/progress/ws";
const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/; // as in jobs/ids.py

export function isJobId(value) {
  return JOB_ID.test(value);
}

/**
 * Return the URL that watches one job; without a job id, the one that starts with no subscription.
 *
 * @param {{protocol: string, host: string}} location where the server is
 * @param {string} [jobId]
 * @param {{epoch: string, seq: number}|null} [position] to resume from
 */
export function socketUrl(location, jobId = "", position = null) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const path = jobId ? `${PATH}/${encodeURIComponent(jobId)}` : PATH;
  const query = position ? `?${new URLSearchParams(position)}` : "";
  return `${scheme}//${location.host}${path}${query}`;
}
