/** The state of each job, folded from the frames of the wire protocol. Pure: no I/O, no DOM. */

const FINISHED = new Set(["completed", "failed", "cancelled"]);
const OF_ATTEMPT = ["started_at", "usual"]; // what a snapshot and a feed's entry may say beside the state
const ABOUT = [...OF_ATTEMPT, "max_silence"];

export function isFinished(job) {
  return FINISHED.has(job.status);
}

/** Return what the server says of a job whose worker gives no sign of life, or null. */
export function stalledOf({ status, metadata: { stalled } }) {
  return status === "in_progress" && typeof stalled === "object" && stalled !== null ? stalled : null;
}

/**
 * Return the jobs after a frame; the same map if the frame changes nothing.
 *
 * @param {Map<string, object>} jobs by job id
 * @param {object} frame as it came from the server; an unknown type is ignored
 */
export function fold(jobs, frame) {
  switch (frame.type) {
    case "snapshot":
      return replace(jobs, frame);
    case "progress":
      return advance(jobs, frame);
    case "log":
    case "output":
      return passOver(jobs, frame);
    case "backscroll":
      return begin(jobs, frame);
    case "feed":
      return frame.jobs.reduce(list, jobs);
    default:
      return jobs;
  }
}

/** Return the position to resume a job from, or null while its epoch is unknown. */
export function positionOf(job) {
  return job?.epoch ? { epoch: job.epoch, seq: job.seq } : null;
}

/** A snapshot always replaces the state, whatever its seq: it may be of another stream. */
function replace(jobs, frame) {
  const known = jobs.get(frame.job_id);
  const createdAt = known?.epoch === frame.epoch ? known.created_at : null;
  return put(jobs, { ...wholeIn(frame), created_at: createdAt });
}

function advance(jobs, frame) {
  const known = jobs.get(frame.job_id) ?? { name: "", epoch: null, created_at: null, seq: 0 };
  if (frame.seq <= known.seq) return jobs;
  const kept = { ...known };
  if (frame.metadata.attempt !== known.metadata?.attempt) OF_ATTEMPT.forEach((field) => delete kept[field]);
  return put(jobs, { ...kept, ...stateIn(frame) });
}

/** A log line or output only moves the position; otherwise it would be replayed after each reconnection. */
function passOver(jobs, frame) {
  const known = jobs.get(frame.subject);
  if (!known || frame.seq <= known.seq) return jobs;
  return put(jobs, { ...known, seq: frame.seq });
}

/** What follows is of this stream: of another one, the position says nothing. */
function begin(jobs, frame) {
  const known = jobs.get(frame.subject);
  if (!known || known.epoch === frame.epoch) return jobs;
  return put(jobs, { ...known, epoch: frame.epoch, seq: 0 });
}

/** A feed holds states, not events: an entry may be older than the last frame of the job's own subscription. */
function list(jobs, entry) {
  const known = jobs.get(entry.job_id);
  const createdAt = entry.created_at ?? null;
  if (!known || supersedes(entry, known)) {
    return put(jobs, { ...wholeIn(entry), created_at: createdAt });
  }
  const sameStream = entry.epoch === known.epoch;
  return sameStream && known.created_at !== createdAt ? put(jobs, { ...known, created_at: createdAt }) : jobs;
}

/** Seqs compare within a stream only. Of two streams the later one wins; ISO times in UTC sort as text. */
function supersedes(entry, known) {
  return entry.epoch === known.epoch ? entry.seq > known.seq : entry.timestamp >= known.timestamp;
}

function wholeIn(frame) {
  const about = ABOUT.filter((field) => field in frame).map((field) => [field, frame[field]]);
  return { ...stateIn(frame), name: frame.name ?? "", epoch: frame.epoch, ...Object.fromEntries(about) };
}

function stateIn({ job_id, status, progress, message, timestamp, metadata, seq }) {
  return { job_id, status, progress, message, timestamp, metadata, seq };
}

function put(jobs, job) {
  return new Map(jobs).set(job.job_id, job);
}
