// On a phone, folds the chapters behind their titles; wider windows and paper show all of them.
"use strict";
{
  const phone = matchMedia("(max-width: 680px)");
  const KEPT = ["listen", "promise", "earlier"];
  const folds = [];
  const fold = (box, title, content) => {
    const details = document.createElement("details"), summary = document.createElement("summary");
    summary.append(title);
    details.append(summary, ...content);
    details.className = "chapter";
    box.append(details);
    folds.push(details);
  };
  const open = () => {
    const chapter = location.hash && document.getElementById(location.hash.slice(1));
    const details = chapter && chapter.querySelector("details.chapter");
    if (details) details.open = true;
  };
  const start = () => {
    if (!phone.matches || folds.length) return;
    for (const section of document.querySelectorAll("main > section:not(.winner)")) {
      if (KEPT.includes(section.id)) continue;
      const [title, ...content] = section.children;
      fold(section, title, content);
    }
    open();
  };
  start();
  addEventListener("hashchange", open);
  for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", () => setTimeout(open));
  phone.addEventListener("change", () => {
    start();
    for (const details of folds) details.open = !phone.matches;
  });
}
