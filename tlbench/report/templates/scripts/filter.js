// The choice: ticked in the bar, kept in the link (#budget=5&group=scripts), followed by whatever can follow it.
const form = document.getElementById("filters"), KINDS = ["budget", "backbone", "group", "dataset"];
const texts = { budget: grid.budgets.map(String), backbone: grid.backbones, dataset: grid.datasets };
const backboneOf = new Map(grid.rows.map(([strategy, backbone]) => [`${strategy} · ${backbone}`, backbone]));
let chosen = everything();

function everything() {
  const all = values => values.map((_, i) => i);
  return { any: false, budgets: all(grid.budgets), datasets: all(grid.datasets), backbones: all(grid.backbones), rows: all(grid.rows) };
}

function ticked() {
  const asked = new FormData(form);
  return KINDS.flatMap(kind => asked.getAll(kind).map(value => [kind, value]));
}

// Several groups and datasets are taken together; of a kind with nothing ticked, all is chosen.
function choose() {
  const asked = new Map(KINDS.map(kind => [kind, new Set()])), all = everything();
  for (const [kind, value] of ticked()) asked.get(kind).add(value);
  const some = (kind, places) => asked.get(kind).size ? places.filter(i => asked.get(kind).has(texts[kind][i])) : places;
  const where = asked.get("group").size + asked.get("dataset").size === 0 ? all.datasets
    : all.datasets.filter(d => asked.get("group").has(grid.groups[d]) || asked.get("dataset").has(grid.datasets[d]));
  const backbones = some("backbone", all.backbones), names = new Set(backbones.map(i => grid.backbones[i]));
  return {
    any: ticked().length > 0, budgets: some("budget", all.budgets), datasets: where, backbones,
    rows: all.rows.filter(r => names.has(grid.rows[r][1])),
  };
}

// Is a table's word one that the choice leaves out? `dataset` "digits", `budget` "5", `backbone` "glyph_vit".
function left(kind, text) {
  const i = texts[kind].indexOf(text);
  return i >= 0 && !chosen[`${kind}s`].includes(i);
}

const budgetOf = heading => /^(?:at )?(\d+)(?: labels)?(?: a class)?$/.exec(heading)?.[1] ?? "";
const ROWS = { backbone: "backbone", dataset: "dataset", labels: "budget", "labels a class": "budget", budget: "budget" };

function follow(table) {
  const headings = [...table.tHead.rows[0].cells].map(cell => cell.textContent);
  const gone = headings.map(heading => left("dataset", heading) || left("budget", budgetOf(heading)));
  const kinds = headings.map(heading => ROWS[heading]);
  for (const line of table.rows) {
    const words = [...line.cells].map(cell => cell.textContent);
    const out = (word, i) => kinds[i] && word.split(", ").every(part => left(kinds[i], part))
      || backboneOf.has(word) && left("backbone", backboneOf.get(word));
    line.hidden = line.parentElement !== table.tHead && words.some(out);
    [...line.cells].forEach((cell, i) => { cell.hidden = gone[i]; });
  }
}

function paint() {
  for (const table of document.querySelectorAll("table.sortable:not(#chosen table)")) follow(table);
  for (const kind of ["dataset", "backbone", "budget"]) {
    for (const part of document.querySelectorAll(`[data-${kind}]`)) part.hidden = left(kind, part.dataset[kind]);
  }
  for (const part of document.querySelectorAll("svg [class*='of-']")) {
    const faded = [...part.classList].some(name => {
      const [, kind, i] = /^of-(dataset|backbone)-(\d+)$/.exec(name) ?? [];
      return kind && !chosen[`${kind}s`].includes(Number(i));
    });
    part.classList.toggle("faded", faded);
  }
  document.body.classList.toggle("filtered", chosen.any);
  document.dispatchEvent(new Event("chosen"));
  tell();
}

// What is chosen, in words.
function tell() {
  const values = new Map(KINDS.map(kind => [kind, ticked().filter(([name]) => name === kind).map(([, value]) => value)]));
  const few = names => names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(", ");
  const words = [
    values.get("budget").length ? `${few(values.get("budget"))} labels a class` : "",
    few(values.get("backbone")), few([...values.get("group"), ...values.get("dataset")]),
  ].filter(Boolean);
  for (const part of document.querySelectorAll(".shown")) part.textContent = words.join(" · ") || "everything";
}

function apply(keep) {
  chosen = choose();
  if (keep) {
    const link = new URLSearchParams(ticked()).toString();
    history.replaceState(null, "", link ? `#${link}` : location.pathname + location.search);
  }
  paint();
  conclude();
}

// A link without a choice in it, such as #coverage, only jumps; one with a choice may also jump: #budget=5&at=coverage.
function followLink() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (!KINDS.some(kind => asked.has(kind))) return;
  for (const box of form.elements) if (box.type === "checkbox") box.checked = asked.getAll(box.name).includes(box.value);
  apply(false);
  document.getElementById(asked.get("at") ?? "")?.scrollIntoView();
}

function jump(event) {
  const link = event.target.closest("a[href^='#']");
  if (!link || !chosen.any) return;
  event.preventDefault();
  const at = link.getAttribute("href").slice(1);
  history.replaceState(null, "", `#${new URLSearchParams([...ticked(), ["at", at]])}`);
  document.getElementById(at)?.scrollIntoView();
}

form.addEventListener("change", () => apply(true));
form.addEventListener("reset", () => setTimeout(() => apply(true)));
addEventListener("hashchange", followLink);
document.addEventListener("click", jump);
followLink();
fill();
