// The table: sorted by any column, filtered by words and values, with columns and rows to hide.
"use strict";
const points = document.querySelector("table.points");
const body = points.tBodies[0];
const rowOf = new Map([...body.rows].map((row) => [Number(row.dataset.number), row]));
const heads = [...points.tHead.rows[0].cells];
const controls = document.querySelector(".controls");
const sorting = { key: "number", descending: false };

const sortValue = (point, key) => {
  const [kind, name] = [key.slice(0, key.indexOf(":")), key.slice(key.indexOf(":") + 1)];
  if (kind === "figure") return point.figures[name]?.value;
  if (kind !== "axis") return point[key];
  return axisOf(name).numeric ? Number(point.values[name]) : point.values[name];
};
const sort = (key, descending) => {
  Object.assign(sorting, { key, descending });
  const compare = (a, b) => {
    const [left, right] = [sortValue(a, key), sortValue(b, key)];
    // Points without a value stay below, whichever way the others are sorted.
    if (left === undefined || right === undefined) return (left === undefined) - (right === undefined) || a.number - b.number;
    const order = typeof left === "number" ? left - right : collator.compare(left, right);
    return (descending ? -order : order) || a.number - b.number;
  };
  body.append(...[...sweep.points].sort(compare).map((point) => rowOf.get(point.number)));
  for (const head of heads) {
    if (head.dataset.key === key) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
};
for (const head of heads) {
  const button = make("button", { type: "button" }, ...head.childNodes);
  button.onclick = () => sort(head.dataset.key, sorting.key === head.dataset.key && !sorting.descending);
  head.append(button);
}
points.tHead.rows[0].append(make("td"));
for (const point of sweep.points) {
  const hide = make("button", { type: "button", "aria-label": `Hide point ${point.number}` }, "Hide");
  hide.onclick = () => { chosen.hidden.add(point.number); changed(); };
  rowOf.get(point.number).append(make("td", { class: "hide" }, hide));
}

// A row of switches, one per value of a column; all are on at first.
const switches = (title, key, values) => make("fieldset", {}, make("legend", {}, title),
  ...values.map((value) => {
    const button = make("button", { type: "button", "aria-pressed": "true", "data-value": value }, value);
    button.onclick = () => {
      const off = chosen.off.get(key) ?? new Set();
      off.has(value) ? off.delete(value) : off.add(value);
      chosen.off.set(key, off);
      button.setAttribute("aria-pressed", !off.has(value));
      changed();
    };
    return button;
  }));
const titleOf = (head) => head.querySelector("button").textContent;

const search = make("input", { type: "search", placeholder: "Filter by any word", "aria-label": "Filter by any word" });
search.oninput = () => { chosen.text = search.value.trim().toLowerCase(); changed(); };
const by = make("select", { "aria-label": "Sort by" },
  ...heads.map((head) => make("option", { value: head.dataset.key }, titleOf(head))));
const way = make("button", { type: "button" }, "Reverse");
by.onchange = () => sort(by.value, false);
way.onclick = () => sort(sorting.key, !sorting.descending);
const columns = make("details", {}, make("summary", {}, "Columns"), make("div", {}, ...heads.slice(1).map((head) => {
  const box = make("input", { type: "checkbox", checked: true, "data-column": head.dataset.key });
  box.onchange = () => {
    for (const cell of points.querySelectorAll(`[data-key="${CSS.escape(head.dataset.key)}"]`)) cell.hidden = !box.checked;
  };
  return make("label", {}, box, ` ${titleOf(head)}`);
})));
const count = make("span", { role: "status" });
const everything = make("button", { type: "button", class: "everything" }, "Show all");
everything.onclick = () => {
  Object.assign(chosen, { text: "", off: new Map(), ranges: new Map(), hidden: new Set() });
  search.value = "";
  for (const button of controls.querySelectorAll("[aria-pressed]")) button.setAttribute("aria-pressed", true);
  changed();
};
const statuses = [...new Set(sweep.points.map((point) => point.status))];
controls.append(
  make("div", { class: "finders" }, search, make("label", { class: "sorter" }, "Sort by ", by, way)),
  make("div", { class: "folds" },
    make("details", {}, make("summary", {}, "Filter by value"), make("div", {},
      switches("Status", "status", statuses),
      ...sweep.axes.map((axis) => switches(axis.name, axis.key, axis.sorted)))),
    columns),
  make("p", { class: "count" }, count, " ", everything));

const filterRows = () => {
  let shown = 0;
  for (const point of sweep.points) {
    const on = isShown(point);
    rowOf.get(point.number).hidden = !on;
    shown += on;
  }
  count.textContent = shown === sweep.points.length ? `All ${shown} points are shown.` : `${shown} of ${sweep.points.length} points are shown.`;
  everything.hidden = shown === sweep.points.length;
};
watchers.push(filterRows);
filterRows();
sort("number", false);
