/** The page of one job: the element shows it, and this keeps the tab's title up to date. */

import "./job-progress.js";
import { titleWords } from "./format.js";

const element = document.querySelector("job-progress");
const setTitle = () => (document.title = titleWords(element.job));

element.addEventListener("job-change", setTitle);
setTitle();
