// The page of `uner serve`: a form, the text with its entities marked, and a table of them.

import { copy, formOf, fragmentOf } from "./links.js";

const byId = (id) => document.getElementById(id);
const textBox = byId("text");
const typeInput = byId("type-input");
const threshold = byId("threshold");
const result = byId("result");
const tip = byId("tip");
const key = byId("key");

const KEY_NAME = "uner-key";
const MAX_SUGGESTIONS = 8;
/** Height of a bar and of the space above it, in pixels. */
const STEP = 5;
/** Degrees between the hues of two types: the golden angle keeps neighbours far apart. */
const HUE_STEP = 137.5;

let types = [];
let models = [];
/** Set while a request runs. */
let running = null;
/** The last answer: its model, text, requested types, entities and problem. */
let answer = null;
const hiddenTypes = new Set();
/** Hues by type. They stay the same until the next answer. */
const hues = new Map();
/** The label of each entity that is shown. */
let labels = new Map();

function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

const makeButton = (className, onclick, ariaLabel, ...children) =>
  make("button", { type: "button", className, onclick, ariaLabel }, ...children);

/** A name or a quotation in a direction of its own. */
const isolated = (text) => make("bdi", {}, text);
const swatch = () => make("i", { className: "swatch" });
const counted = (number, one, many) => `${number} ${number === 1 ? one : many}`;
const countedEntities = (number) => counted(number, "entity", "entities");
const hideTip = () => { tip.hidden = true; };
const say = (...parts) => byId("status").replaceChildren(...parts);

/** Shows a message in its place; an empty one hides the place. */
function show(id, message, field) {
  byId(id).hidden = !message;
  byId(id).textContent = message ?? "";
  field?.focus();
}

// The server

/** Returns the JSON of the answer. The message of an error is written for the reader. */
async function request(path, options = {}) {
  const value = key.value.trim();
  if (/[^!-~]/.test(value)) throw new Error("The API key has a character that no key can have.");
  const headers = { "Content-Type": "application/json" };
  if (value) headers.Authorization = `Bearer ${value}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch {
    throw new Error("The server does not answer. Check that it is running and try again.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(refusal(response, body));
  if (body === null) throw new Error("The answer of the server cannot be read. Try again.");
  return body;
}

function refusal(response, body) {
  if (response.status === 401) {
    byId("key-form").hidden = false;
    key.focus();
  }
  if (response.status === 429) {
    const wait = Number(response.headers.get("Retry-After"));
    const when = wait ? counted(wait, "second", "seconds") : "a moment";
    return `The server is busy. Try again in ${when}.`;
  }
  return body?.error?.message ?? `The server answered with status ${response.status}.`;
}

async function loadModels() {
  try {
    models = (await request("v1/models")).data;
  } catch (error) {
    return show("alert", error.message);
  }
  byId("model").replaceChildren(...models.map(({ id }) => new Option(id, id)));
  byId("model-part").hidden = models.length < 2;
  showModel();
}

const chosenModel = () => models.find(({ id }) => id === byId("model").value);

function showModel() {
  byId("model-name").textContent = byId("model").value;
  showSuggestions();
}

// The form

function growTextBox() {
  textBox.style.height = "auto";
  textBox.style.height = `${textBox.scrollHeight + 2}px`;
}

function setTypes(names) {
  types = [...new Set(names.map((name) => name.trim()).filter(Boolean))];
  byId("types").replaceChildren(...types.map(chip));
  showSuggestions();
}

function addTypes(names) {
  typeInput.value = "";
  setTypes([...types, ...names.split(/[,\n]/)]);
}

function chip(name, index) {
  const onclick = () => {
    setTypes(types.filter((other) => other !== name));
    focusAt(byId("types"), index);
  };
  const remove = makeButton("remove", onclick, `Remove ${name}`, "×");
  return make("li", { className: "chip" }, isolated(name), remove);
}

/** Focuses the button that took the place of one that is gone. */
function focusAt(list, index) {
  const buttons = list.querySelectorAll("button");
  (buttons[Math.min(index, buttons.length - 1)] ?? typeInput).focus();
}

function showSuggestions() {
  const typed = typeInput.value.trim().toLowerCase();
  const known = chosenModel()?.entity_types ?? [];
  const fits = (name) => !types.includes(name) && name.toLowerCase().includes(typed);
  const names = known.filter(fits).slice(0, MAX_SUGGESTIONS);
  byId("suggestions").replaceChildren(...names.map(suggestion));
  byId("suggestions").hidden = names.length === 0;
}

function suggestion(name, index) {
  const onclick = () => {
    addTypes(name);
    focusAt(byId("suggestions"), index);
  };
  return make("li", {}, makeButton("suggestion", onclick, `Add ${name}`, isolated(name)));
}

function onTypeKey(event) {
  // An input method uses Enter and Backspace itself.
  if (event.isComposing) return;
  if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    addTypes(typeInput.value);
  } else if (event.key === "Backspace" && typeInput.value === "") {
    setTypes(types.slice(0, -1));
  }
}

function onTypeInput(event) {
  if (!event.isComposing && typeInput.value.includes(",")) addTypes(typeInput.value);
  else showSuggestions();
}

function fillForm(text, names) {
  running?.abort();
  answer = null;
  byId("output").hidden = true;
  show("alert", "");
  textBox.value = text;
  growTextBox();
  typeInput.value = "";
  setTypes(names);
}

function onExample(event) {
  const { text, types: names } = event.target.closest("button")?.dataset ?? {};
  if (!text) return;
  fillForm(text.replaceAll("\n", " "), names.split(","));
  say("Example filled in");
}

async function extract(event) {
  event.preventDefault();
  if (running) return;
  addTypes(typeInput.value);
  const text = textBox.value;
  if (!text.trim()) return show("alert", "Enter a text first.", textBox);
  if (types.length === 0) return show("alert", "Add an entity type first.", typeInput);
  show("alert", "");
  running = new AbortController();
  const { signal } = running;
  const seconds = startClock();
  try {
    const body = JSON.stringify({ text, types, threshold: 0, model: chosenModel()?.id });
    const { model, results } = await request("v1/ner", { method: "POST", body, signal });
    answer = { model, text, types, ...results[0] };
    showAnswer();
    say(`${countedEntities(answer.entities.length)} in ${seconds()} s`);
    // The page may have been opened without a key.
    if (models.length === 0) loadModels();
  } catch (error) {
    say(signal.aborted ? `Cancelled after ${seconds()} s` : "");
    if (!signal.aborted) show("alert", error.message);
  } finally {
    clearInterval(running.timer);
    running = null;
    byId("extract").ariaDisabled = null;
    if (document.activeElement === byId("cancel")) byId("extract").focus();
    byId("cancel").hidden = true;
  }
}

/** Shows the seconds while a request runs. Returns a function that reads them. */
function startClock() {
  const started = performance.now();
  const seconds = () => ((performance.now() - started) / 1000).toFixed(1);
  // Screen readers say that the request runs, but not each tick.
  const clock = make("span", { ariaHidden: "true" }, "0.0 s");
  say("Extracting … ", clock);
  running.timer = setInterval(() => { clock.textContent = `${seconds()} s`; }, 100);
  byId("extract").ariaDisabled = "true";
  byId("cancel").hidden = false;
  return seconds;
}

// The answer

function showAnswer() {
  const { entities, problem } = answer;
  hiddenTypes.clear();
  hues.clear();
  for (const name of [...answer.types, ...entities.map(({ type }) => type)]) {
    if (!hues.has(name)) hues.set(name, (250 + hues.size * HUE_STEP) % 360);
  }
  show("problem", problem);
  threshold.disabled = entities.length > 0 && entities.every((found) => found.probability === null);
  byId("output").hidden = false;
  showEntities();
  byId("output").scrollIntoView({ block: "nearest" });
}

/** Whether an entity is shown. Models that decode freely give no probabilities. */
const isProbable = ({ probability }) => (probability ?? 1) >= Number(threshold.value);

function showEntities() {
  byId("threshold-value").textContent = Number(threshold.value).toFixed(2);
  if (!answer) return;
  hideTip();
  const probable = answer.entities.filter(isProbable);
  const shown = probable.filter(({ type }) => !hiddenTypes.has(type));
  showLegend(probable);
  showText(shown);
  byId("entities").replaceChildren(...shown.map(tableRow));
  const total = answer.entities.length;
  const about = threshold.disabled ? ". This model gives no probabilities." : "";
  byId("shown").textContent =
    total === 0 ? "No entities found" : `${shown.length} of ${countedEntities(total)}${about}`;
}

const hueStyle = (type) => `--hue:${hues.get(type)}`;

function showLegend(entities) {
  const counts = new Map([...hues.keys()].map((name) => [name, 0]));
  for (const { type } of entities) counts.set(type, counts.get(type) + 1);
  const buttons = [...counts].map(([name, count]) => {
    const onclick = () => {
      if (!hiddenTypes.delete(name)) hiddenTypes.add(name);
      showEntities();
    };
    const ariaPressed = `${!hiddenTypes.has(name)}`;
    const properties = { type: "button", className: "type", onclick, ariaPressed };
    const parts = [swatch(), isolated(name), " ", make("b", {}, `${count}`)];
    return make("button", { ...properties, style: hueStyle(name) }, ...parts);
  });
  const legend = byId("legend");
  const focused = [...legend.children].indexOf(document.activeElement);
  legend.replaceChildren(...buttons);
  buttons[focused]?.focus();
}

/**
 * A span for each entity, sorted by start, the longer one first. Spans that overlap have different
 * levels; the innermost one has level 0.
 */
function stack(entities) {
  const spans = entities.map((entity) => ({ entity, ...entity, level: 0 }));
  spans.sort((a, b) => a.start - b.start || b.end - a.end);
  let group = [];
  let ends = [];
  const turnOver = () => group.forEach((span) => { span.level = ends.length - 1 - span.level; });
  for (const span of spans) {
    if (ends.every((end) => end <= span.start)) {
      turnOver();
      [group, ends] = [[], []];
    }
    const free = ends.findIndex((end) => end <= span.start);
    span.level = free < 0 ? ends.length : free;
    ends[span.level] = span.end;
    group.push(span);
  }
  turnOver();
  return spans;
}

/** Writes the text, cut where an entity starts or ends. */
function showText(entities) {
  // Offsets count code points, but the strings of JavaScript are in UTF-16.
  const characters = Array.from(answer.text);
  const spans = stack(entities);
  const bounds = spans.flatMap(({ start, end }) => [start, end]);
  const cuts = [...new Set([0, ...bounds, characters.length])].sort((a, b) => a - b);
  labels = new Map(spans.map(({ entity }) => [entity, label(entity)]));
  const content = new DocumentFragment();
  let open = [];
  let next = 0;
  for (const [index, from] of cuts.slice(0, -1).entries()) {
    const first = next;
    while (spans[next]?.start === from) next += 1;
    const starting = spans.slice(first, next);
    open = [...open.filter(({ end }) => end > from), ...starting];
    const piece = characters.slice(from, cuts[index + 1]).join("");
    const marks = starting.map(({ entity }) => labels.get(entity));
    content.append(open.length === 0 ? piece : segment(open, ...marks, piece));
  }
  const [first] = labels.values();
  if (first) first.tabIndex = 0;
  result.replaceChildren(content);
}

/** A piece of text that lies in the same entities from its start to its end. */
function segment(open, ...children) {
  const colour = ({ entity }) => `oklch(var(--light) var(--chroma) ${hues.get(entity.type)})`;
  const depth = Math.max(...open.map(({ level }) => level)) + 1;
  const bars = open.map((span) => {
    const below = (depth - 1 - span.level) * STEP;
    return `linear-gradient(${colour(span)} 0 0) left bottom ${below}px / 100% 3px no-repeat`;
  });
  const inner = open.reduce((best, span) => (span.level < best.level ? span : best));
  const tint = `color-mix(in srgb, ${colour(inner)} var(--tint), transparent)`;
  const style = `--depth:${depth * STEP}px;background:${bars},${tint}`;
  const entities = open.map(({ entity }) => entity);
  return make("span", { className: "segment", style, entities }, ...children);
}

function label(entity) {
  const { type, probability } = entity;
  const number = probability === null ? "" : ` ${probability.toFixed(2)}`;
  const look = { className: "label", dir: "auto", style: hueStyle(type) };
  const properties = { tabIndex: -1, role: "button", entities: [entity] };
  const element = make("span", { ...look, ...properties }, type, number);
  element.setAttribute("aria-describedby", "tip");
  return element;
}

function tableRow(entity) {
  const { type, text, probability, start, end } = entity;
  const onclick = () => labels.get(entity).focus();
  const name = `${start} to ${end}, show in the text`;
  const position = makeButton("link", onclick, name, `${start}–${end}`);
  // Roles, because the style of phones lays rows out as grids.
  const cell = (child) => make("td", { role: "cell" }, child);
  const head = make("th", { scope: "row", role: "rowheader" }, swatch(), isolated(type));
  const cells = [isolated(text), probability?.toFixed(4) ?? "–", position].map(cell);
  return make("tr", { role: "row", style: hueStyle(type) }, head, ...cells);
}

// Details of the entities under the pointer or the focus

function showTip(element) {
  tip.replaceChildren(...element.entities.map(tipEntry));
  tip.hidden = false;
  const { left, bottom, top } = element.getClientRects()[0];
  const lastLeft = document.documentElement.clientWidth - tip.offsetWidth - 8;
  const above = Math.max(8, top - tip.offsetHeight - 8);
  const below = bottom + 8;
  tip.style.left = `${scrollX + Math.max(8, Math.min(left, lastLeft))}px`;
  tip.style.top = `${scrollY + (below + tip.offsetHeight < innerHeight ? below : above)}px`;
}

function tipEntry({ type, text, probability, start, end }) {
  const number = probability === null ? "" : `probability ${probability.toFixed(4)}, `;
  const quote = make("bdi", { className: "quote" }, text);
  const about = make("span", {}, `${number}characters ${start}–${end}`);
  const head = make("b", {}, swatch(), isolated(type));
  return make("p", { style: hueStyle(type) }, head, quote, about);
}

function onPointer(event) {
  const element = event.target.closest(".label, .segment");
  if (element) showTip(element);
  else hideTip();
}

/** Tab stops at one label only; the arrows lead to the others. */
function onLabelFocus(event) {
  result.querySelector("[tabindex='0']").tabIndex = -1;
  event.target.tabIndex = 0;
  showTip(event.target);
}

function onLabelKey(event) {
  const all = [...labels.values()];
  const index = all.indexOf(event.target);
  const goal = { ArrowLeft: index - 1, ArrowRight: index + 1, Enter: index, " ": index }[event.key];
  if (goal === undefined) return;
  event.preventDefault();
  const element = all.at(goal % all.length);
  element.focus();
  showTip(element);
}

// Copies and links

async function copyFrom(button, text) {
  button.dataset.name ??= button.textContent;
  const message = await copy(text) ? "Copied" : "Copying failed";
  button.textContent = message;
  say(message);
  setTimeout(() => { button.textContent = button.dataset.name; }, 2000);
}

function copyAnswer(event) {
  const { model, entities, problem } = answer;
  const results = [{ entities: entities.filter(isProbable), problem }];
  copyFrom(event.currentTarget, JSON.stringify({ model, results }, null, 2));
}

function copyLink(event) {
  addTypes(typeInput.value);
  const form = { text: textBox.value, types, threshold: Number(threshold.value) };
  history.replaceState(null, "", `#${fragmentOf(form)}`);
  copyFrom(event.currentTarget, location.href);
}

function openLink() {
  const fragment = location.hash.slice(1);
  // The link that skips the examples has a fragment, too.
  if (!fragment || byId(fragment)) return;
  try {
    const form = formOf(fragment);
    fillForm(form.text.toString(), form.types.map(String));
    threshold.value = Number(form.threshold) || 0;
    showEntities();
  } catch {
    show("alert", "This link is damaged. Copy it again in full.");
  }
}

// Events

function onKey(event) {
  if (event.key === "Escape") hideTip();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) extract(event);
}

document.addEventListener("keydown", onKey);
byId("form").addEventListener("submit", extract);
byId("cancel").addEventListener("click", () => running?.abort());
byId("examples").addEventListener("click", onExample);
byId("model").addEventListener("change", showModel);
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  show("alert", "");
  loadModels();
});
key.addEventListener("change", () => sessionStorage.setItem(KEY_NAME, key.value));
textBox.addEventListener("input", growTextBox);
addEventListener("resize", growTextBox);
typeInput.addEventListener("keydown", onTypeKey);
typeInput.addEventListener("input", onTypeInput);
threshold.addEventListener("input", showEntities);
byId("copy").addEventListener("click", copyAnswer);
byId("permalink").addEventListener("click", copyLink);
result.addEventListener("pointerover", onPointer);
result.addEventListener("click", onPointer);
result.addEventListener("pointerleave", hideTip);
result.addEventListener("focusin", onLabelFocus);
result.addEventListener("focusout", hideTip);
result.addEventListener("keydown", onLabelKey);
addEventListener("hashchange", openLink);

try {
  key.value = sessionStorage.getItem(KEY_NAME);
} catch {
  // A browser that forbids storage: the key stays in its field only.
}
openLink();
loadModels();
