// Parallel coordinates: a line per point over choices and figures; a range of an axis filters.
"use strict";
const ground = document.querySelector(".lines");
const LINES = { top: 44, height: 300, bottom: 22, least: 96, side: 52, reach: 17 };
const STEP = 0.05, LETTER = 7;

const drawLines = () => {
  const width = Math.max(ground.clientWidth, dimensions.length * LINES.least);
  const floor = LINES.top + LINES.height;
  const gap = (width - 2 * LINES.side) / Math.max(1, dimensions.length - 1);
  const xOf = (index) => (dimensions.length > 1 ? LINES.side + index * gap : width / 2);
  const yOf = (share) => floor - share * LINES.height;
  const svg = draw("svg", { width, height: floor + LINES.bottom, role: "group", "aria-label": "One line per point", class: MANY ? "many" : "" });
  const paths = sweep.points.map((point) => {
    // A point that was refused has no figures: its line ends where its choices do.
    let pen = "M";
    const d = dimensions.map((dimension, index) => {
      const at = dimension.at(point);
      const part = at === undefined ? "" : `${pen}${xOf(index)} ${yOf(at)}`;
      pen = at === undefined ? "M" : "L";
      return part;
    }).join("");
    return [point, draw("path", { d, class: `line ${point.status}${point.winner ? " won" : ""}`,
      style: `--mark: ${colourOf(point)}`, "data-number": point.number })];
  });
  // The winner's line lies on top.
  paths.sort(([a], [b]) => a.winner - b.winner);
  for (const [point, path] of paths) {
    path.addEventListener("pointerenter", (event) =>
      showCard(point, { getBoundingClientRect: () => new DOMRect(event.clientX, event.clientY, 0, 0) }));
    path.addEventListener("pointerleave", hideCard);
  }
  svg.append(...paths.map(([, path]) => path));
  dimensions.forEach((dimension, index) => svg.append(axisOfLines(dimension, xOf(index), yOf, gap, index === dimensions.length - 1)));
  ground.replaceChildren(svg);
  dimLines();
};

// The two ends of a figure, the better one on top, with as many digits as tell them apart.
const endsOfFigure = ({ figure, low, high }) => {
  let digits = 3;
  while (digits < 9 && low.toPrecision(digits) === high.toPrecision(digits)) digits += 1;
  const [least, most] = [low, high].map((value) => String(Number(value.toPrecision(digits))));
  if (low === high) return [[0.5, least]];
  return figure.better === "higher" ? [[0, least], [1, most]] : [[0, most], [1, least]];
};
const endsOfAxis = ({ sorted }) => {
  const last = sorted.length - 1;
  if (last > 11) return [[0, sorted[0]], [1, sorted[last]]];
  return sorted.map((value, index) => [last ? index / last : 0.5, value]);
};
const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

const axisOfLines = (dimension, x, yOf, room, last) => {
  const range = draw("rect", { class: "range", x: x - 8, width: 16, y: 0, height: 0 });
  const [top, bottom] = [yOf(1), yOf(0)];
  const handle = draw("rect", { class: "brush", x: x - LINES.reach, y: top - 8, width: 2 * LINES.reach,
    height: bottom - top + 16, tabindex: 0, role: "slider", "aria-orientation": "vertical",
    "aria-label": `Keep a part of ${dimension.title}`, "aria-valuemin": 0, "aria-valuemax": 100,
    "data-dimension": dimension.key });
  const show = () => {
    const [low, high] = chosen.ranges.get(dimension) ?? [0, 1];
    const on = chosen.ranges.has(dimension);
    range.setAttribute("y", yOf(high) - 3);
    range.setAttribute("height", on ? yOf(low) - yOf(high) + 6 : 0);
    handle.setAttribute("aria-valuenow", Math.round(100 * low));
    handle.setAttribute("aria-valuetext",
      on ? `${Math.round(100 * low)} to ${Math.round(100 * high)} % of the axis` : "everything passes");
  };
  const keep = (low, high) => {
    if (low <= 0 && high >= 1) chosen.ranges.delete(dimension);
    else chosen.ranges.set(dimension, [low, high]);
    show();
    changed();
  };
  const shareAt = (event) => {
    const y = event.clientY - handle.ownerSVGElement.getBoundingClientRect().top;
    return Math.min(1, Math.max(0, (bottom - y) / (bottom - top)));
  };
  let from;
  handle.addEventListener("pointerdown", (event) => {
    from = shareAt(event);
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (from === undefined) return;
    const to = shareAt(event);
    if (Math.abs(to - from) > 0.02) keep(Math.min(from, to), Math.max(from, to));
  });
  handle.addEventListener("pointerup", (event) => {
    if (from !== undefined && Math.abs(shareAt(event) - from) <= 0.02) keep(0, 1);
    from = undefined;
  });
  handle.addEventListener("pointercancel", () => { from = undefined; });
  handle.addEventListener("keydown", (event) => {
    const way = { ArrowUp: STEP, ArrowDown: -STEP }[event.key];
    if (event.key === "Escape") keep(0, 1);
    if (!way) return;
    event.preventDefault();
    const [low, high] = chosen.ranges.get(dimension) ?? [0, 1];
    if (event.shiftKey) keep(low, Math.min(1, Math.max(low, high + way)));
    else keep(Math.max(0, Math.min(high, low + way)), high);
  });
  watchers.push(show);
  show();
  const unit = dimension.figure?.unit;
  // A value may reach to the next axis; after the last axis there is only the margin.
  const beside = Math.min(room - 12, last ? LINES.side - 4 : 3 * LINES.side);
  return draw("g", { class: "dimension" },
    draw("line", { x1: x, x2: x, y1: top, y2: bottom }),
    range,
    draw("text", { x, y: 14, "text-anchor": "middle", class: "name" },
      draw("title", {}, dimension.title), shortened(dimension.title, Math.floor(Math.min(room, 3 * LINES.side) / LETTER))),
    ...(unit ? [draw("text", { x, y: 29, "text-anchor": "middle" }, unit)] : []),
    ...(dimension.axis ? endsOfAxis(dimension.axis) : endsOfFigure(dimension)).map(([at, text]) =>
      draw("text", { x: x + 7, y: yOf(at) + (at === 1 ? -3 : at === 0 ? 13 : 4), class: "end" }, shortened(text, Math.floor(beside / LETTER)))),
    handle);
};
const dimLines = () => {
  const shown = new Set(sweep.points.filter(isShown).map((p) => String(p.number)));
  for (const path of ground.querySelectorAll(".line")) path.classList.toggle("out", !shown.has(path.dataset.number));
};
if (ground) watchers.push(dimLines);

// Both pictures are drawn for the room that they have, and again when that changes.
const redraw = () => { if (plots) drawPlots(); if (ground) drawLines(); };
redraw();
let drawnFor = document.documentElement.clientWidth;
addEventListener("resize", () => {
  const width = document.documentElement.clientWidth;
  if (width !== drawnFor) { drawnFor = width; redraw(); }
});
