/**
 * `<job-progress job-id="…">` shows one job live, in any page of the site:
 *
 *     <script type="module" src="/static/progress/job-progress.js"></script>
 *     <job-progress job-id="job-123"></job-progress>
 *
 * A job that is not there yet is waited for, `wait-seconds="60"` unless it says otherwise. The element follows its
 * `job-id`, and may be moved, copied, taken out and put back.
 *
 * With `data-part` elements inside, it fills those; empty, it brings its own. A JSON script with the job's state
 * inside lets it resume from there. Each change is told by the event `job-change`, `detail.job`.
 */

import { wakeWithPage } from "./connection.js";
import { JobWatch } from "./job-watch.js";
import { clearJob, partsOf, renderConnection, renderJob, soon, write } from "./view.js";
import { nameWords, statusWords } from "./format.js";

const OWN_PARTS = [
  ["strong", "name"], ["span", "status"], ["progress", "bar"], ["span", "percent"], ["span", "stage"],
  ["span", "message"], ["span", "done"], ["span", "rate"], ["span", "left"], ["span", "attempt"],
  ["span", "error"], ["span", "connection"],
];

class JobProgress extends HTMLElement {
  static observedAttributes = ["job-id"];

  #watch = null;
  #stopWaking = () => {};
  #shownStatus = null;
  #renderSoon = soon(() => this.#render());

  connectedCallback() {
    this.#settle();
  }

  attributeChangedCallback() {
    this.#settle();
  }

  /** A move takes the element out and puts it in again at once, which is no reason to hang up. */
  disconnectedCallback() {
    queueMicrotask(() => this.#settle());
  }

  get job() {
    return this.#watch?.job;
  }

  /** Watch the job that is to be watched from here on, if any; called after all that may have changed it. */
  #settle() {
    const page = this.ownerDocument;
    if (!this.isConnected || !page.defaultView) this.#stop();
    else if (page.readyState === "loading") this.#settleOnceRead(page);
    else this.#watchJob(this.getAttribute("job-id") ?? "");
  }

  /** Until the page was read, what is inside the element may be yet to come. */
  #settleOnceRead(page) {
    page.addEventListener("DOMContentLoaded", () => this.#settle(), { once: true });
  }

  #watchJob(jobId) {
    if (!this.querySelector("[data-part]")) this.append(...OWN_PARTS.flatMap((part) => [makePart(part), " "]));
    this.parts = partsOf(this);
    if (this.#watch?.jobId !== jobId) this.#begin(jobId);
    this.#render();
    if (this.#watch.isStarted) return;
    this.#watch.start();
    this.#stopWaking = wakeWithPage(this.#watch.connection);
  }

  #stop() {
    if (!this.#watch?.isStarted) return;
    this.#stopWaking();
    this.#watch.stop();
  }

  /**
   * `data-shown` says of which job the parts tell. It goes along with a copy of the element, which knows nothing else,
   * so that the copy leaves them as they are until it is told more.
   */
  #begin(jobId) {
    this.#stop();
    const { shown } = this.dataset;
    const frame = this.#takeState();
    this.#watch = this.#makeWatch(jobId, shown === jobId ? { isShown: true } : { frame });
    this.#shownStatus = null;
    if (shown ? shown !== jobId : frame && !this.job) this.#clear();
  }

  /** Return the state that came with the page, once: it would be old when the element, or a copy of it, begins again. */
  #takeState() {
    const script = this.querySelector('script[type="application/json"]');
    script?.remove();
    return script?.textContent ? JSON.parse(script.textContent) : null;
  }

  #makeWatch(jobId, begin) {
    return new JobWatch({
      jobId,
      ...begin,
      location,
      heartbeatSeconds: this.#secondsIn("heartbeat") || undefined,
      waitSeconds: this.#secondsIn("wait-seconds"),
      onChange: () => this.#changed(),
      onState: (state, detail) => this.#showConnection(state, detail),
    });
  }

  /** Return what an attribute says, or undefined where it says nothing of use. */
  #secondsIn(attribute) {
    const seconds = Number.parseFloat(this.getAttribute(attribute));
    return seconds >= 0 ? seconds : undefined;
  }

  /** Where nothing is known and nothing may come, a bar would promise too much. */
  #showConnection(state, detail) {
    renderConnection(this, this.parts.connection, state, detail);
    const isNothing = !detail.isKnown && (state === "waiting" || state === "stopped");
    if (this.parts.bar) this.parts.bar.hidden = isNothing;
  }

  #changed() {
    this.#renderSoon();
    this.dispatchEvent(new CustomEvent("job-change", { bubbles: true, detail: { job: this.job } }));
  }

  #render() {
    if (!this.job) return;
    renderJob(this, this.parts, this.job);
    if (this.dataset.shown !== this.job.job_id) this.dataset.shown = this.job.job_id;
    this.#announce();
  }

  #clear() {
    clearJob(this, this.parts);
    delete this.dataset.shown;
  }

  /** Changes of status are spoken; ticks are not. */
  #announce() {
    const status = statusWords(this.job);
    if (this.#shownStatus !== null && this.#shownStatus !== status) {
      write(this.parts.announcement, `${nameWords(this.job)}: ${status}`);
    }
    this.#shownStatus = status;
  }
}

function makePart([tag, part]) {
  const element = document.createElement(tag);
  element.dataset.part = part;
  if (part === "bar") element.max = 100;
  if (part === "status" || part === "connection") element.setAttribute("role", "status");
  return element;
}

customElements.define("job-progress", JobProgress);
