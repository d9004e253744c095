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
// the keyboard keeps the focus, what was typed, ticked or opened stays so, and what somebody is about
// to press does not move away.
const came = new Map();
const waiting = new Map();

function name(one) {
  const form = one.getAttribute("form") ?? one.closest("form")?.getAttribute("action");
  return JSON.stringify([
    one.tagName,
    one.closest("[data-key]")?.dataset.key ?? "",
    one.getAttribute("href") ?? form ?? "",
    one.name ?? "",
    one.type === "checkbox" ? one.value : "",
    one.tagName === "SUMMARY" ? one.textContent.trim() : "",
  ]);
}

function carry(old, made) {
  const find = (one) => [...made.querySelectorAll(one.tagName)].find((each) => name(each) === name(one));
  for (const one of old.querySelectorAll("summary")) {
    const same = find(one);
    if (same) same.parentElement.open = one.parentElement.open;
  }
  for (const one of old.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    const same = find(one);
    if (!same) continue;
    if (one.type === "checkbox") {
      if (one.checked !== one.defaultChecked) same.checked = one.checked;
    } else if (one.tagName === "SELECT") {
      const kept = [...same.options].some((each) => each.value === one.value);
      if (kept && !one.selectedOptions[0]?.defaultSelected) same.value = one.value;
    } else if (one.value !== one.defaultValue) {
      same.value = one.value;
    }
  }
  return old.contains(document.activeElement) ? find(document.activeElement) : null;
}

function put(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  for (const one of [...made.content.children]) {
    const old = one.id && document.getElementById(one.id);
    if (!old || came.get(one.id) === html || old.outerHTML === one.outerHTML) continue;
    // A form that was refused stays as it is: what was typed is in it, and why it was not taken.
    if ("stays" in old.dataset) continue;
    if ("calm" in old.dataset && old.querySelector("button:hover, summary:hover")) {
      waiting.set(one.id, html);
      continue;
    }
    waiting.delete(one.id);
    // What comes first tells of no change: the page has it already.
    const again = came.has(one.id);
    came.set(one.id, html);
    tellTimes(one);
    if (again) one.classList.add("changed");
    const focused = carry(old, one);
    old.replaceWith(one);
    focused?.focus({ preventScroll: true });
  }
  tellOthers();
}

// Rows are those that were there when the page was opened; of others that came since, it is told.
const counted = () => Number(document.querySelector("#counts [aria-current] b")?.textContent ?? 0);
const opened = counted();

function tellOthers() {
  const news = document.getElementById("news");
  const now = counted();
  const told = now === opened ? "" : `Hosts: ${now} now, ${opened} when this page was opened. `;
  if (!news || (news.firstChild?.textContent ?? "") === told) return;
  const link = document.createElement("a");
  link.href = location.pathname + location.search;
  link.textContent = "Show them as they are";
  news.replaceChildren(...(told ? [told, link] : []));
}

setInterval(() => { for (const html of waiting.values()) put(html); }, 300);

// Browsers allow six connections to a gateway, all tabs together: only pages that are seen hold one,
// and whoever comes back to a page is told first what has changed.
function live(address) {
  let stream = null;
  const lost = document.createElement("p");
  lost.className = "offline";
  lost.setAttribute("role", "status");
  lost.textContent = "Not live: the gateway does not answer. It is tried again.";

  function close() {
    stream?.close();
    stream = null;
    lost.remove();
  }

  function open() {
    if (stream || document.hidden) return;
    stream = new EventSource(address);
    stream.addEventListener("open", () => lost.remove());
    stream.addEventListener("error", () => document.body.append(lost));
    stream.addEventListener("piece", (event) => put(event.data));
    stream.addEventListener("ended", () => { close(); location.reload(); });
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  // Left, a page may be kept as it is for whoever goes back to it.
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
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
