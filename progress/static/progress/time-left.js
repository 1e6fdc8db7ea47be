/** The time left as it is shown: it ticks down like a clock, in rounded words. Pure. As progress/client/time_left.py. */

import { durationWords } from "./format.js";

const AWAY_SECONDS = 2; // a finish that is further away than both of these is moved,
const AWAY_SHARE = 0.1; // of what is left,
const NEAR_ENOUGH = 0.25; // of that, until it is within this,
const GLIDE_SECONDS = 3; // by this time constant
const STEPS = [[5400, 300], [600, 60], [120, 30], [10, 5]]; // from so many seconds on, rounded to so many
const UPWARDS = 0.75; // of a step, before the words say more than they did

/** A finish, which is moved only if the estimate has gone away from it. */
export class Countdown {
  #finish = null;
  #at = 0;
  #isMoving = false;

  /**
   * Return the seconds to show, or null if nothing is known.
   *
   * @param {number|null} left what the estimate says now, in seconds
   * @param {number} now in seconds, by any clock
   * @param {number} [floor] what is shown at least
   */
  show(left, now, floor = 0) {
    if (left === null) {
      this.#finish = null;
      return null;
    }
    this.#finish = Math.max(this.#finish === null ? now + left : this.#moved(left, now), now + floor);
    this.#at = now;
    return this.#finish - now;
  }

  #moved(left, now) {
    const gap = now + left - this.#finish;
    const most = Math.max(AWAY_SECONDS, AWAY_SHARE * left);
    this.#isMoving = Math.abs(gap) > (this.#isMoving ? most * NEAR_ENOUGH : most);
    const passed = Math.max(0, now - this.#at);
    return this.#isMoving ? this.#finish + gap * (1 - Math.exp(-passed / GLIDE_SECONDS)) : this.#finish;
  }
}

/**
 * Return the seconds left by a job's metadata so many seconds after it came, and the least that a countdown may show.
 * The seconds are null if nothing is known, and Infinity if no more than that it takes longer than usual.
 */
export function leftAt({ eta_seconds: eta, time_left: learned }, age) {
  const floor = isNumber(learned?.floor) ? Math.max(0, learned.floor) : 0;
  const later = Array.isArray(learned?.later) ? learned.later.filter(isPoint) : [];
  const points = isNumber(eta) ? [[0, eta], ...later] : later;
  const next = points.findIndex(([at]) => at > age);
  const [before, after] = next === -1 ? [points.at(-1), undefined] : [points[next - 1], points[next]];
  if (!before) return { seconds: null, floor };
  const seconds = between(before, after, age);
  return { seconds: Math.max(floor, seconds), floor };
}

export function isLearned({ time_left: learned }) {
  return typeof learned === "object" && learned !== null;
}

/** Return the seconds rounded, given what was shown before: upwards only where that is worth a change. */
export function roundedLeft(seconds, before = null) {
  if (seconds <= 0) return 0;
  const [, step] = STEPS.find(([from]) => seconds >= from) ?? [0, 10];
  const near = seconds < 10 ? step / 2 : Math.round(seconds / step) * step;
  return before !== null && near > before && seconds < before + UPWARDS * step ? before : near;
}

/** Return rounded seconds in words: «about 4½ min», «1:35 left». */
export function leftInWords(rounded) {
  if (rounded <= 0) return "any moment";
  if (rounded < 10) return "less than 10 s";
  if (rounded < 60) return `${rounded} s left`;
  if (rounded < 120) return `${minutesWords(rounded)} left`;
  if (rounded < 600 && rounded % 60) return `about ${Math.floor(rounded / 60)}½ min`;
  return `about ${rounded < 5400 ? `${rounded / 60} min` : durationWords(rounded)}`;
}

/** Return seconds as minutes and seconds, 3:40. */
export function minutesWords(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Between two moments on a line; behind the last one, or before one of which nothing is known, by the clock. */
function between([at, left], after, age) {
  if (left === null) return Infinity;
  if (after && after[1] !== null) return left + ((after[1] - left) * (age - at)) / (after[0] - at);
  return Math.max(0, left - (age - at));
}

/** `later` has moments of which nothing is known but that they are longer than usual: null stands there. */
function isPoint(point) {
  return Array.isArray(point) && isNumber(point[0]) && (point[1] === null || isNumber(point[1]));
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
