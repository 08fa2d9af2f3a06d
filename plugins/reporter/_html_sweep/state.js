// The state of the pictures and the table: the points, which of them are shown, and their looks.
"use strict";
document.documentElement.classList.add("js");
const sweep = JSON.parse(document.getElementById("sweep-data").textContent);

const fill = (node, attributes, children) => {
  for (const [key, given] of Object.entries(attributes))
    if (given !== false && given !== undefined) node.setAttribute(key, given === true ? "" : given);
  node.append(...children);
  return node;
};
const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// From so many points on, each is drawn finer.
const MANY = sweep.points.length > 80;
const collator = new Intl.Collator("en", { numeric: true });
for (const axis of sweep.axes)
  axis.sorted = axis.numeric ? [...axis.values].sort((a, b) => a - b) : axis.values;
const plotted = sweep.figures.filter((figure) => figure.plotted);
const named = (figure) => figure.title + (figure.unit ? ` (${figure.unit})` : "");

// A dimension gives a point's place between 0 and 1, undefined where it has no value.
const ofAxis = (axis) => ({
  key: `axis:${axis.key}`, title: axis.name, axis,
  at: (point) => {
    const index = axis.sorted.indexOf(point.values[axis.key]);
    if (index < 0) return undefined;
    return axis.sorted.length > 1 ? index / (axis.sorted.length - 1) : 0.5;
  },
});
const ofFigure = (figure) => {
  const given = sweep.points.flatMap((p) => (p.figures[figure.name] ? [p.figures[figure.name].value] : []));
  const [low, high] = [Math.min(...given), Math.max(...given)];
  const share = (value) => (high > low ? (value - low) / (high - low) : 0.5);
  return {
    key: `figure:${figure.name}`, title: figure.title, figure, low, high,
    at: (point) => {
      const found = point.figures[figure.name];
      if (!found) return undefined;
      return figure.better === "higher" ? share(found.value) : 1 - share(found.value);
    },
  };
};
const dimensions = [...sweep.axes.map(ofAxis), ...plotted.map(ofFigure)]
  .filter((d) => d.axis || Number.isFinite(d.low));

// Which points are shown. `off` holds switched-off values by column, `ranges` parts of dimensions.
const chosen = { text: "", off: new Map(), ranges: new Map(), hidden: new Set() };
const words = (point) =>
  [point.number, point.status, point.why, ...Object.values(point.values), point.command].join(" ").toLowerCase();
const valueOf = (point, key) => (key === "status" ? point.status : point.values[key]);
const isShown = (point) =>
  !chosen.hidden.has(point.number) &&
  words(point).includes(chosen.text) &&
  [...chosen.off].every(([key, values]) => !values.has(valueOf(point, key))) &&
  [...chosen.ranges].every(([dimension, [low, high]]) => {
    const at = dimension.at(point);
    return at !== undefined && at >= low - 1e-6 && at <= high + 1e-6;
  });
const watchers = [];
const changed = () => watchers.forEach((tell) => tell());

// How a point looks: its colour by one key, its shape by another; the legend lets both be chosen.
const look = { colour: sweep.axes[0]?.key, shape: undefined };
const SHAPES = [
  "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z", "M-4.6-4.6H4.6V4.6H-4.6Z", "M0-6L5.6 4.2H-5.6Z",
  "M0-6.4L6.4 0L0 6.4L-6.4 0Z", "M0 6L-5.6-4.2H5.6Z", "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
];
const COLOURS = 8;
const shapeable = sweep.axes.filter((axis) => axis.values.length <= SHAPES.length);
look.shape = shapeable.find((axis) => axis.key !== look.colour && axis.values.length > 1)?.key;
const axisOf = (key) => sweep.axes.find((axis) => axis.key === key);
const colourAt = (axis, index) => {
  if (axis.sorted.length <= COLOURS) return `var(--s${index})`;
  const share = (100 * index) / (axis.sorted.length - 1);
  return `color-mix(in oklab, var(--s0) ${share.toFixed(1)}%, var(--s1))`;
};
const colourOf = (point) => {
  const axis = axisOf(look.colour);
  return axis ? colourAt(axis, Math.max(0, axis.sorted.indexOf(point.values[axis.key]))) : "var(--s1)";
};
const shapeOf = (point) => {
  const axis = axisOf(look.shape);
  return SHAPES[axis ? Math.max(0, axis.sorted.indexOf(point.values[axis.key])) : 0];
};
