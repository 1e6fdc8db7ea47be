/** The page of one job: the element does the work; this keeps the tab's title. */

import "./job-progress.js";
import { titleWords } from "./format.js";

const element = document.querySelector("job-progress");
const setTitle = () => (document.title = titleWords(element.job));

element.addEventListener("job-change", setTitle);
setTitle();
