/** What is said of a running job that changes with the time alone. No DOM. As progress/client/timing.py. */

import { stalledOf } from "./fold.js";
import { leftWords, statusWords } from "./format.js";
import { secondsSince } from "./server-clock.js";
import { silenceOf, silenceWords, thenWords } from "./silence.js";
import { Countdown, isLearned, leftAt, leftInWords, roundedLeft } from "./time-left.js";
import { isLonger, usualPercent, usualWords } from "./usual.js";

const LONGER = "longer than usual";

/** Of a job that does not run. `trouble` is «stalled» or «silent»; `usualPercent` is null while nobody knows. */
const NOTHING = Object.freeze({ trouble: "", left: "", usual: "", usualPercent: null, then: "", isLonger: false });

/** Return the status, and what is unusual about it, in words that stay the same while the time passes. */
export function spokenWords(job, { trouble, isLonger }) {
  const more = trouble === "silent" ? ", no report" : isLonger && !trouble ? `, ${LONGER}` : "";
  return statusWords(job) + more;
}

/** The timing of one job, over its frames: a countdown needs to know what it has shown. */
export class Timing {
  #countdown = new Countdown();
  #rounded = null;

  /**
   * Return what to say of the job now.
   *
   * @param {object} job as `fold` keeps it
   * @param {number|null} now the server's time in milliseconds, null while it is unknown
   * @param {boolean} isLive whether the page shows the present: of the past, no time is left
   */
  of(job, now, isLive) {
    if (job.status !== "in_progress") return NOTHING;
    const time = isLive ? now : null;
    const stalled = stalledOf(job);
    const silence = silenceOf(job, time);
    const elapsed = secondsSince(job.started_at, time);
    const told = {
      trouble: stalled ? "stalled" : silence === null ? "" : "silent",
      usual: usualWords(job.usual),
      usualPercent: job.progress === null ? null : usualPercent(job.usual, elapsed),
      then: stalled ? thenWords(stalled) : "",
      isLonger: isLonger(job.usual, elapsed),
    };
    const counted = told.trouble || told.isLonger || !isLive ? this.#forget() : this.#left(job, time);
    const instead = silence === null ? told.isLonger && !told.trouble && LONGER : silenceWords(silence);
    return { ...told, left: instead || counted };
  }

  #left({ metadata, timestamp }, now) {
    if (now === null) return this.#forget() || (isLearned(metadata) ? "" : leftWords(metadata));
    const age = secondsSince(metadata.time_left?.at, now) ?? secondsSince(timestamp, now) ?? 0;
    const { seconds, floor } = leftAt(metadata, age);
    if (seconds === Infinity) return this.#forget() || LONGER;
    const shown = this.#countdown.show(seconds, now / 1000, floor);
    if (shown === null) return this.#forget();
    this.#rounded = roundedLeft(shown, this.#rounded);
    return isLearned(metadata) || shown <= 0 ? leftInWords(this.#rounded) : leftWords({ eta_seconds: shown });
  }

  /** What was shown says nothing any more of what will be. */
  #forget() {
    this.#countdown.show(null);
    this.#rounded = null;
    return "";
  }
}
