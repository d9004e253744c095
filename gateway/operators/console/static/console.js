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

tellTimes(document);
setInterval(() => tellTimes(document), 15000);
