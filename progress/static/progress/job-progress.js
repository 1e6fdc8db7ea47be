/**
 * `<job-progress job-id="…">` shows one job live, in any page of the site:
 *
 *     <script type="module" src="/static/progress/job-progress.js"></script>
 *     <job-progress job-id="job-123"></job-progress>
 *
 * It waits for a job that does not exist yet, for 60 seconds or as `wait-seconds` says. It follows changes of its
 * `job-id`, and may be moved, copied, removed and put back.
 *
 * Who has no account sees the job by a token, which a script sets as `token` before it inserts the element.
 *
 * It fills the `data-part` elements inside it; if there are none, it adds its own. From a JSON script inside, with the
 * state of the job, it resumes. Each change fires the event `job-change` with `detail.job`.
 */

import { wakeWithPage } from "./connection.js";
import { JobWatch } from "./job-watch.js";
import { spokenWords, Timing } from "./timing.js";
import { clearJob, partsOf, renderConnection, renderJob, soon, TICK_SECONDS, write } from "./view.js";
import { nameWords } from "./format.js";

const OWN_PARTS = [
  ["strong", "name"], ["span", "status"], ["progress", "bar"], ["span", "percent"], ["span", "stage"],
  ["span", "message"], ["span", "done"], ["span", "rate"], ["span", "left"], ["span", "usual"], ["span", "usual-now"],
  ["span", "then"], ["span", "attempt"], ["span", "error"], ["span", "connection"],
];

class JobProgress extends HTMLElement {
  static observedAttributes = ["job-id"];

  token = null; // never an attribute, which a copy of the page would hold

  #watch = null;
  #stopWaking = () => {};
  #ticking = null;
  #timing = new Timing();
  #connection = { state: "connecting", detail: {} };
  #spoken = null;
  #renderSoon = soon(() => this.#render());

  connectedCallback() {
    this.#update();
  }

  attributeChangedCallback() {
    this.#update();
  }

  /** A move removes the element and inserts it again at once; the connection is kept. */
  disconnectedCallback() {
    queueMicrotask(() => this.#update());
  }

  get job() {
    return this.#watch?.job;
  }

  /** Watch the job of `job-id`, or none while the element is not in a page; called after whatever may change that. */
  #update() {
    const page = this.ownerDocument;
    if (!this.isConnected || !page.defaultView) this.#stop();
    else if (page.readyState === "loading") this.#updateOnceParsed(page);
    else this.#watchJob(this.getAttribute("job-id") ?? "");
  }

  /** Until the page is parsed, the element's content may still be missing. */
  #updateOnceParsed(page) {
    page.addEventListener("DOMContentLoaded", () => this.#update(), { once: true });
  }

  #watchJob(jobId) {
    if (!this.querySelector("[data-part]")) this.append(...OWN_PARTS.flatMap((part) => [makePart(part), " "]));
    this.parts = partsOf(this);
    if (this.#watch?.jobId !== jobId) this.#begin(jobId);
    this.#render();
    if (this.#watch.isStarted) return;
    this.#watch.start();
    this.#stopWaking = wakeWithPage(this.#watch.connection);
    this.#ticking = setInterval(() => this.#render(), TICK_SECONDS * 1000);
  }

  #stop() {
    if (!this.#watch?.isStarted) return;
    this.#stopWaking();
    clearInterval(this.#ticking);
    this.#watch.stop();
  }

  /**
   * `data-shown` names the job that the parts show. A copy of the element has this attribute and nothing else to go by;
   * it leaves the parts as they are until a frame comes.
   */
  #begin(jobId) {
    this.#stop();
    const { shown } = this.dataset;
    const frame = this.#takeState();
    this.#watch = this.#makeWatch(jobId, shown === jobId ? { isShown: true } : { frame });
    this.#timing = new Timing();
    this.#spoken = null;
    if (shown ? shown !== jobId : frame && !this.job) this.#clear();
  }

  /** Return the state that came with the page, and remove it: it would be old when the element, or a copy, starts again. */
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
      token: this.token,
      heartbeatSeconds: this.#secondsIn("heartbeat") || undefined,
      waitSeconds: this.#secondsIn("wait-seconds"),
      onChange: () => this.#changed(),
      onState: (state, detail) => this.#showConnection(state, detail),
    });
  }

  /** Return the number of seconds in an attribute, or undefined if there is none. */
  #secondsIn(attribute) {
    const seconds = Number.parseFloat(this.getAttribute(attribute));
    return seconds >= 0 ? seconds : undefined;
  }

  /** Hide the bar while the job is unknown and may never come: it would promise too much. */
  #showConnection(state, detail) {
    this.#connection = { state, detail };
    this.#render();
    const isNothing = !detail.isKnown && (state === "waiting" || state === "stopped");
    if (this.parts.bar) this.parts.bar.hidden = isNothing;
  }

  #changed() {
    this.#renderSoon();
    this.dispatchEvent(new CustomEvent("job-change", { bubbles: true, detail: { job: this.job } }));
  }

  #render() {
    const { state, detail } = this.#connection;
    const isSilent = this.job ? this.#renderJob() : false;
    renderConnection(this, this.parts.connection, state, { ...detail, isSilent });
  }

  /** Show the job, and return whether it is one that does not report. */
  #renderJob() {
    const { clock, state } = this.#watch.connection;
    const told = this.#timing.of(this.job, clock.now(), state === "live");
    renderJob(this, this.parts, this.job, told);
    if (this.dataset.shown !== this.job.job_id) this.dataset.shown = this.job.job_id;
    this.#announce(told);
    return told.trouble !== "";
  }

  #clear() {
    clearJob(this, this.parts);
    delete this.dataset.shown;
  }

  /** Announce to screen readers a change of status, and that something is wrong or right again, but not each tick. */
  #announce(told) {
    const spoken = spokenWords(this.job, told);
    if (this.#spoken !== null && this.#spoken !== spoken) {
      write(this.parts.announcement, `${nameWords(this.job)}: ${spoken}`);
    }
    this.#spoken = spoken;
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
