"use strict";
(() => {
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  // Text of data, in its own writing direction.
  const isolated = (text) => make("bdi", "", text);

  // Tables: a click on a head sorts by its column, a second click in the other order.
  const numberOf = (row, column) => parseFloat(row.cells[column]?.textContent.replace(/,/g, "").replace("−", "-"));
  const compare = (a, b, column, isText) => {
    if (isText) return a.cells[column].textContent.localeCompare(b.cells[column].textContent);
    return numberOf(a, column) - numberOf(b, column);
  };
  const sort = (table, head) => {
    const column = head.cellIndex;
    const isText = head.classList.contains("text");
    const before = head.getAttribute("aria-sort");
    const descending = before ? before === "ascending" : !isText;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    // Missing numbers stay at the end in both orders.
    const isEmpty = (row) => row.classList.contains("missing") || (!isText && isNaN(numberOf(row, column)));
    const rows = [...body.rows];
    const full = rows.filter((row) => !isEmpty(row));
    full.sort((a, b) => compare(a, b, column, isText) * (descending ? -1 : 1));
    body.append(...full, ...rows.filter(isEmpty));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      const button = make("button", "", head.textContent);
      button.type = "button";
      button.addEventListener("click", () => sort(table, head));
      head.replaceChildren(button);
    }
  }

  // Examples of errors, when the dataset is opened.
  const KINDS = { missed: "missed", spurious: "spurious", boundary: "wrong boundary", type: "wrong type" };
  const LABELS = { gold: "gold", predicted: "predicted", both: "gold + predicted" };
  const mention = (list, label, found) => {
    if (!found) return;
    list.append(make("dt", label, label));
    const about = make("dd");
    about.append(isolated(found.text), " — ", isolated(found.type));
    if (!found.in_text) about.append(make("em", "", " (not in the text)"));
    list.append(about);
  };
  const item = (error) => {
    const row = make("li", "error");
    const about = make("div", "about");
    const id = make("code");
    id.append(isolated(error.id));
    about.append(make("span", "kind " + error.kind, KINDS[error.kind]), " ", id);
    if (error.probability !== null) about.append(" probability " + (error.probability * 100).toFixed(1) + " %");
    const text = make("p", "passage");
    text.dir = "auto";
    for (const [piece, marked] of error.text) {
      if (marked === "neither") {
        text.append(piece);
        continue;
      }
      const mark = make("mark", marked, piece);
      mark.append(make("small", "", LABELS[marked]));
      text.append(mark);
    }
    const list = make("dl");
    mention(list, "gold", error.gold);
    mention(list, "predicted", error.predicted);
    row.append(about, text, list);
    return row;
  };
  const choice = (label, options) => {
    const box = make("label", "", label + " ");
    const select = make("select");
    select.append(new Option("all", ""));
    for (const [value, text] of options) select.append(new Option(text, value));
    box.append(select);
    return [box, select];
  };
  const show = (place) => {
    if (place.dataset.shown) return;
    place.dataset.shown = "yes";
    const errors = JSON.parse(document.getElementById(place.dataset.examples).textContent);
    const types = new Set();
    for (const error of errors) {
      for (const found of [error.gold, error.predicted]) if (found) types.add(found.type);
    }
    const kinds = new Set(errors.map((error) => error.kind));
    const [kindBox, kind] = choice("Kind", Object.entries(KINDS).filter(([name]) => kinds.has(name)));
    const [typeBox, type] = choice("Entity type", [...types].sort().map((name) => [name, name]));
    const status = make("output");
    const controls = make("div", "controls");
    controls.append(kindBox, typeBox, status);
    const list = make("ul", "list");
    const fill = () => {
      const chosen = errors.filter((error) =>
        (!kind.value || error.kind === kind.value) &&
        (!type.value || error.gold?.type === type.value || error.predicted?.type === type.value));
      status.textContent = chosen.length + " of " + errors.length + " examples";
      list.replaceChildren(...chosen.map(item));
    };
    kind.addEventListener("change", fill);
    type.addEventListener("change", fill);
    fill();
    place.replaceChildren(controls, list);
  };
  for (const dataset of document.querySelectorAll("details.dataset")) {
    const showOpen = () => {
      if (dataset.open) dataset.querySelectorAll(".errors").forEach(show);
    };
    dataset.addEventListener("toggle", showOpen);
    // A reloaded page may have open ones.
    showOpen();
  }

  // A link to a dataset opens it.
  const follow = () => {
    const dataset = document.getElementById(location.hash.slice(1));
    if (dataset?.tagName !== "DETAILS") return;
    dataset.open = true;
    dataset.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  // A second click on the same link changes no hash.
  document.addEventListener("click", (event) => {
    if (event.target.closest("a")?.hash === location.hash) follow();
  });
  follow();
})();
