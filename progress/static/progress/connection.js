/** One WebSocket that is kept up: it reconnects with backoff, notices a dead link, and stops when told to. */

import { backoffSeconds, GRACE_SECONDS, isAnswer, isFinal } from "./policy.js";

const OPEN = 1; // WebSocket.OPEN
const OPENING_SECONDS = 10; // a handshake takes longer only on a network that drops packets
const WAITING_MAX_SECONDS = 5; // between tries for what may be there any moment
const PROBE_SECONDS = 5; // how long a link may take to answer after the network or the page came back

export const BROWSER = {
  open: (url) => new WebSocket(url),
  now: () => Date.now(),
  setTimeout: (call, seconds) => setTimeout(call, seconds * 1000),
  clearTimeout: (timer) => clearTimeout(timer),
  random: Math.random,
};

/**
 * States, in the order of a life: `connecting`, `waiting` for what is not there yet, `live`, `reconnecting` (and back),
 * `stopped` for good, or until it is started again.
 * Live is told by the first answer, not by the handshake or a heartbeat: what is on the page may be old until then.
 */
export class Connection {
  /**
   * @param {object} options
   * @param {() => string} options.url asked before each try, so that it can carry the position
   * @param {() => object[]} [options.greeting] the messages to send on each opening
   * @param {(frame: object) => void} options.onFrame
   * @param {(state: string, detail: {asOf: Date|null, code: number|null}) => void} options.onState
   * @param {(code: number) => number} [options.secondsLeft] for how long yet to try again after a final close code
   * @param {number} [options.heartbeatSeconds] the server's interval
   * @param {number|null} [options.asOf] when what is already shown was true, in milliseconds
   * @param {object} [options.environment] clock, sockets and chance, for tests
   */
  constructor({
    url, greeting = () => [], onFrame, onState, secondsLeft = () => 0, heartbeatSeconds = 25, asOf = null, environment = {},
  }) {
    Object.assign(this, { url, greeting, onFrame, onState, secondsLeft });
    this.environment = { ...BROWSER, ...environment };
    this.silenceSeconds = heartbeatSeconds + GRACE_SECONDS;
    this.state = "stopped";
    this.failures = 0; // tries in a row without a good frame
    this.hasBeenLive = false;
    this.trueAt = asOf; // when what is shown was last known to be so
    this.socket = null;
    this.timer = null; // until the next try, or until the link is taken for dead
    this.deadline = Infinity;
  }

  /** Begin, or begin again where `close` left off. */
  start() {
    this.failures = 0;
    this.#become(this.hasBeenLive ? "reconnecting" : "connecting");
    this.#connect();
  }

  close() {
    this.#abandon();
    this.#become("stopped");
  }

  /** Send a message if the link is up; otherwise the greeting of the next opening has to make up for it. */
  send(message) {
    if (this.socket?.readyState === OPEN) this.socket.send(JSON.stringify(message));
  }

  /** The network or the page has come back: try at once, or make the present link prove itself. */
  wake() {
    if (this.state === "stopped") return;
    if (this.socket?.readyState === OPEN && this.environment.now() < this.deadline) this.probe();
    else this.#connect();
  }

  /** Ask the link for a sign of life, and take it for dead if none comes soon. */
  probe() {
    if (this.socket?.readyState !== OPEN) return;
    this.send({ type: "ping" });
    this.#expectFrameWithin(PROBE_SECONDS);
  }

  #connect() {
    this.#abandon();
    if (this.state === "live") this.#become("reconnecting"); // after a sleep, what is shown is old
    const socket = this.environment.open(this.url());
    this.socket = socket;
    this.#expectFrameWithin(OPENING_SECONDS);
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.end(event.code);
  }

  #opened() {
    this.#expectFrameWithin(this.silenceSeconds);
    for (const message of this.greeting()) this.send(message);
  }

  #received(text) {
    const frame = parsed(text);
    if (frame === null) return;
    this.#expectFrameWithin(this.silenceSeconds);
    if (isAnswer(frame)) {
      this.failures = 0; // an error may come before a refusal, which must go on backing off
      this.hasBeenLive = true;
      this.#become("live");
    }
    if (this.state === "live") this.trueAt = this.environment.now();
    this.onFrame(frame);
  }

  /** The server has ended it: it closed the socket with this code, or said in a frame what amounts to that. */
  end(code) {
    this.#abandon();
    if (!isFinal(code)) return this.#retryLater("reconnecting", code);
    const left = this.secondsLeft(code);
    if (left > 0) this.#retryLater("waiting", code, Math.min(WAITING_MAX_SECONDS, left));
    else this.#become("stopped", code);
  }

  #retryLater(state, code = null, atMost = Infinity) {
    this.#become(state, code);
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

  /** Let go of the socket at once: over a dead link, its own closing would take minutes. */
  #abandon() {
    this.environment.clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #become(state, code = null) {
    if (state === this.state && state !== "reconnecting") return;
    this.state = state;
    const asOf = this.trueAt === null ? null : new Date(this.trueAt);
    this.onState(state, { asOf, code });
  }
}

/** Return the frame, or null for what no version of the protocol sends. */
function parsed(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame === "object" ? frame : null;
  } catch {
    return null;
  }
}

/** Let a connection know when the network or the page comes back; return a function that ends this. */
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
