/** The rows of the list: cloned from the page's template, filled as text, moved only when the order changes. */

import { isFinished, stalledOf } from "./fold.js";
import { Timing } from "./timing.js";
import { partsOf, renderJob, write } from "./view.js";
import { nameWords, statusWords } from "./format.js";

export class JobRows {
  #rows = new Map(); // by job id

  /**
   * @param {Element} page
   * @param {() => {now: number|null, isLive: boolean}} present the server's time, and whether the page shows the present
   */
  constructor(page, present) {
    this.present = present;
    this.list = page.querySelector("[data-part=rows]");
    this.template = page.querySelector("template");
    this.empty = page.querySelector("[data-part=empty]");
    this.announcement = page.querySelector("[data-part=announcement]");
    for (const element of this.list.children) {
      this.#rows.set(element.dataset.jobId, newRow(element));
    }
  }

  /** Show these jobs, in this order. */
  render(jobs) {
    this.#removeAllBut(new Set(jobs.map((job) => job.job_id)));
    jobs.forEach((job, index) => this.#show(job, index));
    this.empty.hidden = jobs.length > 0;
  }

  /** Show what has changed with the time alone, and with the connection. */
  tick() {
    for (const row of this.#rows.values()) if (row.job?.status === "in_progress") this.#write(row);
  }

  #write({ element, parts, job, timing }) {
    const { now, isLive } = this.present();
    renderJob(element, parts, job, timing.of(job, now, isLive));
  }

  #removeAllBut(kept) {
    for (const [jobId, row] of this.#rows) {
      if (kept.has(jobId)) continue;
      row.element.remove();
      this.#rows.delete(jobId);
    }
  }

  #show(job, index) {
    const row = this.#rows.get(job.job_id) ?? this.#make(job);
    if (row.job !== job) {
      this.#announce(row.job, job);
      row.job = job;
      this.#write(row);
    }
    const atPlace = this.list.children[index];
    if (atPlace !== row.element) this.list.insertBefore(row.element, atPlace ?? null);
  }

  #make(job) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    const row = newRow(element);
    element.dataset.jobId = job.job_id;
    row.parts.name.href = this.template.dataset.url.replace("JOB-ID", encodeURIComponent(job.job_id));
    this.#rows.set(job.job_id, row);
    return row;
  }

  /** Announce to screen readers that a job has ended or stalled; on a page of many jobs the rest would be noise. */
  #announce(before, job) {
    if (before && isNews(job) && !isNews(before)) {
      write(this.announcement, `${nameWords(job)}: ${statusWords(job)}`);
    }
  }
}

function newRow(element) {
  return { element, parts: partsOf(element), job: null, timing: new Timing() };
}

function isNews(job) {
  return isFinished(job) || stalledOf(job) !== null;
}
