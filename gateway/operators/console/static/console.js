// What pages do beyond being read: times in words, questions before what cannot be taken back, and
// live rows. Without it every page still works.
"use strict";

const words = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

function ago(seconds) {
  const size = Math.abs(seconds);
  if (size < 60) return words.format(Math.round(seconds), "second");
  if (size < 3600) return words.format(Math.round(seconds / 60), "minute");
  if (size < 86400) return words.format(Math.round(seconds / 3600), "hour");
  return words.format(Math.round(seconds / 86400), "day");
}

function tellTimes(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    if (!one.title) one.title = `${one.textContent} UTC`;
    one.textContent = ago((at - Date.now()) / 1000);
  }
}

document.addEventListener("submit", (event) => {
  const asks = event.submitter?.dataset.ask ?? event.target.dataset.ask;
  if (asks && !window.confirm(asks)) event.preventDefault();
});

// Each piece takes the place of what has its id, if it is another one than came last. Who reads with
// the keyboard keeps the focus.
const came = new Map();

function put(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  for (const one of made.content.children) {
    const old = one.id && document.getElementById(one.id);
    if (!old || came.get(one.id) === html) continue;
    // What comes first tells of no change: the page has it already.
    const again = came.has(one.id);
    came.set(one.id, html);
    const path = old.contains(document.activeElement)
      ? document.activeElement.getAttribute("href") || document.activeElement.name
      : null;
    tellTimes(one);
    if (again) one.classList.add("changed");
    old.replaceWith(one);
    if (path) one.querySelector(`[href="${CSS.escape(path)}"], [name="${CSS.escape(path)}"]`)?.focus();
  }
}

function live(address) {
  const stream = new EventSource(address);
  const lost = document.createElement("p");
  lost.className = "offline";
  lost.setAttribute("role", "status");
  lost.textContent = "Not live: the gateway does not answer. It is tried again.";
  stream.addEventListener("open", () => lost.remove());
  stream.addEventListener("error", () => document.body.append(lost));
  stream.addEventListener("piece", (event) => put(event.data));
  stream.addEventListener("ended", () => { stream.close(); location.reload(); });
}

// An arrow opens beside its host; without this it is a page of its own.
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[data-arrow]");
  const box = document.getElementById("detail");
  if (!link || !box || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const address = link.getAttribute("href");
  const answer = await fetch(address);
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  const article = found.getElementById("arrow");
  if (!article) { location.assign(address); return; }
  const close = document.createElement("button");
  close.textContent = "Close";
  close.addEventListener("click", () => box.close());
  box.replaceChildren(close, article);
  tellTimes(box);
  box.showModal();
  box.scrollTop = 0;
});

for (const one of document.querySelectorAll("[data-live^='/']")) live(one.dataset.live);

tellTimes(document);
setInterval(() => tellTimes(document), 15000);
