/** A WebSocket that reconnects with backoff, notices a dead connection, and stops after a final close code. */

import { backoffSeconds, GRACE_SECONDS, isAnswer, isFinal } from "./policy.js";
import { ServerClock } from "./server-clock.js";

const OPEN = 1; // WebSocket.OPEN
const OPENING_SECONDS = 10; // only on a network that drops packets does a handshake take longer
const WAITING_MAX_SECONDS = 5; // between tries, at most, while the job may be created at any moment
const PROBE_SECONDS = 5; // how long the server may take to answer after the network or the page came back

export const BROWSER = {
  open: (url) => new WebSocket(url),
  now: () => Date.now(),
  ticks: () => performance.now(),
  setTimeout: (call, seconds) => setTimeout(call, seconds * 1000),
  clearTimeout: (timer) => clearTimeout(timer),
  random: Math.random,
};

/**
 * The states: `connecting`; `waiting` for a job that does not exist yet; `live`; `reconnecting` (and live again);
 * `stopped`, until it is started again.
 * It is live from the first answer on, not from the handshake or a heartbeat: until then, the page may show old data.
 */
export class Connection {
  /**
   * @param {object} options
   * @param {() => string} options.url called before each try, so that the URL can carry the position
   * @param {() => object[]} [options.greeting] the messages to send whenever the socket opens
   * @param {(frame: object) => void} options.onFrame
   * @param {(state: string, detail: {asOf: Date|null, code: number|null}) => void} options.onState
   * @param {(code: number) => number} [options.secondsLeft] how long to keep trying after a final close code
   * @param {number} [options.heartbeatSeconds] the server's interval
   * @param {number|null} [options.asOf] the time, in milliseconds, of what the page shows already
   * @param {object} [options.environment] clock, sockets and randomness, for tests
   */
  constructor({
    url, greeting = () => [], onFrame, onState, secondsLeft = () => 0, heartbeatSeconds = 25, asOf = null, environment = {},
  }) {
    Object.assign(this, { url, greeting, onFrame, onState, secondsLeft });
    this.environment = { ...BROWSER, ...environment };
    this.clock = new ServerClock(this.environment.ticks);
    this.silenceSeconds = heartbeatSeconds + GRACE_SECONDS;
    this.state = "stopped";
    this.failures = 0; // tries in a row without an answer
    this.hasBeenLive = false;
    this.asOf = asOf; // when what is shown was last known to be current
    this.socket = null;
    this.timer = null; // until the next try, or until the connection counts as dead
    this.deadline = Infinity;
  }

  /** Start, or start again after `close`. */
  start() {
    this.failures = 0;
    this.#setState(this.hasBeenLive ? "reconnecting" : "connecting");
    this.#connect();
  }

  close() {
    this.#abandon();
    this.#setState("stopped");
  }

  /** Send a message if the socket is open; if it is not, the greeting of the next one covers for it. */
  send(message) {
    if (this.socket?.readyState === OPEN) this.socket.send(JSON.stringify(message));
  }

  /** The network or the page has come back: reconnect at once, or check the connection that is there. */
  wake() {
    if (this.state === "stopped") return;
    if (this.socket?.readyState === OPEN && this.environment.now() < this.deadline) this.probe();
    else this.#connect();
  }

  /** Ping the server, and give the connection up if no frame comes within `PROBE_SECONDS`. */
  probe() {
    if (this.socket?.readyState !== OPEN) return;
    this.send({ type: "ping" });
    this.#expectFrameWithin(PROBE_SECONDS);
  }

  #connect() {
    this.#abandon();
    if (this.state === "live") this.#setState("reconnecting"); // after a sleep, the page shows old data
    const socket = this.environment.open(this.url());
    this.socket = socket;
    this.#expectFrameWithin(OPENING_SECONDS);
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.end(event.code);
  }

  #opened() {
    this.#expectFrameWithin(this.silenceSeconds);
    this.clock.reset();
    for (const message of this.greeting()) this.send(message);
    this.send({ type: "ping" }); // the answer has the server's time; a heartbeat may be long in coming
  }

  #received(text) {
    const frame = parsed(text);
    if (frame === null) return;
    this.#expectFrameWithin(this.silenceSeconds);
    this.clock.hear(frame);
    if (isAnswer(frame)) {
      this.failures = 0; // not for an error, which may precede a refusal: that has to go on backing off
      this.hasBeenLive = true;
      this.#setState("live");
    }
    if (this.state === "live") this.asOf = this.environment.now();
    this.onFrame(frame);
  }

  /** The server closed the socket with this code, or sent an error frame that means the same. */
  end(code) {
    this.#abandon();
    if (!isFinal(code)) return this.#retryLater("reconnecting", code);
    const left = this.secondsLeft(code);
    if (left > 0) this.#retryLater("waiting", code, Math.min(WAITING_MAX_SECONDS, left));
    else this.#setState("stopped", code);
  }

  #retryLater(state, code = null, atMost = Infinity) {
    this.#setState(state, code);
    const seconds = Math.min(atMost, backoffSeconds(this.failures, this.environment.random));
    this.failures += 1;
    this.timer = this.environment.setTimeout(() => this.#connect(), seconds);
  }

  #expectFrameWithin(seconds) {
    this.environment.clearTimeout(this.timer);
    this.deadline = this.environment.now() + seconds * 1000;
    this.timer = this.environment.setTimeout(() => this.#giveUp(), seconds);
  }

  #giveUp() {
    this.#abandon();
    this.#retryLater("reconnecting");
  }

  /** Drop the socket at once: on a dead connection, the closing handshake would take minutes. */
  #abandon() {
    this.environment.clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #setState(state, code = null) {
    if (state === this.state && state !== "reconnecting") return;
    this.state = state;
    this.onState(state, { asOf: this.asOf === null ? null : new Date(this.asOf), code });
  }
}

/** Return the frame in a message, or null if it is not a JSON object. */
function parsed(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame === "object" ? frame : null;
  } catch {
    return null;
  }
}

/** Wake a connection when the network or the page comes back; return a function that stops this. */
export function wakeWithPage(connection, page = globalThis) {
  const stop = new AbortController();
  const listen = (target, type, call) => target.addEventListener(type, call, { signal: stop.signal });
  listen(page, "online", () => connection.wake());
  listen(page, "offline", () => connection.probe());
  listen(page.document, "visibilitychange", () => {
    if (page.document.visibilityState === "visible") connection.wake();
  });
  return () => stop.abort();
}
