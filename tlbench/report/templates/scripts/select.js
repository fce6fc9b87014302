// The report's own conclusions from a part of its scores: the rules of scores.py, ranking.py and intervals.py again.
// `grid` is what page_selection.numbers() wrote; `chosen` holds sorted indices: { rows, datasets, budgets }.

const codes = names => new Set(names.map(name => String(grid.statuses.indexOf(name))));
const FAILED = codes(grid.imputed), OUT = codes(["skipped", "absent"]), NOT_RUN = codes(["not_run"]), ABSENT = codes(["absent"]);
const seeds = grid.seeds.map((_, s) => s);
const place = (r, d, b, s) => ((r * grid.datasets.length + d) * grid.budgets.length + b) * seeds.length + s;
const sum = values => values.reduce((total, value) => total + value, 0);
const known = values => values.filter(value => !Number.isNaN(value));

function score(r, d, b, s) {
  const z = grid.z[place(r, d, b, s)];
  return z === null ? NaN : z / grid.scale;
}

// Student's t from the polynomial in 1 / freedom (Clenshaw 1955).
function quantile(freedom) {
  const x = 2 / freedom - 1;
  let one = 0, two = 0;
  for (let k = grid.quantile.length - 1; k > 0; k--) [one, two] = [grid.quantile[k] + 2 * x * one - two, one];
  return grid.quantile[0] + x * one - two;
}

const student = (mean, variance, freedom) =>
  ({ mean, half: freedom >= 1 && !Number.isNaN(variance) ? quantile(freedom) * Math.sqrt(variance) : NaN });

function moments(values) {
  const there = known(values), count = there.length;
  const mean = count ? sum(there) / count : NaN;
  const variance = count > 1 ? sum(there.map(value => (value - mean) ** 2)) / (count - 1) : NaN;
  return { mean, variance, count };
}

// For new splits of these datasets: Welch (1947) and Satterthwaite (1946). `values` holds one array of seeds a dataset.
function suite(values) {
  const found = values.map(moments).filter(({ count }) => count > 0);
  const shares = found.map(({ variance, count }) => variance / count), total = sum(shares);
  const freedom = total ** 2 / sum(shares.map((share, i) => share ** 2 / (found[i].count - 1)));
  return student(moments(found.map(({ mean }) => mean)).mean, total / found.length ** 2, total === 0 ? 1 : freedom);
}

// For new datasets like these: Student's t over the datasets' means.
function tasks(values) {
  const { mean, variance, count } = moments(values.map(one => moments(one).mean));
  return student(mean, variance / count, count - 1);
}

// The mean height of one curve over log2(labels); NaN where this seed lacks a value that another seed has.
function areas(curve, budgets) {
  const there = budgets.filter((_, i) => known(curve[i]).length), x = there.map(b => Math.log2(grid.budgets[b]));
  const lines = curve.filter(values => known(values).length);
  if (!lines.length) return seeds.map(() => NaN);
  if (lines.length === 1) return lines[0];
  const weights = x.map((_, i) => ((x[i + 1] ?? x[i]) - (x[i - 1] ?? x[i])) / 2 / (x.at(-1) - x[0]));
  return seeds.map(s => sum(lines.map((values, i) => weights[i] * values[s])));
}

function row(r, { datasets, budgets }) {
  const status = (d, b) => seeds.map(s => grid.status[place(r, d, b, s)]);
  const cells = datasets.flatMap(d => budgets.map(b => status(d, b)));
  const applicable = cells.map(states => !states.some(state => OUT.has(state)));
  const asked = cells.filter((_, i) => applicable[i]).flat();
  const missing = cells.flat().filter(state => NOT_RUN.has(state)).length;
  const imputed = asked.length ? asked.filter(state => FAILED.has(state)).length / asked.length : 0;
  const z = (d, b) => seeds.map(s => missing ? NaN : score(r, d, b, s));
  const area = datasets.map(d => areas(budgets.map(b => z(d, b)), budgets));
  let why = "";
  if (!asked.length) why = "skipped everywhere";
  else if (missing) why = `incomplete: ${missing} of ${cells.flat().filter(state => !ABSENT.has(state)).length} cells not run`;
  else if (imputed > grid.imputedLimit) why = `${Math.round(100 * imputed)} % of its cells failed; they count as 0`;
  return {
    r, why, imputed, suite: suite(area), tasks: tasks(area),
    budgets: budgets.map(b => suite(datasets.map(d => z(d, b)))),
    kind: [Number(grid.transductive[r]), 2e9 - applicable.filter(Boolean).length, applicable.map(Number).join("")].join(" "),
    covered: datasets.filter((_, i) => applicable.slice(i * budgets.length, (i + 1) * budgets.length).some(Boolean)),
  };
}

// Groups of rows that may be ranked together, the main one first; within each the ranked rows first, best first.
function groups(chosen) {
  const kinds = new Map();
  for (const made of chosen.rows.map(r => row(r, chosen))) kinds.set(made.kind, [...(kinds.get(made.kind) ?? []), made]);
  const height = ({ suite }) => Number.isNaN(suite.mean) ? -Infinity : suite.mean;
  const inside = (a, b) => (a.why !== "") - (b.why !== "") || (height(a) === height(b) ? a.r - b.r : height(b) - height(a));
  return [...kinds].map(([kind, rows]) => ({ kind, rows: rows.sort(inside) })).sort((a, b) =>
    a.kind[0] - b.kind[0] || b.rows.length - a.rows.length || (a.kind < b.kind ? -1 : 1));
}
