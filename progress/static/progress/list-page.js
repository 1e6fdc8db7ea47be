/** The page of recent jobs: one socket for the feed and for every job that still moves. */

import { socketAddress } from "./address.js";
import { Connection, wakeWithPage } from "./connection.js";
import { fold } from "./fold.js";
import { JobRows } from "./job-rows.js";
import { backoffSeconds } from "./policy.js";
import { FEED, newestFirst, onlyNamed, Subscriptions } from "./subscriptions.js";
import { renderConnection, soon } from "./view.js";

const RETRY_AFTER_FAILURES = 3; // a temporary refusal is met with the backoff after so many failed tries

const page = document.querySelector("#recent-jobs");
const limit = Number(page.dataset.limit);
const subscriptions = new Subscriptions();
const rows = new JobRows(page);
const render = soon(() => rows.render(newestFirst(jobs)));

let jobs = fold(new Map(), JSON.parse(document.querySelector("#listed-jobs").textContent));
let isFirstFeed = true;

const connection = new Connection({
  url: () => socketAddress(location),
  greeting: () => {
    isFirstFeed = true;
    return subscriptions.greeting(jobs);
  },
  onFrame: take,
  onState: (state, detail) => renderConnection(document.body, document.querySelector("#connection"), state, detail),
  heartbeatSeconds: Number(page.dataset.heartbeat),
  asOf: Date.now(),
});

function take(frame) {
  if (frame.type === "error") return refused(frame);
  const before = jobs;
  jobs = fold(jobs, frame);
  if (frame.type === "feed" && isFirstFeed) {
    isFirstFeed = false;
    jobs = onlyNamed(jobs, frame);
  }
  if (jobs !== before) changed();
}

function changed() {
  jobs = new Map(newestFirst(jobs, limit).map((job) => [job.job_id, job]));
  subscriptions.changes(jobs).forEach((message) => connection.send(message));
  render();
}

/** A job that is gone leaves the list; what may work later is asked for again. */
function refused(error) {
  if (error.temporary) setTimeout(askAgain, backoffSeconds(RETRY_AFTER_FAILURES) * 1000, error.subject);
  else if (error.code === "job_not_found" && jobs.delete(error.subject)) changed();
}

function askAgain(subject) {
  if (isFirstFeed) connection.send(FEED);
  subscriptions.forget(subject);
  changed();
}

rows.render(newestFirst(jobs));
wakeWithPage(connection);
connection.start();
