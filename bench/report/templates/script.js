"use strict";

// Tables: the heading of a column sorts by it, the better numbers first; once more, the other way round.
function compare(a, b) {
  const [x, y] = [a, b].map((cell) => cell.dataset.value);
  if (x === undefined && y === undefined) return a.textContent.localeCompare(b.textContent);
  if (x === undefined || y === undefined) return 0;
  return x - y;
}

function sortBy(heading) {
  const column = heading.cellIndex;
  const table = heading.closest("table");
  const first = "descending" in heading.dataset ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  const order = heading.getAttribute("aria-sort") === first ? second : first;
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const isEmpty = (row) => row.cells[column].textContent.trim() === "–";
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    if (isEmpty(a) !== isEmpty(b)) return isEmpty(a) ? 1 : -1;
    const difference = compare(a.cells[column], b.cells[column]);
    return order === "ascending" ? difference : -difference;
  });
  table.tBodies[0].append(...rows);
}

for (const button of document.querySelectorAll("table.sortable thead button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

// A table that is wider than its frame shows on which sides it goes on.
function markEdges(frame) {
  const scroll = frame.querySelector(".scroll");
  const left = scroll.scrollLeft, right = scroll.scrollWidth - scroll.clientWidth - left;
  frame.toggleAttribute("data-left", left > 1);
  frame.toggleAttribute("data-right", right > 1);
  frame.querySelector(".hint").hidden = left + right <= 1;
}

for (const frame of document.querySelectorAll(".frame")) {
  frame.querySelector(".scroll").addEventListener("scroll", () => markEdges(frame), { passive: true });
  new ResizeObserver(() => markEdges(frame)).observe(frame);
  markEdges(frame);
}

// Gallery: two panes show the two maps chosen last.
function content(button) {
  if (button.dataset.shades !== undefined) {
    const text = button.closest(".sample").querySelector("template").content.cloneNode(true);
    const words = text.querySelectorAll("span");
    [...button.dataset.shades].forEach((shade, i) => {
      const level = shades.indexOf(shade);
      words[i].style.cssText = palette[level];
      words[i].title = (level / (shades.length - 1)).toFixed(2);
    });
    return text;
  }
  const image = button.querySelector("img").cloneNode();
  image.alt = image.dataset.alt;
  return image;
}

// Makes the tiles of a sample work; returns what shows the first two of those that are not hidden.
function prepare(sample) {
  const panes = [...sample.querySelectorAll(".pane")];
  const buttons = [...sample.querySelectorAll(".tiles button")];
  const shown = [undefined, undefined];
  let older = 0;
  const show = (button) => {
    if (shown.includes(button)) return;
    shown[older]?.setAttribute("aria-pressed", "false");
    shown[older] = button;
    button.setAttribute("aria-pressed", "true");
    panes[older].querySelector(".shown").replaceChildren(content(button));
    panes[older].querySelector("figcaption").textContent = button.dataset.caption;
    older = 1 - older;
  };
  for (const button of buttons) button.addEventListener("click", () => show(button));
  return () => {
    const left = buttons.filter((button) => !button.parentElement.hidden);
    for (const button of shown) button?.setAttribute("aria-pressed", "false");
    shown.fill(undefined);
    older = 0;
    left.slice(0, 2).forEach(show);
    panes[1].hidden = left.length < 2;
  };
}

// Hides the tiles of other methods and classes; a map that is the same for every class is of each of its sample.
function filter(sample, method, ofClass) {
  const rows = [...sample.querySelectorAll(".row")];
  const hasClass = rows.some((row) => row.dataset.class === ofClass);
  for (const row of rows) {
    const tiles = [...row.querySelectorAll("li")];
    for (const tile of tiles) {
      const { method: own, anyClass } = tile.firstElementChild.dataset;
      const isOfClass = row.dataset.class === ofClass || (anyClass !== undefined && hasClass);
      tile.hidden = (method && own !== method) || (ofClass && !isOfClass);
    }
    row.hidden = tiles.every((tile) => tile.hidden);
  }
  sample.hidden = rows.every((row) => row.hidden);
}

for (const gallery of document.querySelectorAll(".gallery")) {
  const filters = gallery.querySelector(".filters");
  if (!filters) continue; // nothing could be explained
  const samples = [...gallery.querySelectorAll(".sample")].map((sample) => [sample, prepare(sample)]);
  const apply = () => {
    const [method, ofClass] = ["method", "class"].map((of) => filters.querySelector(`[data-of=${of}]`).value);
    for (const [sample, showFirst] of samples) {
      filter(sample, method, ofClass);
      if (!sample.hidden) showFirst();
    }
    for (const group of gallery.querySelectorAll(".group")) {
      group.hidden = !group.querySelector(".sample:not([hidden])");
      if (method || ofClass) group.open = true;
    }
    const left = samples.filter(([sample]) => !sample.hidden).length;
    filters.querySelector("output").textContent = `${left} of ${samples.length} samples`;
  };
  for (const select of filters.querySelectorAll("select")) select.addEventListener("change", apply);
  filters.hidden = false;
  apply();
}

// Colours: as the system has them, or light, or dark; a page that may keep nothing forgets the choice.
const schemes = { system: "as the system", light: "light", dark: "dark" };
const theme = document.getElementById("theme");

function setScheme(scheme) {
  document.documentElement.dataset.theme = scheme;
  theme.querySelector("span").textContent = schemes[scheme];
  try { localStorage.setItem("theme", scheme); } catch { /* not allowed */ }
}

function storedScheme() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

theme.addEventListener("click", () => {
  const names = Object.keys(schemes);
  setScheme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
});
setScheme(storedScheme() in schemes ? storedScheme() : "system");
theme.hidden = false;
