/** The page of recent jobs: one socket for the feed and for every job that is not finished. */

import { socketUrl } from "./socket-url.js";
import { Connection, wakeWithPage } from "./connection.js";
import { JobList } from "./job-list.js";
import { JobRows } from "./job-rows.js";
import { renderConnection, soon, TICK_SECONDS } from "./view.js";

const page = document.querySelector("#recent-jobs");
const rows = new JobRows(page, () => ({ now: connection.clock.now(), isLive: connection.state === "live" }));

const list = new JobList({
  listed: JSON.parse(document.querySelector("#listed-jobs").textContent),
  limit: Number(page.dataset.limit),
  maxSubscriptions: Number(page.dataset.subscriptions),
  send: (message) => connection.send(message),
  onChange: soon(() => rows.render(list.newest)),
});

const connection = new Connection({
  url: () => socketUrl(location),
  greeting: () => list.greeting(),
  onFrame: (frame) => list.receive(frame),
  onState: (state, detail) => {
    renderConnection(document.body, document.querySelector("#connection"), state, detail);
    rows.tick();
  },
  heartbeatSeconds: Number(page.dataset.heartbeat),
  asOf: Date.now(),
});

rows.render(list.newest);
setInterval(() => rows.tick(), TICK_SECONDS * 1000);
wakeWithPage(connection);
connection.start();
