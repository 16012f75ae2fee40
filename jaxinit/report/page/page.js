"use strict";
// Draws what the page's data hold. Names enter the page as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";
const make = (tag, attributes = {}, text = null, svg = false) => {
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  return node;
};
const draw = (tag, attributes, text = null) => make(tag, attributes, text, true);
const quantile = (sorted, share) => {
  const place = share * (sorted.length - 1), low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
};
const number = (log) => {
  const value = 10 ** log;
  return value >= 1e-3 && value < 1e4 ? Number(value.toPrecision(3)).toString()
    : value.toExponential(1).replace("e+", "e");
};

const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95];
const sortedSeeds = (logs) => logs.filter((v) => v !== null).sort((a, b) => a - b);
// Quantiles over the seeds of a row; for what can be picked they are in the data.
const bandOf = (panel, i) => {
  if (panel.bands) return panel.bands[i][0] === null ? null : panel.bands[i];
  const sorted = sortedSeeds(panel.logs[i]);
  return sorted.length ? QUANTILES.map((q) => quantile(sorted, q)) : null;
};
const show = (panel, value) => panel.log ? number(value) : String(Number(value.toPrecision(3)));
const ticks = (panel, low, high) => {
  let step = Math.max(1, Math.ceil((high - low) / 5));
  if (!panel.log) {
    step = 10 ** Math.floor(Math.log10((high - low) / 2));
    for (const factor of [2, 2.5, 2]) if ((high - low) / step > 6) step *= factor;
  }
  const places = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) places.push(i * step);
  return places.map((v) => [v, panel.log ? (v === 0 ? "1" : `1e${v}`) : String(Number(v.toPrecision(6)))]);
};

// One metric against depth: its group of the drawing, and the line of the chosen row in it.
function profile(panel, rows, x, [left, right], top, H) {
  const bands = rows.map((_, i) => bandOf(panel, i));
  const all = bands.flatMap((band) => (band ? [band[0], band[4]] : []));
  for (const v of panel.expected ?? []) if (v !== null) all.push(v);
  let low = all.length ? Math.min(...all) : -1, high = all.length ? Math.max(...all) : 1;
  const middle = (low + high) / 2;
  const half = Math.max((high - low) * 0.6, panel.least) || Math.abs(middle) / 10 || 1;
  low = middle - half; high = middle + half;
  const y = (v) => top + H - (H * (v - low)) / (high - low);
  const group = draw("g", { class: panel.kind });
  group.append(draw("text", { x: left, y: top - 8, class: "title" }, panel.title));
  for (const [v, text] of ticks(panel, low, high)) {
    group.append(draw("line", { x1: left, x2: right, y1: y(v), y2: y(v), class: "grid" }));
    group.append(draw("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, text));
  }
  rows.forEach((row, i) => {
    if (row.finding) group.append(draw("line", { x1: x(i), x2: x(i), y1: top, y2: top + H, class: "found" }));
  });
  for (const run of runsOf(bands)) {
    for (const [a, b, name] of [[0, 4, "band"], [1, 3, "inner"]]) {
      const upper = run.map((i) => `${x(i)},${y(bands[i][b])}`);
      const lower = run.map((i) => `${x(i)},${y(bands[i][a])}`).reverse();
      group.append(draw("polygon", { points: [...upper, ...lower].join(" "), class: name }));
    }
    group.append(draw("polyline", { points: run.map((i) => `${x(i)},${y(bands[i][2])}`).join(" "), class: "median" }));
  }
  for (const [i] of runsOf(bands).filter((run) => run.length === 1)) {
    group.append(draw("line", { x1: x(i), x2: x(i), y1: y(bands[i][0]), y2: y(bands[i][4]), class: "whisker" }));
  }
  const radius = rows.length > 120 ? 1.5 : 3.2;
  rows.forEach((row, i) => {
    if (bands[i]) group.append(draw("circle", { cx: x(i), cy: y(bands[i][2]), r: row.kind === "join" ? radius + 1 : radius, class: `dot ${row.kind === "join" ? "join" : ""}` }));
    if (panel.zero[i]) group.append(draw("circle", { cx: x(i), cy: top + H, r: 4, class: "dot odd" }));
    if (panel.broken[i]) group.append(draw("circle", { cx: x(i), cy: top, r: 4, class: "dot odd" }));
  });
  const expected = panel.expected ?? [];
  for (const run of runsOf(expected)) {
    group.append(draw("polyline", { points: run.map((i) => `${x(i)},${y(expected[i])}`).join(" "), class: "theory" }));
    if (run.length === 1) group.append(draw("circle", { cx: x(run[0]), cy: y(expected[run[0]]), r: 2, class: "theory" }));
  }
  const cursor = draw("line", { y1: top, y2: top + H, class: "cursor", visibility: "hidden" });
  group.append(cursor);
  return [group, cursor];
}

// Negative values from large to small, zeros in the middle, positive ones to the right.
function histogram(shares) {
  const n = shares.length, most = Math.max(...shares, 1e-9), half = (n - 1) / 2;
  const svg = draw("svg", { viewBox: `0 0 ${3 * n} 60`, class: "signal exponents", role: "img", "aria-label": "Shares of values by sign and exponent" });
  shares.forEach((share, i) => {
    const h = (44 * share) / most;
    svg.append(draw("rect", { x: 3 * i, y: 45 - h, width: 2.4, height: h, class: i === half ? "dot odd" : "dot" }));
  });
  for (const [i, text, anchor] of [[0, "-2^23", "start"], [half, "0", "middle"], [n, "2^23", "end"]]) {
    svg.append(draw("text", { x: 3 * i, y: 58, "text-anchor": anchor }, text));
  }
  return svg;
}

// Neighbors that have a value.
function runsOf(values) {
  const runs = [];
  values.forEach((value, i) => {
    if (value === null) return;
    if (i && values[i - 1] !== null && runs.length) runs[runs.length - 1].push(i);
    else runs.push([i]);
  });
  return runs;
}

function section(root, data) {
  const rows = data.rows, more = root.querySelector("select.more");
  const W = root.clientWidth < 600 ? 480 : 1000, L = 64, R = 14, TOP = 22, H = 170, GAP = 26;
  const x = (i) => L + (W - L - R) * (rows.length > 1 ? i / (rows.length - 1) : 0.5);
  const svg = root.querySelector("svg.profile");
  let panels = [], cursors = [];
  function plot() {
    panels = rows.length ? [...data.panels, ...data.more.filter((_, i) => String(i) === more.value)] : [];
    svg.setAttribute("viewBox", `0 0 ${W} ${panels.length * (H + TOP + GAP)}`);
    const drawn = panels.map((panel, p) => profile(panel, rows, x, [L, W - R], p * (H + TOP + GAP) + TOP, H));
    svg.replaceChildren(...drawn.map(([group]) => group));
    cursors = drawn.map(([, cursor]) => cursor);
  }
  plot();

  const detail = root.querySelector(".detail"), body = root.querySelector("tbody");
  const lines = rows.map((row, i) => body.querySelector(`tr[data-row="${i}"]`));
  let chosen = -1;
  function choose(i, scroll = false) {
    if (i < 0 || i >= rows.length) return;
    if (chosen >= 0) lines[chosen].classList.remove("chosen");
    chosen = i;
    lines[i].classList.add("chosen");
    if (scroll) lines[i].scrollIntoView({ block: "nearest" });
    for (const cursor of cursors) {
      cursor.setAttribute("x1", x(i)); cursor.setAttribute("x2", x(i));
      cursor.setAttribute("visibility", "visible");
    }
    const row = rows[i];
    detail.replaceChildren(make("h3", {}, row.name));
    const list = make("dl");
    const add = (name, value) => list.append(make("dt", {}, name), make("dd", {}, value));
    for (const [name, value] of row.facts) add(name, value);
    panels.forEach((panel) => {
      const logs = sortedSeeds(panel.logs?.[i] ?? []), band = bandOf(panel, i);
      if (logs.length) add(`${panel.title}, over seeds`, `median ${number(quantile(logs, 0.5))}, from ${number(logs[0])} to ${number(logs[logs.length - 1])}`);
      else if (band) add(`${panel.title}, over seeds`, `median ${show(panel, band[2])}, 5-95% from ${show(panel, band[0])} to ${show(panel, band[4])}`);
      if (panel.zero[i]) add(panel.title, `exactly zero in ${panel.zero[i]} seeds`);
      if (panel.broken[i]) add(panel.title, `not finite in ${panel.broken[i]} seeds`);
      if (logs.length) {
        const low = logs[0], wide = Math.max(logs[logs.length - 1] - low, 1e-9);
        const strip = draw("svg", { viewBox: "0 0 300 20", class: panel.kind, role: "img", "aria-label": `${panel.title}, one mark for each of ${logs.length} seeds` });
        for (const v of logs) strip.append(draw("circle", { cx: 8 + (284 * (v - low)) / wide, cy: 10, r: 4, class: "dot", opacity: 0.45 }));
        const cell = make("dd");
        cell.append(strip);
        list.append(make("dt", {}, ""), cell);
      }
    });
    if (row.exponents) {
      const cell = make("dd");
      cell.append(histogram(row.exponents));
      list.append(make("dt", {}, "values by sign and exponent"), cell);
    }
    if (row.finding) add("finding", row.finding);
    detail.append(list);
  }
  const near = (event) => {
    const box = svg.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * W;
    choose(Math.max(0, Math.min(rows.length - 1, Math.round(((place - L) / (W - L - R)) * (rows.length - 1)))));
  };
  svg.addEventListener("pointermove", near);
  svg.addEventListener("pointerdown", near);
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: chosen + 1, ArrowLeft: Math.max(chosen - 1, 0), Home: 0, End: rows.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    choose(Math.min(moves[event.key], rows.length - 1));
  });
  lines.forEach((line, i) => {
    line.addEventListener("pointerenter", () => choose(i));
    line.addEventListener("focus", () => choose(i));
    line.addEventListener("keydown", (event) => {
      const next = { ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling }[event.key];
      if (next) { event.preventDefault(); next.focus(); }
    });
  });

  const filter = root.querySelector("input[type=search]");
  const problems = root.querySelector("button.problems"), fold = root.querySelector("button.fold");
  const shown = root.querySelector(".shown");
  const folded = new Set();
  let groups = [];
  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  function refresh() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, i) => {
      const text = lines[i].textContent.toLowerCase();
      const visible = words.every((word) => text.includes(word)) && (!pressed(problems) || row.finding)
        && !(pressed(fold) && folded.has(row.module));
      lines[i].hidden = !visible;
      count += visible;
    });
    shown.textContent = `${count} of ${rows.length} rows`;
  }
  filter.addEventListener("input", refresh);
  problems.addEventListener("click", () => {
    problems.setAttribute("aria-pressed", String(!pressed(problems)));
    refresh();
  });
  function ungroup() {
    for (const group of groups) group.remove();
    groups = [];
    folded.clear();
    fold.setAttribute("aria-pressed", "false");
  }
  function order(indices) { for (const i of indices) body.append(lines[i]); }
  fold.addEventListener("click", () => {
    const on = !pressed(fold);
    ungroup();
    order(rows.keys());
    fold.setAttribute("aria-pressed", String(on));
    if (on) {
      const modules = new Map();
      rows.forEach((row, i) => modules.set(row.module, [...(modules.get(row.module) ?? []), i]));
      for (const [module, members] of modules) {
        folded.add(module);
        const line = make("tr", { class: "group" });
        const cell = make("th", { colspan: String(data.columns), scope: "rowgroup" });
        const label = `${module || "(top)"}: ${members.length} rows`;
        const bad = members.some((i) => rows[i].finding) ? ", with a finding" : "";
        const button = make("button", { type: "button", "aria-expanded": "false" }, label + bad);
        button.addEventListener("click", () => {
          if (!folded.delete(module)) folded.add(module);
          button.setAttribute("aria-expanded", String(!folded.has(module)));
          refresh();
        });
        cell.append(button);
        line.append(cell);
        body.append(line);
        groups.push(line);
        order(members);
      }
    }
    refresh();
  });
  root.querySelectorAll("thead button").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.closest("th"), up = head.getAttribute("aria-sort") !== "ascending";
      root.querySelectorAll("thead th").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      ungroup();
      const key = (i) => lines[i].cells[column].dataset.value ?? lines[i].cells[column].textContent;
      const value = (i) => (key(i) === "" ? Infinity : Number.isNaN(Number(key(i))) ? key(i) : Number(key(i)));
      const indices = [...rows.keys()].sort((i, j) => {
        const a = value(i), b = value(j);
        const less = typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
        return up ? less : -less;
      });
      order(indices);
      refresh();
    });
  });
  more.addEventListener("change", () => {
    plot();
    choose(chosen);
  });
  refresh();
  if (rows.length) choose(Math.max(0, rows.findIndex((row) => row.finding)));
}
document.querySelectorAll("section.report").forEach((root) => {
  section(root, JSON.parse(root.querySelector("script[type='application/json']").textContent));
});
