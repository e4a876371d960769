// What is shown: the choices of the filter. A row of two models stays while either is chosen.
const filter = document.getElementById("filter");
const names = ["modality", "dataset", "model", "protocol"];

function applyFilter() {
  const chosen = Object.fromEntries(new FormData(filter));
  for (const element of document.querySelectorAll(".filtered")) {
    element.hidden = names.some((name) => {
      const own = [element.dataset[name], name === "model" ? element.dataset.otherModel : undefined];
      return chosen[name] && own[0] !== undefined && !own.includes(chosen[name]);
    });
  }
  for (const element of document.querySelectorAll("[data-family]")) {
    element.hidden = Boolean(chosen.family) && element.dataset.family !== chosen.family && !element.classList.contains("reference");
  }
  const tables = document.querySelectorAll(".view");
  const shown = [...tables].filter((view) => !view.hidden).length;
  document.getElementById("filtered").textContent = `${shown} of ${tables.length} tables of results`;
}

filter.addEventListener("change", applyFilter);
filter.addEventListener("submit", (event) => event.preventDefault());
filter.hidden = false;
applyFilter();

// A link to a method opens its section.
function openLinked() {
  const linked = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!linked || linked.tagName !== "DETAILS") return;
  linked.hidden = false;
  linked.open = true;
  linked.scrollIntoView();
}
addEventListener("hashchange", openLinked);
openLinked();

// Pairs: one method against all others of a column. Differences are stored for pairs (i, j) with i < j, row by row.
const columns = JSON.parse(document.getElementById("differences").textContent);
const pair = document.getElementById("pair");

function options(select, values) {
  const before = select.value;
  select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
  if (values.some(([value]) => String(value) === before)) select.value = before;
}

function fill() {
  const own = columns.map((column, i) => [i, column]).filter(([, c]) => String(c.view) === pair.elements.view.value);
  options(pair.elements.metric, own.map(([i, column]) => [i, column.title]));
  const column = columns[pair.elements.metric.value];
  options(pair.elements.method, column ? column.labels.map((label) => [label, label]) : []);
  showPairs(column);
}

function cell(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function showPairs(column) {
  const place = document.getElementById("pair-shown");
  if (!column) {
    place.replaceChildren(cell("p", "Nothing is compared in this table."));
    return;
  }
  const count = column.labels.length, me = column.labels.indexOf(pair.elements.method.value);
  const rows = [];
  for (let other = 0; other < count; other += 1) {
    if (other === me) continue;
    const [i, j] = me < other ? [me, other] : [other, me];
    const at = i * (2 * count - i - 1) / 2 + (j - i - 1);
    const d = (me < other ? 1 : -1) * column.d[at], width = column.w[at];
    rows.push({ label: column.labels[other], d, width, apart: column.apart[at] === "1" });
  }
  rows.sort((a, b) => b.d - a.d);
  const digits = (x) => x.toPrecision(3);
  const table = document.createElement("table");
  const caption = `${column.title}: ${column.labels[me]} less each other`;
  table.setAttribute("aria-label", caption);
  const head = table.createTHead().insertRow();
  for (const text of ["other method", "difference", "simultaneous 95 % interval", "told apart"]) {
    head.append(cell("th", text));
    head.lastChild.scope = "col";
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    line.className = row.apart ? "apart-row" : "";
    line.append(cell("th", row.label));
    line.lastChild.scope = "row";
    const ends = row.width === null ? "unknown" : `[${digits(row.d - row.width)}, ${digits(row.d + row.width)}]`;
    for (const text of [digits(row.d), ends, row.apart ? "yes" : "no"]) line.append(cell("td", text));
  }
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", caption);
  scroll.append(table);
  place.replaceChildren(scroll);
}

pair.addEventListener("change", fill);
pair.addEventListener("submit", (event) => event.preventDefault());
pair.hidden = false;
fill();
