/**
 * `<job-progress job-id="…">` shows one job live, in any page of the site:
 *
 *     <script type="module" src="/static/progress/job-progress.js"></script>
 *     <job-progress job-id="job-123"></job-progress>
 *
 * A job that is not there yet is waited for, `wait-seconds="60"` unless it says otherwise.
 *
 * With `data-part` elements inside, it fills those; empty, it brings its own. A JSON script with the job's state
 * inside lets it resume from there. Each change is told by the event `job-change`, `detail.job`.
 */

import { wakeWithPage } from "./connection.js";
import { JobWatch } from "./job-watch.js";
import { partsOf, renderConnection, renderJob, soon, write } from "./view.js";
import { nameWords, statusWords } from "./words.js";

const OWN_PARTS = [
  ["strong", "name"], ["span", "status"], ["progress", "bar"], ["span", "percent"], ["span", "stage"],
  ["span", "message"], ["span", "done"], ["span", "rate"], ["span", "left"], ["span", "attempt"],
  ["span", "error"], ["span", "connection"],
];

class JobProgress extends HTMLElement {
  #watch = null;
  #shownStatus = null;
  #stopWaking = () => {};

  connectedCallback() {
    if (!this.querySelector("[data-part]")) this.append(...OWN_PARTS.flatMap((part) => [makePart(part), " "]));
    this.parts = partsOf(this);
    this.render = soon(() => this.#render());
    this.#watch = this.#makeWatch();
    this.#render();
    this.#stopWaking = wakeWithPage(this.#watch.connection);
    this.#watch.connection.start();
  }

  disconnectedCallback() {
    this.#stopWaking();
    this.#watch.connection.close();
  }

  get job() {
    return this.#watch?.job;
  }

  #makeWatch() {
    const state = this.querySelector('script[type="application/json"]')?.textContent;
    return new JobWatch({
      jobId: this.getAttribute("job-id"),
      frame: state ? JSON.parse(state) : null,
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
    this.render();
    this.dispatchEvent(new CustomEvent("job-change", { bubbles: true, detail: { job: this.job } }));
  }

  #render() {
    if (!this.job) return;
    renderJob(this, this.parts, this.job);
    this.#announce();
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
