/** What earlier runs of a job's kind took, and where one of them would be by now. Pure. As progress/client/usual.py. */

import { durationWords } from "./format.js";
import { minutesWords } from "./time-left.js";

const ENOUGH_RUNS = 5; // for a range

/** Return what earlier runs took: «the last 12 runs took 3:40–4:30»; empty if that is unknown. */
export function usualWords(usual) {
  if (!isUsual(usual)) return "";
  const { runs, seconds, scaled } = usual;
  const range = hasRange(usual) ? rangeWords(seconds[0], seconds.at(-1)) : rangeWords(medianOf(usual));
  if (hasRange(usual)) return scaled ? `runs of this size take ${range}` : `the last ${runs} runs took ${range}`;
  if (scaled) return `runs of this size take about ${range}`;
  return runs === 1 ? `one earlier run took ${range}` : `${runs} earlier runs took about ${range}`;
}

/** Return whether a run takes longer than nine in ten; with few earlier ones nobody can say. */
export function isLonger(usual, elapsed) {
  return isUsual(usual) && hasRange(usual) && elapsed !== null && elapsed > usual.seconds.at(-1);
}

/** Return at which percentage a usual run would be after so many seconds, whole; null if that is unknown. */
export function usualPercent(usual, elapsed) {
  if (!isUsual(usual) || !Array.isArray(usual.curve) || elapsed === null) return null;
  const curve = [0, ...usual.curve];
  const median = medianOf(usual);
  if (curve.length < 2 || !curve.every(isPercent) || median <= 0) return null;
  const place = Math.min(1, elapsed / median) * (curve.length - 1);
  const before = Math.floor(place);
  const after = Math.min(before + 1, curve.length - 1);
  return Math.round(curve[before] + (curve[after] - curve[before]) * (place - before));
}

/** Return a range of seconds: «42–58 s», «3:40–4:30», or in words from an hour on; one figure if both are alike. */
function rangeWords(low, high = low) {
  const [least, most] = [Math.round(low), Math.round(high)];
  if (most >= 3600) return joined(durationWords(least), durationWords(most), " – ");
  if (most >= 60) return joined(minutesWords(least), minutesWords(most), "–");
  return `${joined(String(least), String(most), "–")} s`;
}

function joined(low, high, dash) {
  return low === high ? low : `${low}${dash}${high}`;
}

function hasRange({ runs, seconds }) {
  return runs >= ENOUGH_RUNS && seconds.length > 1;
}

/** The middle of 10, 50 and 90 %, or the only one. */
function medianOf({ seconds }) {
  return seconds[Math.floor(seconds.length / 2)];
}

function isUsual(usual) {
  return Number.isInteger(usual?.runs) && usual.runs > 0 && Array.isArray(usual.seconds) && usual.seconds.length > 0
    && usual.seconds.every((each) => Number.isFinite(each) && each >= 0);
}

function isPercent(value) {
  return Number.isFinite(value) && value >= 0 && value <= 100;
}
