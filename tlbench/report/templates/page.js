"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const value = (row, i) => row.cells[i].dataset.v === undefined ? row.cells[i].textContent : Number(row.cells[i].dataset.v);
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const i = head.cellIndex, body = table.tBodies[0], rows = [...body.rows];
    const numeric = rows.some(row => row.cells[i].dataset.v !== undefined);
    const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : !numeric || i === 0;
    rows.sort((a, b) => {
      const x = value(a, i), y = value(b, i);
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
      return (typeof x === "number" ? x - y : x.localeCompare(y)) * (up ? 1 : -1);
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows);
  });
}

const section = document.getElementById("cells");
const fill = () => {
  if (!section.open || section.dataset.ready) return;
  section.dataset.ready = "yes";
  const { commands, cells: { levels, columns } } = JSON.parse(document.getElementById("data").textContent);
  const order = ["status", "strategy", "backbone", "dataset", "budget", "seed", "score", "default_score", "peek_gap",
    "metric", "labels", "hyperparameters", "reason"];
  const read = (name, i) => {
    const value = columns[name][i];
    return name in levels ? (value < 0 ? "" : levels[name][value]) : value === undefined || value === null ? "" : value;
  };
  const quote = word => /^[\w@%+=:,./-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\"'\"'") + "'";
  const command = i => {
    const status = read("status", i);
    if (status === "done" || status === "skipped") return "tlbench show " + read("key", i);
    const only = ["strategy", "backbone", "dataset", "budget", "seed"].map(name => "--only " + quote(name + "=" + read(name, i)));
    return [commands[status === "not_run" ? "run" : "retry"], ...only].join(" ");
  };
  const line = (tag, texts) => {
    const row = document.createElement("tr");
    for (const text of texts) row.appendChild(document.createElement(tag)).textContent = text;
    return row;
  };
  const body = section.querySelector("tbody"), more = section.querySelector(".more"), input = section.querySelector("input");
  section.querySelector("thead").append(line("th", [...order.map(name => name.replaceAll("_", " ")), "this cell again"]));
  let matches = [], shown = 0;
  const grow = () => {
    const next = matches.slice(shown, shown + 100);
    body.append(...next.map(i => line("td", [...order.map(name => read(name, i)), command(i)])));
    shown += next.length;
    more.hidden = shown >= matches.length;
    section.querySelector(".found").textContent = matches.length + " cells, " + shown + " shown";
  };
  const texts = columns.key.map((key, i) => [...order.map(name => read(name, i)), key].join(" ").toLowerCase());
  const find = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    matches = [...texts.keys()].filter(i => words.every(word => texts[i].includes(word)));
    shown = 0;
    body.replaceChildren();
    grow();
  };
  more.addEventListener("click", grow);
  input.addEventListener("input", find);
  find();
};
section.addEventListener("toggle", fill);
fill();
