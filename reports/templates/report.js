"use strict";
// Tables that sort by a click on their heads, and the browser of outputs. All text that came from
// anywhere else is put in as text.

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// --- tables ----------------------------------------------------------------------------------

const words = new Intl.Collator(undefined, { numeric: true });

function numberIn(text) {
  if (/^\s*[–—]/.test(text)) return null;
  const found = text.replace(/,/g, "").replace(/−/g, "-").match(/-?\d+(\.\d+)?/);
  return found ? Number(found[0]) : null;
}

function sortBy(table, head, column) {
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const sign = descending ? -1 : 1;
  const textual = head.classList.contains("text");
  const compare = (a, b) => {
    const [x, y] = [a.cells[column].textContent, b.cells[column].textContent];
    if (textual) return sign * words.compare(x, y);
    const [m, n] = [numberIn(x), numberIn(y)];
    if (m === null || n === null) return (m === null) - (n === null); // what is missing comes last
    return sign * (m - n);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = element("button", "", head.textContent);
    button.type = "button";
    button.addEventListener("click", () => sortBy(table, head, column));
    head.replaceChildren(button);
  });
}

// --- outputs ---------------------------------------------------------------------------------

const SIGNS = { won: "✓", lost: "✗", drawn: "=", failed: "?" };

function outcome(p) {
  if (p === null) return "failed";
  return p > 0.5 ? "won" : p < 0.5 ? "lost" : "drawn";
}

function said([, , , p, error]) {
  if (p === null) return error ? `not judged: ${error}` : "not judged";
  return `${outcome(p)}, P(beats the opponent) = ${p.toFixed(2)}`;
}

function browse(root) {
  const data = JSON.parse(document.getElementById(root.dataset.from).textContent);
  const level = Number(root.dataset.level);
  const pick = (name) => root.querySelector(`[data-pick="${name}"]`);
  const [list, shown, count] = [pick("list"), pick("shown"), pick("count")];
  for (const [index, run] of data.runs.entries()) pick("run").append(new Option(run, index));
  const iterations = [...new Set(data.prompts.flatMap((p) => p.answers.map((a) => a[1])))].sort((a, b) => a - b);
  for (const t of iterations) pick("iteration").append(new Option(`iteration ${t} only`, t));

  const ends = (prompt, run) => {
    const own = prompt.answers.filter((answer) => answer[0] === run);
    return own.length ? [own[0], own[own.length - 1]] : null;
  };

  function matches(prompt) {
    const wanted = pick("outcome").value;
    const looked = pick("search").value.trim().toLowerCase();
    const runs = pick("run").value === "any" ? [...data.runs.keys()] : [Number(pick("run").value)];
    const found = runs.map((run) => ends(prompt, run)).filter((pair) => pair !== null);
    const right = ([first, last]) => {
      if (wanted === "all") return true;
      if (wanted === "changed") return outcome(first[3]) !== outcome(last[3]);
      return outcome(last[3]) === wanted;
    };
    if (!found.some(right)) return false;
    const texts = [prompt.prompt, prompt.reference, ...prompt.answers.map((answer) => answer[2])];
    return !looked || texts.some((t) => t !== null && data.texts[t].toLowerCase().includes(looked));
  }

  function entry(prompt) {
    const text = data.texts[prompt.prompt];
    const button = element("button", "", text.length > 140 ? `${text.slice(0, 140).replace(/\s\S*$/, "")} …` : text);
    button.type = "button";
    button.dir = "auto";
    const marks = element("span", "marks");
    data.runs.forEach((run, index) => {
      const pair = ends(prompt, index);
      if (!pair) return;
      const result = outcome(pair[1][3]);
      const changed = outcome(pair[0][3]) === result ? "" : ", changed";
      const mark = element("span", result);
      const sign = element("span", "", `${data.runs.length > 1 ? run : "last iteration"} ${SIGNS[result]}${changed ? "*" : ""} `);
      sign.setAttribute("aria-hidden", "true");
      mark.append(sign, element("span", "hidden", `; ${run} ${result}${changed}`));
      marks.append(mark);
    });
    if (prompt.why) marks.append(element("span", "", `(${prompt.why})`));
    button.append(marks);
    button.addEventListener("click", () => show(prompt, button));
    const item = element("li");
    item.append(button);
    return item;
  }

  function card(title, index, verdict, className, depth) {
    const made = element("div", `card ${className}`);
    made.append(element(`h${depth}`, "", title));
    if (verdict) made.append(element("p", `said ${className}`, verdict));
    const body = element("pre", "", data.texts[index] || "(empty)");
    body.dir = "auto";
    made.append(body);
    if (data.more[index]) made.append(element("p", "note", `${data.more[index].toLocaleString("en")} more characters are not shown`));
    return made;
  }

  function show(prompt, button) {
    for (const other of list.querySelectorAll("button")) {
      other.tabIndex = other === button ? 0 : -1;
      other.setAttribute("aria-current", String(other === button));
    }
    const wanted = pick("iteration").value;
    const run = pick("run").value;
    const answers = prompt.answers.filter((a) => run === "any" || a[0] === Number(run));
    const last = Math.max(...answers.map((a) => a[1]));
    const kept = [...new Set(answers.map((a) => a[1]))].sort((a, b) => a - b).filter((t) =>
      wanted === "all" || (wanted === "ends" ? t === 0 || t === last : t === Number(wanted)));
    const top = element("div", "cards");
    top.append(card("Prompt", prompt.prompt, "", "fixed", level));
    if (prompt.reference !== null) top.append(card(`Reference: ${data.opponent}`, prompt.reference, "", "fixed", level));
    shown.replaceChildren(top);
    for (const t of kept) {
      shown.append(element(`h${level}`, "", `Iteration ${t}`));
      const row = element("div", "cards");
      const alike = new Map(); // runs that share a start share its answers
      for (const answer of answers.filter((a) => a[1] === t)) {
        const key = `${answer[2]}/${answer[3]}`;
        alike.set(key, [...(alike.get(key) || []), answer]);
      }
      for (const same of alike.values()) {
        const names = same.map((answer) => data.runs[answer[0]]).join(", ");
        row.append(card(names, same[0][2], said(same[0]), outcome(same[0][3]), level + 1));
      }
      shown.append(row);
    }
  }

  function refresh() {
    const found = data.prompts.filter(matches);
    list.replaceChildren(...found.map(entry));
    count.textContent = `${found.length} of ${data.prompts.length} prompts`;
    shown.replaceChildren(element("p", "note", "No prompt here fits the filters."));
    const first = list.querySelector("button");
    if (first) first.click();
  }

  function step(by) {
    const buttons = [...list.querySelectorAll("button")];
    const at = buttons.findIndex((button) => button.getAttribute("aria-current") === "true");
    const next = buttons[Math.min(Math.max(at + by, 0), buttons.length - 1)];
    if (next) {
      next.click();
      next.scrollIntoView({ block: "nearest" });
    }
    return next;
  }

  list.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const next = step(by);
    if (next) next.focus();
  });
  pick("back").addEventListener("click", () => step(-1));
  pick("on").addEventListener("click", () => step(1));
  for (const name of ["outcome", "run", "iteration", "search"]) pick(name).addEventListener("input", refresh);
  refresh();
  root.hidden = false;
}

for (const root of document.querySelectorAll(".browser")) browse(root);
