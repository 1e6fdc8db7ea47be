/**
 * The page of one job: the element shows it, and this keeps the tab's title up to date.
 * The page that says that there is no such job has a template of the element, for who comes by a share link.
 */

import { hasToken, tokenOfPage } from "./share-token.js"; // before the others, so that nothing happens before it
import "./job-progress.js";
import { titleWords } from "./format.js";

function keepTitle(element) {
  const setTitle = () => (document.title = titleWords(element.job));
  element.addEventListener("job-change", setTitle);
  if (element.job) setTitle();
}

function showShared(token) {
  const template = document.querySelector("#shared-job");
  if (!template || !token) return;
  const element = document.importNode(template.content, true).firstElementChild;
  element.setAttribute("job-id", decodeURIComponent(location.pathname.split("/").at(-2)));
  element.token = token;
  keepTitle(element);
  document.title = "Shared job";
  document.querySelector("#no-job").replaceWith(element);
  template.remove();
}

const element = document.querySelector("job-progress");
if (element) keepTitle(element);
showShared(tokenOfPage);
// Another link, opened in this tab: of what the page is by now, the server knows more.
addEventListener("hashchange", () => hasToken() && location.reload());
