"use strict";
/* The pages of the report. What is known of each artifact is in #contents; all text goes into the page as text, never
 * as HTML. An address names a page: #records/mnist/cat2/linear_probe an artifact, #records all of a kind,
 * #cells/TABLE/SELECTION/METHOD/COLUMN a cell; any other address is a place on the front. */

const CONTENTS = JSON.parse(document.getElementById("contents").textContent);
const { artifacts: ARTIFACTS, pool: POOL, cells: CELLS, results: RESULTS, run: RUN } = CONTENTS;
const NAMES = Object.keys(ARTIFACTS).sort((a, b) => ARTIFACTS[a].place - ARTIFACTS[b].place);
const MANY = 12; // links in a row
const SVG = "http://www.w3.org/2000/svg";

// Words and numbers

const percent = (fraction, digits = 2) => (fraction === null ? "–" : (100 * fraction).toFixed(digits));
const grouped = (number) => number.toLocaleString("en");

const spaced = (name) => name.replaceAll("_", " ");

/** Any value in words. */
function words(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.map(words).join(", ");
  if (typeof value === "object") {
    return Object.entries(value).map(([name, item]) => `${spaced(name)} ${words(item)}`).join(", ");
  }
  return String(value);
}

/** A setting that was picked: `learning rate 0.1, epoch 5 of 8`. */
function pickedWords({ epoch, epochs, ...others }) {
  const at = epoch === undefined ? [] : [epochs === undefined ? `epoch ${epoch}` : `epoch ${epoch} of ${epochs}`];
  return [...(Object.keys(others).length ? [words(others)] : []), ...at].join(", ");
}

const shotsText = (shots) => (shots === "all" ? "all images" : `${shots} per class`);
const stateOf = (name) => ARTIFACTS[name].state || "current";
const inputsOf = (name) => ARTIFACTS[name].inputs.map((place) => NAMES[place]);
const factsOf = (name) => ("facts" in ARTIFACTS[name] ? POOL[ARTIFACTS[name].facts] : {});
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

/** All artifacts that one was made from, nearest first, each once. */
function madeFrom(name) {
  const found = new Set();
  const waiting = [name];
  for (const next of waiting) {
    for (const source of inputsOf(next)) {
      if (!found.has(source)) {
        found.add(source);
        waiting.push(source);
      }
    }
  }
  return [...found];
}

// Elements

/** An element; children are elements or text, of which nothing becomes HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const link = (name, text = name) => element("a", { href: `#${name}` }, text);
const long = (text) => element("div", { class: "long" }, text);
const code = (text) => element("code", {}, text);
const badge = (state) => element("span", { class: `state ${state}` }, state);

/** Names and values in two columns; values are elements, text, or lists of them. */
function facts(pairs) {
  const list = element("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    list.append(element("dt", {}, name), element("dd", {}, ...(Array.isArray(value) ? value : [value])));
  }
  return list;
}

/** A list of links, separated by commas. */
const links = (pairs) => pairs.flatMap(([name, text], place) => (place ? [", ", link(name, text)] : [link(name, text)]));

const list = (pairs) => element("ul", { class: "links" }, ...pairs.map(([name, text]) => element("li", {}, link(name, text))));

/** A table whose columns can be sorted.
 *
 * columns : [heading, whether it holds numbers]; rows : cells, each text, an element, or [what is shown, by what it is
 * sorted]; the first cell is the heading of its row. picked : row to mark.
 */
function table(label, columns, rows, picked = null) {
  const head = columns.map(([text, number]) =>
    element("th", { scope: "col", "aria-sort": "none", class: number && "number" },
      element("button", { type: "button" }, text)));
  const body = rows.map((cells, row) =>
    element("tr", { class: row === picked && "picked" }, ...cells.map((cell, place) => {
      const [shown, sort] = Array.isArray(cell) ? cell : [cell, null];
      const attributes = { class: columns[place][1] && "number", "data-sort": sort === null ? null : String(sort) };
      return place ? element("td", attributes, shown) : element("th", { scope: "row", ...attributes }, shown);
    })));
  const made = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
  return element("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, made);
}

function details(summary, open, ...children) {
  return element("details", { open }, element("summary", {}, summary), ...children);
}

// Sorting: a click, Enter or the space bar on a heading

function sortKey(row, column) {
  const cell = row.cells[column];
  const text = "sort" in cell.dataset ? cell.dataset.sort : cell.textContent.trim();
  return text === "" || text === "–" ? null : text;
}

function compare(a, b) {
  const numbers = [Number(a), Number(b)];
  return numbers.some(Number.isNaN) ? a.localeCompare(b, "en", { numeric: true }) : numbers[0] - numbers[1];
}

/** Numbers begin with the largest, text with the first of the alphabet; what is not there comes last. */
function sort(button) {
  const heading = button.closest("th");
  const before = heading.getAttribute("aria-sort");
  const first = heading.classList.contains("number") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? other : first;
  const body = heading.closest("table").tBodies[0];
  const column = heading.cellIndex;
  const rows = [...body.rows].map((row) => [sortKey(row, column), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return order === "ascending" ? compare(a, b) : compare(b, a);
  });
  body.append(...rows.map(([, row]) => row));
  for (const cell of heading.parentElement.cells) {
    if (cell.hasAttribute("aria-sort")) cell.setAttribute("aria-sort", cell === heading ? order : "none");
  }
  document.getElementById("said").textContent = `Sorted by ${button.textContent}, ${order}.`;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("th button");
  if (button) sort(button);
});

// Zooming of figures: by the part of the picture that is seen

class Zoom {
  constructor(figure) {
    this.frame = figure.querySelector(".picture");
    this.svg = this.frame.querySelector("svg");
    const { x, y, width, height } = this.svg.viewBox.baseVal;
    this.whole = { x, y, width, height };
    this.seen = { ...this.whole };
    this.fingers = new Map();
    for (const button of figure.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.by({ in: 1.5, out: 1 / 1.5, all: 0 }[button.dataset.zoom]));
    }
    this.frame.addEventListener("keydown", (event) => this.key(event));
    this.frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.frame.addEventListener("pointerdown", (event) => this.down(event));
    this.frame.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.frame.addEventListener(end, (event) => this.fingers.delete(event.pointerId));
    }
  }

  /** Larger by a factor, around a point of the frame (fractions of its size); 0: the whole picture. */
  by(factor, across = 0.5, down = 0.5) {
    const width = factor ? Math.min(this.seen.width / factor, this.whole.width) : this.whole.width;
    const least = Math.max(width, this.whole.width / 20);
    const scale = least / this.seen.width;
    this.show({
      x: this.seen.x + across * this.seen.width * (1 - scale),
      y: this.seen.y + down * this.seen.height * (1 - scale),
      width: least,
      height: this.whole.height * (least / this.whole.width),
    });
  }

  /** Move what is seen, by fractions of the frame. */
  shift(across, down) {
    this.show({ ...this.seen, x: this.seen.x + across * this.seen.width, y: this.seen.y + down * this.seen.height });
  }

  show(seen) {
    const within = (start, length, from, all) => Math.min(Math.max(start, from), from + all - length);
    seen.x = within(seen.x, seen.width, this.whole.x, this.whole.width);
    seen.y = within(seen.y, seen.height, this.whole.y, this.whole.height);
    this.seen = seen;
    this.svg.setAttribute("viewBox", `${seen.x} ${seen.y} ${seen.width} ${seen.height}`);
    this.frame.classList.toggle("large", seen.width < this.whole.width);
  }

  key(event) {
    const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    const factors = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in factors) this.by(factors[event.key]);
    else if (event.key in steps && this.frame.classList.contains("large")) this.shift(...steps[event.key]);
    else return;
    event.preventDefault();
  }

  wheel(event) {
    if (!event.ctrlKey) return; // the page scrolls; a pinch on a touch pad comes as Ctrl and wheel
    event.preventDefault();
    const box = this.frame.getBoundingClientRect();
    const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    this.by(Math.exp(-event.deltaY / 300), ...place);
  }

  down(event) {
    this.fingers.set(event.pointerId, event);
    if (this.frame.classList.contains("large") || this.fingers.size > 1) this.frame.setPointerCapture(event.pointerId);
  }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const box = this.frame.getBoundingClientRect();
    if (this.fingers.size === 1 && this.frame.classList.contains("large")) {
      this.shift((before.clientX - event.clientX) / box.width, (before.clientY - event.clientY) / box.height);
    } else if (this.fingers.size === 2) {
      const [other] = [...this.fingers.values()].filter((finger) => finger.pointerId !== event.pointerId);
      const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
      const middle = [(event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2];
      this.by(apart(event) / apart(before), (middle[0] - box.left) / box.width, (middle[1] - box.top) / box.height);
    }
    this.fingers.set(event.pointerId, event);
  }
}

for (const figure of document.querySelectorAll("figure")) new Zoom(figure);

// Pages

const interval = ([low, high], factor = 100) => `[${(factor * low).toFixed(1)}, ${(factor * high).toFixed(1)}]`;

/** Accuracies of a record, a row for each number of shots and selection rule; below, what is to be known of them. */
function accuracies(name) {
  const columns = [["trained on", false], ["selection", false], ["top-1, %", true], ["95 % interval", true],
    ["val top-1, %", true], ["picked on", false], ["picked", false], ["train", true], ["val", true], ["test", true]];
  const rows = ARTIFACTS[name].results.map((result) => [
    shotsText(result.shots), result.selection, [percent(result.top1), result.top1],
    [interval(result.top1_interval), result.top1_interval[0]],
    [percent(result.val_top1), result.val_top1 === null ? "" : result.val_top1],
    result.selected_on, Array.isArray(result.selected) ? "see the members" : long(pickedWords(result.selected)),
    ...["n_train", "n_val", "n_test"].map((count) => [grouped(result[count]), result[count]]),
  ]);
  const picks = ARTIFACTS[name].results.map((result) =>
    `${shotsText(result.shots)}, ${result.selection}: ${result.picked_from}.`);
  return [table("Accuracies", columns, rows),
    ...[...picks, ...ARTIFACTS[name].remarks].map((text) => element("p", {}, text))];
}

/** The accuracy of the picked setting over its epochs. */
function curve(values, picked) {
  const [width, height, low, high] = [360, 90, Math.min(...values), Math.max(...values)];
  const x = (epoch) => 6 + (epoch * (width - 12)) / Math.max(values.length - 1, 1);
  const y = (value) => height - 6 - ((value - low) * (height - 12)) / (high - low || 1);
  const points = values.map((value, epoch) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const label = `${percent(values[0], 1)} % after epoch 1, ${percent(values.at(-1), 1)} % after epoch ${values.length}, ` +
    `between ${percent(low, 1)} and ${percent(high, 1)} %`;
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "curve", role: "img", "aria-label": label },
    drawn("polyline", { points, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }));
  if (picked) {
    picture.append(drawn("circle", { cx: x(picked - 1), cy: y(values[picked - 1]), r: 4, fill: "currentColor" }));
  }
  return element("div", {}, picture, element("small", {}, `Picked setting, top-1 over epochs: ${label}.`));
}

/** Every setting that was tried, and the curve of the one that was picked. */
function grid(result) {
  const columns = POOL[result.columns];
  const fraction = (name) => /top1/.test(name);
  const heading = (name) => [fraction(name) ? `${spaced(name)}, %` : spaced(name), typeof result.grid[0][columns.indexOf(name)] === "number"];
  const cell = (value, name) => {
    if (typeof value !== "number") return words(value);
    return [fraction(name) ? percent(value) : String(value), value];
  };
  const rows = result.grid.map((row, number) => [
    [number === result.picked ? `${number + 1}, picked` : String(number + 1), number + 1],
    ...row.map((value, place) => cell(value, columns[place])),
  ]);
  const title = `Every setting tried: ${shotsText(result.shots)}, ${result.selection}, accuracies on ${result.selected_on} (${rows.length})`;
  const shown = [table(title, [["setting", true], ...columns.map(heading)], rows, result.picked ?? null)];
  if (Array.isArray(result.top1_curve) && result.top1_curve.length > 1) {
    shown.unshift(curve(result.top1_curve, result.selected.epoch));
  }
  return details(title, true, ...shown);
}

/** What each member of an ensemble picked for itself. */
function membersPicked(name) {
  const rows = [];
  for (const result of ARTIFACTS[name].results) {
    if (!Array.isArray(result.selected)) continue;
    result.selected.forEach((picked, place) => {
      const source = inputsOf(name)[place];
      rows.push([source ? link(source) : String(place), shotsText(result.shots), result.selection, long(pickedWords(picked))]);
    });
  }
  const columns = [["member", false], ["images trained on", false], ["selection", false], ["picked", false]];
  return rows.length ? [element("h2", {}, "What each member picked"), table("What each member picked", columns, rows)] : [];
}

/** Facts, with links to networks, targets and features where they are named. */
function about(name) {
  const pairs = [];
  for (const [key, value] of Object.entries(factsOf(name))) {
    if (value === null) continue;
    if (key === "members") {
      const members = value.map((member) => (typeof member === "string" ? member : member.member));
      pairs.push([key, members.flatMap((member, place) => {
        const network = `networks/${member.replace(/\[.*$/, "")}`;
        return [place ? ", " : "", network in ARTIFACTS ? link(network, member) : member];
      })]);
    } else if (key === "target" && `targets/${value}` in ARTIFACTS) {
      pairs.push([key, link(`targets/${value}`, value)]);
    } else if (key === "parameters") {
      pairs.push([key, grouped(value)]);
    } else {
      pairs.push([key === "of" ? "mean logits of" : spaced(key), words(value)]);
    }
  }
  return pairs.length ? [facts(pairs)] : [];
}

/** Settings as pairs of words: of settings in settings each one, by both names. */
function flat(settings, above = "") {
  return Object.entries(settings).flatMap(([key, value]) => {
    if (key === "pins") return [["sha256 of the files", words(Object.entries(value).map((pair) => pair.join("=")))]];
    if (value === null || typeof value !== "object" || Array.isArray(value)) return [[above + spaced(key), words(value)]];
    return flat(value, key === "source" ? above : `${above}${spaced(key)} `);
  });
}

/** Data behind an artifact: what its targets are. */
function data(name) {
  return madeFrom(name).filter((source) => source.startsWith("targets/")).map((target) => {
    const of = factsOf(target);
    const settings = POOL[ARTIFACTS[target].settings];
    const pairs = [["target", link(target, target.slice("targets/".length))]];
    if (stateOf(target) !== "current") pairs.push(["state", badge(stateOf(target))]);
    if (of.counts) pairs.push(["images", ["train", "val", "test"].map((split) => `${grouped(of.counts[split])} ${split}`).join(", ")]);
    if (of.classes) pairs.push(["number of classes", String(of.classes)]);
    if (of.rule) pairs.push(["split", of.rule]);
    pairs.push(...flat(settings));
    if (of.fingerprint) pairs.push(["files and sizes", words(of.fingerprint)]);
    return facts(pairs);
  });
}

/** Everything that an artifact was made from, nearest first. */
function chain(name) {
  const columns = [["artifact", false], ["made by", false], ["seed", true], ["code version", false],
    ["content", false], ["state", false], ["settings", false]];
  const rows = madeFrom(name).map((source) => {
    const of = ARTIFACTS[source];
    const seed = factsOf(source).seed ?? factsOf(source).seeds;
    return [link(source), code(`rrl.stages.${POOL[of.stage]}`), seed === undefined ? "–" : words(seed), code(POOL[of.code]),
      of.digest ? code(of.digest.slice(0, 12)) : "–", badge(stateOf(source)),
      long(source.startsWith("targets/") ? "see Data" : words(POOL[of.settings]) || "–")];
  });
  return rows.length ? [table("Made from", columns, rows)] : [element("p", {}, "Nothing else of this experiment.")];
}

/** Where a record is shown, and what was made of an artifact. */
function uses(name) {
  const shown = Object.entries(CELLS).filter(([, cell]) => cell.records.includes(name));
  const cells = shown.map(([page, cell]) => [page, cell.place.join(", ")]);
  const place = NAMES.indexOf(name);
  const made = NAMES.filter((other) => ARTIFACTS[other].inputs.includes(place)).map((other) => [other, other]);
  const pairs = [];
  if (cells.length) pairs.push(["cells of tables", links(cells)]);
  if (made.length) pairs.push(["made of it", made.length > MANY ? details(`${grouped(made.length)} artifacts`, false, list(made)) : links(made)]);
  return pairs.length ? [element("h2", {}, "Where it is used"), facts(pairs)] : [];
}

function commands(name) {
  const card = quoted(`${RESULTS}/${name}.json`);
  const lines = [`rrl show ${card}`, `${RUN} ${card} -- --force`];
  return [element("h2", {}, "Commands"), element("p", {}, "To see it on the command line; to make it again, alone:"),
    element("pre", { class: "command" }, lines.join("\n"))];
}

function made(name) {
  const of = ARTIFACTS[name];
  const pairs = [["stage", code(`rrl.stages.${POOL[of.stage]}`)], ["code version", code(POOL[of.code])]];
  if (of.key) pairs.push(["key of the plan", code(of.key)], ["digest of the content", code(of.digest)]);
  if (of.run) {
    const [seconds, finished, place] = of.run;
    const { host, python, libraries } = POOL[place];
    pairs.push(["time of the job", `${seconds} s, finished ${finished}`], ["host", host], ["libraries", `python ${python}, ${words(libraries)}`]);
  }
  return facts(pairs);
}

/** The way from the front to here. */
function way(parts) {
  const items = parts.flatMap(([name, text]) => [" / ", name === null ? text : link(name, text)]);
  return element("nav", { "aria-label": "Way here" }, link("", RESULTS), ...items);
}

function artifactPage(name) {
  const of = ARTIFACTS[name];
  const [kind, ...rest] = name.split("/");
  const state = stateOf(name);
  const shown = [way([[kind, kind], [null, rest.join("/")]]), element("h1", { tabindex: -1 }, `${name} `, badge(state))];
  if (state !== "current") {
    const end = of.why === "not made yet" ? "" : " What was in it is not shown, as it is not of this plan.";
    shown.push(element("p", { class: "alert" }, `${state}: ${of.why}.${end} Below is what is planned.`));
  }
  shown.push(...about(name));
  if (of.results) {
    shown.push(element("h2", {}, "Accuracies"), ...accuracies(name), ...membersPicked(name));
    const grids = of.results.filter((result) => result.grid).map(grid);
    if (grids.length) shown.push(element("h2", {}, "Settings tried"), ...grids);
  }
  const settings = flat(POOL[of.settings]);
  if (settings.length) shown.push(element("h2", {}, "Settings of the job"), facts(settings));
  const targets = data(name);
  if (targets.length) shown.push(element("h2", {}, "Data"), ...targets);
  shown.push(element("h2", {}, "How it was made"), made(name), element("h3", {}, "Made from"), ...chain(name));
  shown.push(...uses(name), ...commands(name));
  return shown;
}

function cellPage(page) {
  const { place, shots, records, spread, mean, std, interval: bounds, paper, difference, missing } = CELLS[page];
  const [of, rule, method, column] = place;
  const shown = [way([[of, of], [null, `${method}, ${column}`]]),
    element("h1", { tabindex: -1 }, `${method}, ${column}`)];
  const pairs = [["table", link(of)], ["selection", rule], ["n", spread]];
  if (missing) {
    shown.push(element("p", { class: "alert" }, `Of its records ${missing}, so the cell has no number.`));
  } else {
    pairs.push(["top-1, %", `${mean.toFixed(2)}${std === null ? "" : ` ± ${std.toFixed(2)} (standard deviation, ddof 1)`}`],
      ["95 % interval", `${interval(bounds, 1)}, from the number of test images alone`]);
    if (paper) {
      pairs.push(["the paper", `${paper[0].toFixed(2)}, which may be off by ${paper[1]}`],
        ["ours minus the paper's", difference.toFixed(2)]);
    }
  }
  shown.push(facts(pairs), element("h2", {}, records.length === 1 ? "Its record" : missing ? "Its records" : "Mean over these records"));
  const rows = records.map((name) => {
    const state = stateOf(name);
    const result = (ARTIFACTS[name].results || []).find((item) => item.selection === rule && item.shots === shots);
    const numbers = result
      ? [[percent(result.top1), result.top1], [interval(result.top1_interval), result.top1_interval[0]], words(factsOf(name).seeds),
        Array.isArray(result.selected) ? "by each member" : long(pickedWords(result.selected))]
      : ["–", "–", "–", "–"];
    return [link(name), ...numbers, badge(state)];
  });
  const columns = [["record", false], ["top-1, %", true], ["95 % interval", true], ["seeds", false], ["picked", false], ["state", false]];
  shown.push(table("Records", columns, rows));
  const command = `rrl show ${quoted(`${RESULTS}/${of}.json`)} --row ${quoted(method)} --column ${quoted(column)} --selection ${rule}`;
  shown.push(element("h2", {}, "Command"), element("pre", { class: "command" }, command));
  return shown;
}

/** All artifacts of a kind; of records a row for each number of shots and selection rule. */
function kindPage(kind) {
  const names = NAMES.filter((name) => name.startsWith(`${kind}/`));
  const records = kind === "records";
  const columns = [["artifact", false], ["state", false]];
  columns.push(...(records
    ? [["images trained on", false], ["selection", false], ["top-1, %", true], ["parameters", true], ["seeds", false]]
    : [["made by", false], ["seed", true], ["parameters", true], ["code version", false]]));
  const rows = names.flatMap((name) => {
    const of = ARTIFACTS[name];
    const known = factsOf(name);
    const first = [[link(name, name.slice(kind.length + 1)), name], badge(stateOf(name))];
    const parameters = known.parameters === undefined ? "–" : [grouped(known.parameters), known.parameters];
    const seed = words(known.seeds ?? known.seed);
    if (!records) return [[...first, code(`rrl.stages.${POOL[of.stage]}`), seed, parameters, code(POOL[of.code])]];
    const results = of.results || [{ shots: "–", selection: "–" }];
    return results.map((result) => [
      [link(name, name.slice(kind.length + 1)), name], badge(stateOf(name)), result.shots === "–" ? "–" : shotsText(result.shots),
      result.selection, result.top1 === undefined ? "–" : [percent(result.top1), result.top1], parameters, seed]);
  });
  const listed = table(kind, columns, rows);
  listed.classList.add("whole");
  const field = element("input", { type: "search", class: "field", id: "only", value: history.state?.only ?? "" });
  const count = element("span", { role: "status" });
  const only = () => {
    const wanted = field.value.toLowerCase().split(/\s+/);
    const of = [...listed.querySelectorAll("tbody tr")];
    for (const row of of) row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
    count.textContent = field.value ? ` ${grouped(of.filter((row) => !row.hidden).length)} of ${grouped(of.length)} rows` : "";
  };
  field.addEventListener("input", () => {
    only();
    history.replaceState({ ...history.state, only: field.value }, "");
  });
  only();
  return [way([[null, kind]]), element("h1", { tabindex: -1 }, `${kind} (${grouped(names.length)})`),
    element("p", {}, element("label", { for: "only" }, "Only rows with these words: "), field, count), listed];
}

// Addresses

const KINDS = new Set(NAMES.map((name) => name.split("/")[0]));
const TITLE = document.title;
const front = document.getElementById("front");
const page = document.getElementById("page");
let left = { address: null, scroll: 0, focused: null }; // where the front was left

function pageOf(address) {
  if (Object.hasOwn(ARTIFACTS, address)) return artifactPage(address);
  if (Object.hasOwn(CELLS, address)) return cellPage(address);
  return KINDS.has(address) ? kindPage(address) : null;
}

function decoded(address) {
  if (Object.hasOwn(CELLS, address)) return address; // as it is written in the link
  try {
    return decodeURIComponent(address);
  } catch {
    return address;
  }
}

function nowhere(address) {
  return [way([[null, address]]), element("h1", { tabindex: -1 }, "No such page"),
    element("p", { class: "alert" }, `Nothing in this report is called ${address}.`)];
}

function go() {
  const address = decoded(location.hash.slice(1));
  const place = address && document.getElementById(address);
  const shown = pageOf(address) ?? (address && !front.contains(place) ? nowhere(address) : null);
  if (shown) {
    if (page.hidden) left = { ...left, scroll: window.scrollY, focused: document.activeElement };
    page.replaceChildren(...shown);
  }
  page.hidden = !shown;
  front.hidden = Boolean(shown);
  for (const entry of document.querySelectorAll("header nav a")) {
    if (decoded(entry.hash.slice(1)) === address) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
  document.title = shown ? `${page.querySelector("h1").textContent.trim()} – ${TITLE}` : TITLE;
  if (shown) {
    page.querySelector("h1").focus({ preventScroll: true });
    window.scrollTo(0, history.state?.scroll ?? 0); // where it was left, on the way back
    return;
  }
  page.replaceChildren();
  if (left.address === address && left.focused) {
    window.scrollTo(0, left.scroll);
    left.focused.focus({ preventScroll: true });
  } else {
    if (place instanceof HTMLDetailsElement) place.open = true;
    if (place) {
      place.scrollIntoView();
      place.focus({ preventScroll: true });
    } else {
      window.scrollTo(0, 0);
    }
  }
  left = { address, scroll: 0, focused: null };
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address would be that of a page
  document.getElementById("content").focus();
});
let still;
window.addEventListener("scroll", () => {
  clearTimeout(still);
  const at = location.hash;
  still = setTimeout(() => {
    if (location.hash === at) history.replaceState({ ...history.state, scroll: window.scrollY }, "");
  }, 150);
});
history.scrollRestoration = "manual";
window.addEventListener("hashchange", go);
go();
