"use strict";
const root = document.documentElement;
addEventListener("error", (event) => { root.dataset.error = event.message; });
addEventListener("unhandledrejection", (event) => { root.dataset.error = String(event.reason); });

// Plots take their colours from the style sheet: light, dark or paper.
function look() {
  const style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"),
    linecolor: colour("--soft"), title: { standoff: 8 } };
  return { layout: { font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis,
    hoverlabel: { align: "left" } } };
}

async function draw() {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const config = { displayModeBar: false, responsive: true };  // a double click undoes zooming
  for (const [id, figure] of Object.entries(plots)) {
    await Plotly.react(id, figure.data, { ...figure.layout, template: look() }, config);
  }
  root.dataset.drawn = Object.keys(plots).length;
}

function worth(row, column) {
  const text = row.cells[column].textContent.replace(/[()]/g, "").trim();
  const number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
}

// Numbers before words; "-" (nothing) always last.
function order(a, b, up) {
  if (a === "-" || b === "-") return (a === "-") - (b === "-");
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return (a < b ? -1 : a > b ? 1 : 0) * up;
}

function sortable(table) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows], column = head.cellIndex, up = ascending ? 1 : -1;
      rows.sort((a, b) => order(worth(a, column), worth(b, column), up));
      table.tBodies[0].append(...rows);
    });
  }
}

for (const table of document.querySelectorAll("table.sortable")) sortable(table);
for (const input of document.querySelectorAll("input[data-filters]")) {
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of document.getElementById(input.dataset.filters).tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}
for (const media of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(media).addEventListener("change", draw);
}
draw();
