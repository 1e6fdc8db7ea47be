/** The server's time, as it tells it: the clock of a browser may be wrong by minutes. */

/** Goes by the browser's steady clock, which nobody sets, and by what the server said last. */
export class ServerClock {
  #ahead = null; // of the steady clock, in milliseconds

  /** @param {() => number} ticks milliseconds of a clock that nobody sets */
  constructor(ticks = () => performance.now()) {
    this.ticks = ticks;
  }

  /** Forget what an earlier connection said: it may have been another server's, or of before the machine slept. */
  reset() {
    this.#ahead = null;
  }

  /** A frame can only be late, so the largest of the differences is the nearest. */
  hear({ type, timestamp }) {
    if (type !== "heartbeat" && type !== "pong") return; // events are stamped by workers, and may be old
    const ahead = Date.parse(timestamp) - this.ticks();
    if (Number.isFinite(ahead)) this.#ahead = Math.max(ahead, this.#ahead ?? ahead);
  }

  /** Return the server's time in milliseconds since 1970, or null until it has told it. */
  now() {
    return this.#ahead === null ? null : this.ticks() + this.#ahead;
  }
}

/** Return how many seconds ago a moment was, at least 0; null if either is unknown. */
export function secondsSince(timestamp, now) {
  const seconds = (now - Date.parse(timestamp)) / 1000;
  return now === null || Number.isNaN(seconds) ? null : Math.max(0, seconds);
}
