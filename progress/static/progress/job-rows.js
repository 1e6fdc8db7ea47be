/** The rows of the list: cloned from the page's template, filled as text, moved only when the order changes. */

import { isFinished } from "./fold.js";
import { partsOf, renderJob, write } from "./view.js";
import { nameWords, statusWords } from "./format.js";

export class JobRows {
  #rows = new Map(); // by job id

  constructor(page) {
    this.list = page.querySelector("[data-part=rows]");
    this.template = page.querySelector("template");
    this.empty = page.querySelector("[data-part=empty]");
    this.announcement = page.querySelector("[data-part=announcement]");
    for (const element of this.list.children) {
      this.#rows.set(element.dataset.jobId, { element, parts: partsOf(element), job: null });
    }
  }

  /** Show these jobs, in this order. */
  render(jobs) {
    this.#removeAllBut(new Set(jobs.map((job) => job.job_id)));
    jobs.forEach((job, index) => this.#show(job, index));
    this.empty.hidden = jobs.length > 0;
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
      renderJob(row.element, row.parts, job);
      row.job = job;
    }
    const atPlace = this.list.children[index];
    if (atPlace !== row.element) this.list.insertBefore(row.element, atPlace ?? null);
  }

  #make(job) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    const row = { element, parts: partsOf(element), job: null };
    element.dataset.jobId = job.job_id;
    row.parts.name.href = this.template.dataset.url.replace("JOB-ID", encodeURIComponent(job.job_id));
    this.#rows.set(job.job_id, row);
    return row;
  }

  /** Announce the end of a job to screen readers; on a page of many jobs the rest would be noise. */
  #announce(before, job) {
    if (before && isFinished(job) && !isFinished(before)) {
      write(this.announcement, `${nameWords(job)}: ${statusWords(job)}`);
    }
  }
}
