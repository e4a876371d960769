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

// Gallery: two panes show the two maps chosen last.
function content(button) {
  const template = button.nextElementSibling;
  if (template) return template.content.cloneNode(true);
  const image = button.querySelector("img").cloneNode();
  image.alt = image.dataset.alt;
  return image;
}

for (const sample of document.querySelectorAll(".sample")) {
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
  buttons.slice(0, 2).forEach(show);
  panes[1].hidden = buttons.length < 2;
  for (const button of buttons) button.addEventListener("click", () => show(button));
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
