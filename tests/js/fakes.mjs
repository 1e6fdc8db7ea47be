/** A scripted world for the transport: a clock that the test moves, and sockets whose other end is the test. */

export class World {
  constructor() {
    this.sockets = [];
    this.seconds = 0;
    this.timers = new Set();
    this.environment = {
      open: (url) => this.#opened(new FakeSocket(url)),
      now: () => this.seconds * 1000,
      ticks: () => this.seconds * 1000,
      setTimeout: (call, seconds) => this.#timer({ call, at: this.seconds + seconds }),
      clearTimeout: (timer) => this.timers.delete(timer),
      random: () => 0,
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** Let time pass; what is due happens in its order. */
  pass(seconds) {
    const end = this.seconds + seconds;
    for (let due = this.#nextDue(end); due; due = this.#nextDue(end)) {
      this.timers.delete(due);
      this.seconds = due.at;
      due.call();
    }
    this.seconds = end;
  }

  #nextDue(end) {
    return [...this.timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
  }

  #timer(timer) {
    this.timers.add(timer);
    return timer;
  }

  #opened(socket) {
    socket.openedAt = this.seconds;
    this.sockets.push(socket);
    return socket;
  }
}

class FakeSocket {
  constructor(url) {
    this.url = url;
    this.readyState = 0;
    this.sent = [];
    this.isClosedByPage = false;
  }

  accept() {
    this.readyState = 1;
    this.onopen?.({});
  }

  deliver(frame) {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  drop(code) {
    this.readyState = 3;
    this.onclose?.({ code });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
    this.isClosedByPage = true;
  }
}

/** A page: what `wakeWithPage` listens to. */
export class FakePage extends EventTarget {
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });

  show(visibilityState) {
    this.document.visibilityState = visibilityState;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }
}
