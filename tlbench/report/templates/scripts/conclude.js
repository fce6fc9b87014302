// Your selection: the ranking and the best at each budget, computed anew from the scores that are chosen.

const points = z => Number.isNaN(z) ? "–" : (100 * z).toFixed(1).replace(/^-0\.0$/, "0.0");
const within = half => Number.isNaN(half) ? "no interval" : `± ${points(half)}`;
const both = ({ mean, half }) => Number.isNaN(mean) ? "–" : Number.isNaN(half) ? `${points(mean)} (no interval)` : `${points(mean)} ${within(half)}`;
const rowName = r => grid.backbones.length > 1 ? grid.rows[r].join(" · ") : grid.rows[r][0];

function element(tag, text, value) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (value !== undefined && !Number.isNaN(value)) made.dataset.v = value;
  return made;
}

function heading({ rows }) {
  const { covered } = rows[0], all = chosen.datasets, gone = all.filter(d => !covered.includes(d)).map(d => grid.datasets[d]);
  const where = gone.length ? `${covered.length} of the ${all.length} chosen datasets; without ${gone.join(", ")}`
    : all.length === grid.datasets.length ? "all datasets" : `${all.length} chosen dataset${all.length > 1 ? "s" : ""}`;
  return (grid.transductive[rows[0].r] ? "transductive: " : "") + where;
}

function board(group) {
  const several = grid.backbones.length > 1;
  const columns = ["rank", "strategy", ...several ? ["backbone"] : [], "score", "± suite", "± tasks",
    ...chosen.budgets.map(b => `at ${grid.budgets[b]} labels`), "notes"];
  const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const column of columns) head.appendChild(document.createElement("th")).append(Object.assign(element("button", column), { type: "button" }));
  group.rows.forEach((one, i) => {
    const [strategy, backbone] = grid.rows[one.r], missing = Number.isNaN(one.suite.mean);
    const share = one.imputed > 0 ? ` (${Math.max(1, Math.round(100 * one.imputed))} % imputed)` : "";
    body.insertRow().append(
      element("td", one.why ? "–" : String(i + 1), one.why ? 1e9 : i + 1), Object.assign(element("td", strategy + share), { className: "name" }), ...several ? [element("td", backbone)] : [],
      element("td", points(one.suite.mean), one.suite.mean), element("td", missing ? "–" : within(one.suite.half), one.suite.half),
      element("td", missing ? "–" : within(one.tasks.half), one.tasks.half),
      ...one.budgets.map(at => element("td", both(at), at.mean)), element("td", one.why && `not ranked: ${one.why}`));
  });
  table.className = "sortable names";
  sortable(table);
  return table;
}

function conclude() {
  const place = document.getElementById("chosen"), found = chosen.any ? groups(chosen) : [];
  place.hidden = !chosen.any;
  place.querySelector(".boards").replaceChildren(...found.flatMap(group => {
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.append(board(group));
    return [element("h4", heading(group)), scroll];
  }));
  const part = chosen.datasets.length < grid.datasets.length || chosen.rows.length < grid.rows.length;
  for (const said of document.querySelectorAll(".yours")) {
    const b = chosen.budgets.indexOf(grid.budgets.indexOf(Number(said.dataset.at)));
    const ranked = part && b >= 0 ? (found[0]?.rows ?? []).filter(one => !one.why && !Number.isNaN(one.budgets[b].mean)) : [];
    const best = ranked.reduce((one, other) => !one || other.budgets[b].mean > one.budgets[b].mean ? other : one, null);
    said.textContent = best ? `In your selection (exploratory): ${rowName(best.r)}, ${both(best.budgets[b])} points` : "";
    said.hidden = !best;
  }
}
