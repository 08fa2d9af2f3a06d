// The card that shows all figures of the point under the pointer or the keyboard.
"use strict";
const card = document.getElementById("card");
let carded;

const showCard = (point, mark, touched) => {
  carded = mark;
  const rows = sweep.figures.flatMap((figure) => {
    const found = point.figures[figure.name];
    return found ? [make("dt", {}, figure.title), make("dd", {}, found.text)] : [];
  });
  const devices = [...new Set(Object.values(point.figures).map((f) => f.device).filter(Boolean))];
  const values = sweep.axes.map((axis) =>
    make("div", {}, make("code", {}, axis.name), ` ${point.values[axis.key] ?? "–"}`));
  card.replaceChildren(
    make("strong", {}, `Point ${point.number}`, point.winner ? ", taken" : point.front ? ", on the front" : ""),
    ...values,
    make("dl", {}, ...rows),
    ...(point.why ? [make("p", {}, point.why.replaceAll("`", ""))] : []),
    ...(devices.length ? [make("p", { class: "note" }, `On ${devices.join("; ")}`)] : []),
    ...(point.report
      ? [touched ? make("a", { href: point.report }, "Open its report") : make("p", { class: "note" }, "A click opens its report")]
      : []),
  );
  card.hidden = false;
  placeCard();
};
const placeCard = () => {
  const [at, own] = [carded.getBoundingClientRect(), card.getBoundingClientRect()];
  const width = document.documentElement.clientWidth;
  const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), width - own.width - 8);
  const above = at.top - own.height - 10;
  card.style.left = `${left}px`;
  card.style.top = `${above > 8 ? above : at.bottom + 10}px`;
};
const hideCard = () => { card.hidden = true; carded = undefined; };
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideCard(); });
// Focus may scroll its point into view: then the card moves with it.
document.addEventListener("scroll", () => {
  if (carded && carded === document.activeElement) placeCard();
  else hideCard();
}, { passive: true });
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("#card, .mark-of-point")) hideCard();
});

// Gives marks of points their card and their link; arrows move among them, so that a whole picture
// is one stop of the tab key. `order` are [point, mark] in the order of the arrows.
const enliven = (order) => {
  order.forEach(([point, mark], index) => {
    mark.classList.add("mark-of-point");
    mark.setAttribute("tabindex", index ? -1 : 0);
    let touched = false;
    mark.addEventListener("pointerenter", () => showCard(point, mark));
    mark.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hideCard(); });
    mark.addEventListener("focus", () => showCard(point, mark));
    mark.addEventListener("blur", (event) => { if (!card.contains(event.relatedTarget)) hideCard(); });
    mark.addEventListener("pointerdown", (event) => { touched = event.pointerType !== "mouse"; });
    // A finger cannot hover: its tap shows the card, whose link opens the report.
    mark.addEventListener("click", (event) => { if (touched) { event.preventDefault(); showCard(point, mark, true); } });
    mark.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const shown = order.filter(([other]) => isShown(other) || other === point);
      const place = shown.findIndex(([other]) => other === point);
      const [, next] = shown[(place + step + shown.length) % shown.length];
      order.forEach(([, other]) => other.setAttribute("tabindex", other === next ? 0 : -1));
      next.focus();
    });
  });
};
