// Quality against each cost: points, and a step line through those that no other beats in the two.
"use strict";
const [quality, ...costs] = plotted;
const PLOT = { left: 54, right: 18, top: 16, bottom: 46 };

// Round steps between two ends: 1, 2 or 5 times a power of ten.
const ticksOf = (low, high, count) => {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const first = Math.ceil(low / step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) =>
    ((first + i) * step).toFixed(digits));
};
const scaleOf = (figure, from, to, count) => {
  const given = sweep.points.flatMap((p) => (p.figures[figure.name] ? [p.figures[figure.name].value] : []));
  let [low, high] = [Math.min(...given), Math.max(...given)];
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - pad, high + pad];
  return {
    at: (value) => from + ((value - low) / (high - low)) * (to - from),
    ticks: ticksOf(low, high, count),
  };
};
const better = (figure, a, b) => (figure.better === "higher" ? a > b : a < b);
const worded = (figure) => `${named(figure)}, ${figure.better} is better`;

// The points that none beats in these two figures alone, the cheapest first.
const staircase = (cost) => {
  const of = (point, figure) => point.figures[figure.name].value;
  const steps = [];
  const sorted = sweep.points
    .filter((p) => p.status === "done" && p.figures[cost.name] && p.figures[quality.name])
    .sort((a, b) => {
      const tied = of(a, cost) === of(b, cost);
      return better(tied ? quality : cost, of(a, tied ? quality : cost), of(b, tied ? quality : cost)) ? -1 : 1;
    });
  for (const point of sorted)
    if (!steps.length || better(quality, of(point, quality), of(steps.at(-1), quality))) steps.push(point);
  return steps;
};

const plotOf = (cost, width) => {
  const height = Math.round(Math.min(340, Math.max(260, width * 0.66)));
  const [right, bottom] = [width - PLOT.right, height - PLOT.bottom];
  const x = scaleOf(cost, PLOT.left, right, Math.max(3, width / 90));
  const y = scaleOf(quality, bottom, PLOT.top, 5);
  const place = (p) => [x.at(p.figures[cost.name].value), y.at(p.figures[quality.name].value)];
  const svg = draw("svg", { width, height, role: "group", "aria-label": `${quality.title} against ${cost.title}` });
  for (const tick of y.ticks)
    svg.append(
      draw("line", { x1: PLOT.left, x2: right, y1: y.at(tick), y2: y.at(tick), class: "grid" }),
      draw("text", { x: PLOT.left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, tick));
  for (const tick of x.ticks)
    svg.append(
      draw("line", { x1: x.at(tick), x2: x.at(tick), y1: PLOT.top, y2: bottom, class: "grid" }),
      draw("text", { x: x.at(tick), y: bottom + 18, "text-anchor": "middle" }, tick));
  svg.append(draw("text", { x: right, y: height - 8, "text-anchor": "end", class: "name" }, worded(cost)));
  const steps = staircase(cost).map(place);
  if (steps.length) {
    const [[firstX], [, lastY]] = [steps[0], steps.at(-1)];
    const end = cost.better === "higher" ? PLOT.left : right;
    const corners = steps.slice(1).map(([px, py]) => `H${px}V${py}`).join("");
    svg.append(draw("path", { d: `M${firstX} ${bottom}V${steps[0][1]}${corners}V${lastY}H${end}`, class: "front" }));
  }
  const order = sweep.points
    .filter((p) => p.figures[cost.name] && p.figures[quality.name])
    .sort((a, b) => place(a)[0] - place(b)[0])
    .map((point) => {
      const [px, py] = place(point);
      const said = `Point ${point.number}${point.winner ? ", taken" : ""}: ${quality.title} ${point.figures[quality.name].text}, `
        + `${cost.title} ${point.figures[cost.name].text}`;
      const mark = draw(
        point.report ? "a" : "g",
        { href: point.report, transform: `translate(${px} ${py}) scale(${MANY && !point.winner ? 0.6 : 1})`, "aria-label": said, "data-number": point.number,
          role: point.report ? undefined : "img", class: point.status },
        draw("circle", { r: 12, class: "target" }),
        ...(point.front ? [draw("circle", { r: 9, class: "ring" })] : []),
        draw("path", { d: shapeOf(point), style: `--mark: ${colourOf(point)}` }),
        ...(point.winner ? [draw("text", { y: -13, "text-anchor": "middle", class: "winner-label" }, "taken")] : []));
      return [point, mark];
    });
  // The point that is taken lies on top, whatever is near it.
  svg.append(...[...order].sort(([a], [b]) => a.winner - b.winner).map(([, mark]) => mark));
  enliven(order);
  return make("figure", {}, make("figcaption", {}, worded(quality)), svg);
};

const encodings = document.querySelector(".encodings");
const plots = document.querySelector(".plots");
const legendOf = (axis, sample) => {
  const many = axis.sorted.length > COLOURS;
  const indices = many ? [0, Math.floor(axis.sorted.length / 2), axis.sorted.length - 1] : [...axis.sorted.keys()];
  return make("ul", { class: "legend" }, ...indices.map((i) => make("li", {},
    fill(draw("svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" }), {}, [sample(i)]),
    axis.sorted[i] + (many && i === 0 ? " to" : ""))));
};
const drawEncodings = () => {
  const choice = (title, kind, axes, sample) => {
    const select = make("select", {}, make("option", { value: "" }, "nothing"),
      ...axes.map((axis) => make("option", { value: axis.key, selected: axis.key === look[kind] }, axis.name)));
    select.onchange = () => { look[kind] = select.value; drawEncodings(); redraw(); };
    const axis = axisOf(look[kind]);
    return make("div", { class: "encoding" }, make("label", {}, `${title} `, select),
      ...(axis ? [legendOf(axis, sample(axis))] : []));
  };
  const meanings = sweep.points.some((p) => p.status === "missed" && p.figures[quality.name])
    ? [make("p", { class: "note" }, "Hollow: the point ran, and missed the contract.")] : [];
  encodings.replaceChildren(
    choice("Colour", "colour", sweep.axes, (axis) => (i) => draw("path", { d: SHAPES[0], style: `fill: ${colourAt(axis, i)}` })),
    choice("Shape", "shape", shapeable, () => (i) => draw("path", { d: SHAPES[i], class: "plain" })),
    ...meanings);
};
const drawPlots = () => {
  const room = plots.clientWidth;
  const columns = Math.max(1, Math.min(costs.length, Math.floor(room / 360)));
  plots.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  plots.replaceChildren(...costs.map((cost) => plotOf(cost, Math.floor((room - (columns - 1) * 28) / columns))));
  dimPlots();
};
const dimPlots = () => {
  const shown = new Set(sweep.points.filter(isShown).map((p) => String(p.number)));
  for (const mark of plots.querySelectorAll("[data-number]"))
    mark.classList.toggle("out", !shown.has(mark.dataset.number));
};
if (plots) {
  const measured = costs.filter((c) => sweep.points.some((p) => p.figures[c.name] && p.figures[quality.name]));
  costs.splice(0, costs.length, ...measured);
  drawEncodings();
  watchers.push(dimPlots);
}
