// A tap on a heading sorts its table.
const FIRST_IS_BEST = new Set(["tier", "rank", "rank 95 %"]);
for (const table of document.querySelectorAll("table.sortable")) sortable(table);

function sortable(table) {
  const value = (row, i) => row.cells[i].dataset.v === undefined ? row.cells[i].textContent : Number(row.cells[i].dataset.v);
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const i = head.cellIndex, body = table.tBodies[0], rows = [...body.rows];
    const numeric = rows.some(row => row.cells[i].dataset.v !== undefined);
    const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : !numeric || FIRST_IS_BEST.has(head.textContent);
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
