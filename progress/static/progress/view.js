/** Shows a job in the parts of a page: it only renders, and only as text. */

import * as words from "./words.js";

/** Return the elements below `root` that carry `data-part`, by its value. */
export function partsOf(root) {
  const found = [...root.querySelectorAll("[data-part]")];
  return Object.fromEntries(found.map((element) => [element.dataset.part, element]));
}

/** Show a job in those parts that there are; `root` gets the status, for its colours. */
export function renderJob(root, parts, job) {
  if (root.dataset.status !== job.status) root.dataset.status = job.status;
  for (const [part, text] of Object.entries(textsOf(job))) write(parts[part], text);
  if (parts.bar) renderBar(parts.bar, job);
  if (parts.updated) renderTime(parts.updated, job.timestamp);
  if (parts.created && job.created_at) renderTime(parts.created, job.created_at);
}

/** Write text where it differs: an unchanged node stays quiet for screen readers. Empty parts take no room. */
export function write(element, text) {
  if (!element || element.textContent === text) return;
  element.textContent = text;
  element.hidden = text === "";
}

export function renderConnection(root, element, state, detail) {
  root.dataset.connection = state;
  write(element, words.connectionWords(state, detail));
}

/** Return a function that calls `render` soon, once for many calls; timers also run in hidden tabs, frames do not. */
export function soon(render, delayMilliseconds = 33) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      render();
    }, delayMilliseconds);
  };
}

function textsOf(job) {
  const running = job.status === "in_progress";
  const { stage, attempt, error } = job.metadata;
  return {
    name: words.nameWords(job),
    status: words.statusWords(job),
    percent: words.percentWords(job),
    stage: textOf(stage),
    message: job.message,
    done: words.doneWords(job.metadata),
    rate: running ? words.rateWords(job.metadata) : "",
    left: running ? words.leftWords(job.metadata) : "",
    attempt: attempt > 1 ? `Attempt ${attempt}` : "",
    error: job.status === "failed" && error !== job.message ? textOf(error) : "",
  };
}

/** Metadata is the caller's own, and need not be text. */
function textOf(value) {
  return typeof value === "string" ? value : "";
}

function renderBar(bar, job) {
  const unknown = job.progress === null && job.status === "in_progress";
  if (unknown) bar.removeAttribute("value");
  else if (bar.getAttribute("value") !== String(job.progress ?? 0)) bar.setAttribute("value", job.progress ?? 0);
  const label = `Progress of ${words.nameWords(job)}`;
  if (bar.getAttribute("aria-label") !== label) bar.setAttribute("aria-label", label);
}

function renderTime(element, timestamp) {
  if (element.dateTime === timestamp && element.dataset.local) return;
  element.dateTime = timestamp;
  element.dataset.local = "true";
  element.textContent = words.momentWords(new Date(timestamp));
}
