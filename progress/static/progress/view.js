/** Renders a job into the parts of a page, always as text. */

import * as format from "./format.js";

/** The text of each part, for a job and what its `Timing` says. */
const TEXTS = {
  name: format.nameWords,
  status: format.statusWords,
  percent: format.percentWords,
  stage: ({ metadata }) => textOf(metadata.stage),
  message: ({ message }) => message,
  done: ({ metadata }) => format.doneWords(metadata),
  rate: (job, { trouble }) => (isRunning(job) && !trouble ? format.rateWords(job.metadata) : ""),
  left: (job, { left }) => left,
  usual: (job, { usual }) => usual,
  "usual-now": (job, { usualPercent }) => usualNowWords(usualPercent),
  then: (job, { then }) => then,
  attempt: ({ metadata: { attempt } }) => (attempt > 1 ? `Attempt ${attempt}` : ""),
  error: ({ status, message, metadata: { error } }) => (status === "failed" && error !== message ? textOf(error) : ""),
};
const TIMES = ["updated", "created"];
export const TICK_SECONDS = 1; // between looks at the clock, while nothing else comes

/** Return the elements below `root` that carry `data-part`, by its value. */
export function partsOf(root) {
  const found = [...root.querySelectorAll("[data-part]")];
  return Object.fromEntries(found.map((element) => [element.dataset.part, element]));
}

/** Show a job in the parts that are present; `root` gets the status and what is wrong, for its colours. */
export function renderJob(root, parts, job, timing) {
  if (root.dataset.status !== job.status) root.dataset.status = job.status;
  setTrouble(root, timing.trouble);
  for (const [part, say] of Object.entries(TEXTS)) write(parts[part], say(job, timing));
  if (parts.bar) renderBar(parts.bar, job, timing);
  if (parts["usual-mark"]) renderMark(parts["usual-mark"], timing.usualPercent);
  if (parts.updated) renderTime(parts.updated, job.timestamp);
  if (parts.created && job.created_at) renderTime(parts.created, job.created_at);
}

/** Empty the parts: what they show of another job would be taken for this one's. */
export function clearJob(root, parts) {
  delete root.dataset.status;
  setTrouble(root, "");
  if (parts["usual-mark"]) renderMark(parts["usual-mark"], null);
  for (const part of [...Object.keys(TEXTS), ...TIMES, "announcement"]) write(parts[part], "");
  for (const part of TIMES) parts[part]?.removeAttribute("datetime");
  for (const attribute of ["value", "aria-label", "aria-valuetext"]) parts.bar?.removeAttribute(attribute);
}

/** Write the text if it has changed: screen readers announce each write. Empty parts are hidden. */
export function write(element, text) {
  if (!element || element.textContent === text) return;
  element.textContent = text;
  element.hidden = text === "";
}

export function renderConnection(root, element, state, detail) {
  if (root.dataset.connection !== state) root.dataset.connection = state;
  write(element, format.connectionWords(state, detail));
}

/** Return a function that calls `render` soon, once for many calls; animation frames would stop in hidden tabs. */
export function soon(render, delayMilliseconds = 33) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      render();
    }, delayMilliseconds);
  };
}

/** Metadata may hold anything; only text is shown. */
function textOf(value) {
  return typeof value === "string" ? value : "";
}

function isRunning(job) {
  return job.status === "in_progress";
}

function setTrouble(root, trouble) {
  if (!trouble) delete root.dataset.trouble;
  else if (root.dataset.trouble !== trouble) root.dataset.trouble = trouble;
}

function usualNowWords(percent) {
  return percent === null ? "" : `a usual run would be at ${percent}%`;
}

function renderBar(bar, job, { usualPercent }) {
  const unknown = job.progress === null && isRunning(job);
  if (unknown) bar.removeAttribute("value");
  else if (bar.getAttribute("value") !== String(job.progress ?? 0)) bar.setAttribute("value", job.progress ?? 0);
  const label = `Progress of ${format.nameWords(job)}`;
  if (bar.getAttribute("aria-label") !== label) bar.setAttribute("aria-label", label);
  const value = usualPercent === null ? "" : `${format.percentWords(job)}, ${usualNowWords(usualPercent)}`;
  if (!value) bar.removeAttribute("aria-valuetext");
  else if (bar.getAttribute("aria-valuetext") !== value) bar.setAttribute("aria-valuetext", value);
}

/** The mark on the bar; the bar's text says what it says. By script, since the policy lets no inline style through. */
function renderMark(mark, percent) {
  mark.hidden = percent === null;
  mark.style.insetInlineStart = percent === null ? "" : `${percent}%`;
}

function renderTime(element, timestamp) {
  if (element.dateTime === timestamp && element.dataset.local) return;
  element.dateTime = timestamp;
  element.dataset.local = "true";
  write(element, format.momentWords(new Date(timestamp)));
}
