// `ws` on Node.js: the loop over server.clients that its README shows. Started with a port.
import { WebSocketServer } from "ws";

const BASE = 2; // as in benchmarks/payload.py
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });

function fields(seq, size) {
  const event = {
    type: "progress", job_id: "bench", status: "in_progress", progress: (seq % 1000) / 10, message: "",
    timestamp: "2026-01-01T00:00:00.000000Z", metadata: { stage: "s3" }, seq,
  };
  event.message = "Item ".padEnd(size - JSON.stringify(event).length, ".");
  return event;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const seconds = () => Number(process.hrtime.bigint()) / 1e9;

async function run(control, query) {
  const [events, size, burst] = ["events", "size", "burst"].map((name) => Number(query.get(name)));
  const messages = Array.from({ length: events }, (_, n) => fields(BASE + n + 1, size));
  const began = seconds();
  for (const [number, message] of messages.entries()) {
    const text = JSON.stringify(message);
    for (const client of server.clients) if (client !== control) client.send(text);
    if ((number + 1) % burst === 0) await turn();
  }
  control.send(JSON.stringify({ began, stamps: [] }));
}

server.on("connection", (socket, request) => {
  const url = new URL(request.url, "http://localhost");
  socket.on("error", () => {});
  if (url.pathname === "/bench/run") run(socket, url.searchParams);
});
