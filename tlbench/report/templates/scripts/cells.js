// All cells, made when their list is opened: a hundred at a time, those that are chosen and hold every word asked for.
const list = document.getElementById("cells");
list.addEventListener("toggle", fill);

function fill() {
  if (!list.open || list.dataset.ready) return;
  list.dataset.ready = "yes";
  const { commands, cells: { levels, columns, scales, at, uncounted } } = data;
  const order = ["status", "strategy", "backbone", "dataset", "budget", "seed", "score", "default_score", "peek_gap",
    "metric", "labels", "hyperparameters", "reason"];
  const sizes = [grid.datasets.length, grid.budgets.length, grid.seeds.length];
  const axes = i => {
    const flat = at ? at[i] : i, s = flat % sizes[2], b = Math.floor(flat / sizes[2]) % sizes[1];
    const d = Math.floor(flat / sizes[2] / sizes[1]) % sizes[0], r = Math.floor(flat / sizes[2] / sizes[1] / sizes[0]);
    return { flat, r, d, b, s };
  };
  const named = {
    status: ({ flat }) => grid.statuses[grid.status[flat]], strategy: ({ r }) => grid.rows[r][0], backbone: ({ r }) => grid.rows[r][1],
    dataset: ({ d }) => grid.datasets[d], budget: ({ b }) => grid.budgets[b], seed: ({ s }) => grid.seeds[s],
  };
  const height = (i, { flat, r, d, b, s }) => {
    if (grid.statuses[grid.status[flat]] !== "done") return "";
    return grid.z[flat] === null ? uncounted[i] : score(r, d, b, s).toFixed(4);
  };
  const level = (name, i) => levels[name][columns[name] ? columns[name][i] : 0];
  const number = (value, scale) => value === null ? "" : (value / scale).toFixed(scale === 1 ? 0 : 4);
  const hyperparameters = i => {
    const values = columns.values[i].split("\n");
    return values[0] && level("names", i).split("\n").map((name, k) => `${name}=${values[k]}`).join(", ");
  };
  const read = (name, i) => {
    if (name in named) return named[name](axes(i));
    if (name === "score") return height(i, axes(i));
    if (name === "hyperparameters") return hyperparameters(i);
    if (name in scales) return columns[name] ? number(columns[name][i], scales[name]) : "";
    return name in levels ? level(name, i) : columns[name][i];
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
  const body = list.querySelector("tbody"), more = list.querySelector(".more"), input = list.querySelector("input");
  list.querySelector("thead").append(line("th", [...order.map(name => name.replaceAll("_", " ")), ...(commands ? ["this cell again"] : [])]));
  let matches = [], shown = 0;
  const grow = () => {
    const next = matches.slice(shown, shown + 100);
    body.append(...next.map(i => line("td", [...order.map(name => read(name, i)), ...(commands ? [command(i)] : [])])));
    shown += next.length;
    more.hidden = shown >= matches.length;
    list.querySelector(".found").textContent = matches.length + " cells, " + shown + " shown";
  };
  const texts = columns.key.map((key, i) => [...order.map(name => read(name, i)), key].join(" ").toLowerCase());
  const inside = i => {
    const { r, d, b } = axes(i);
    return chosen.rows.includes(r) && chosen.datasets.includes(d) && chosen.budgets.includes(b);
  };
  const find = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    matches = [...texts.keys()].filter(i => inside(i) && words.every(word => texts[i].includes(word)));
    shown = 0;
    body.replaceChildren();
    grow();
  };
  more.addEventListener("click", grow);
  input.addEventListener("input", find);
  document.addEventListener("chosen", find);
  find();
}
