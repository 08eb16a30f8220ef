// The page of `hybrid-ir serve`. Every text of a passage, a question or a model is set by
// textContent, so that markup in it is shown and never run.
"use strict";

const POLL_MILLISECONDS = 1000;
const TYPING_MILLISECONDS = 150;
const COLOURS = 7; // of languages in the style sheet
const PATTERNS = 3; // on each of these colours: none, stripes, dots
const LEAST_SHARE = 0.01; // of a bar that is named below it
const HEAT_STEPS = 8; // the style sheet has s0 to s8

const state = {
  about: null,
  answer: null, // what is shown
  latestSearch: 0,
  latestSuggestion: 0,
  suggestions: [],
  chosenSuggestion: -1,
  shownModel: 0, // where there is room for one ranking
  typingTimer: 0,
};

function get(id) {
  return document.getElementById(id);
}

function create(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function createLanguageTag(code) {
  const tag = create("span", "language");
  const name = state.about.language_names[code] || code;
  tag.append(create("b", "", code));
  if (name !== code) tag.append(` ${name}`);
  return tag;
}

function createText(tag, text, language) {
  const element = create(tag, "text", text);
  element.lang = language;
  element.dir = "auto";
  return element;
}

function formatCount(number) {
  return number.toLocaleString("en");
}

// Returns the classes that colour a language: they stay the same on the whole page.
function chooseLook(code) {
  const place = Object.keys(state.about.languages).indexOf(code) % (COLOURS * PATTERNS);
  const pattern = Math.floor(place / COLOURS);
  const colour = `kind-${(place % COLOURS) + 1}`;
  return pattern > 0 ? `${colour} pattern-${pattern}` : colour;
}

// Asks the server; an error of it is thrown with its own message.
async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer: it may have ended. Start it again.");
  }
  let content;
  try {
    content = await response.json();
  } catch {
    throw new Error(`The server answered ${response.status} without words.`);
  }
  if (!response.ok) throw new Error(content.error ? content.error.message : response.statusText);
  return content;
}

/* Loading */

async function waitUntilReady() {
  let failures = 0;
  for (;;) {
    try {
      const health = await ask("health");
      failures = 0;
      showHealth(health);
      if (health.status === "ready") return true;
      if (health.status === "failed") return false;
    } catch (error) {
      failures += 1;
      get("loading-stage").textContent = error.message;
      if (failures === 20) return false;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}

function showHealth(health) {
  const hasFailed = health.status === "failed";
  const stage = get("loading-stage");
  const stageOfPart = health.part ? `${health.part}: ${health.stage}` : health.stage;
  const text = stageOfPart.charAt(0).toUpperCase() + stageOfPart.slice(1);
  if (stage.textContent !== text) stage.textContent = text; // it is read aloud when it changes
  get("loading").classList.toggle("bad", hasFailed);
  get("loading-title").textContent = hasFailed ? "It cannot be loaded" : "Loading";
  const bar = get("loading-bar");
  bar.hidden = hasFailed;
  if (health.total > 0) {
    bar.max = health.total;
    bar.value = health.done;
  } else {
    bar.removeAttribute("value");
  }
  get("loading-count").textContent = describeProgress(health);
}

function describeProgress(progress) {
  if (progress.status === "failed" || !progress.total) return "";
  let text = `${formatCount(progress.done)} of ${formatCount(progress.total)} texts`;
  if (progress.seconds_left !== undefined && progress.seconds_left !== null) {
    text += `, about ${describeSeconds(progress.seconds_left)} left`;
    if (progress.part) text += ` for ${progress.part}`;
  }
  return text;
}

function describeSeconds(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
}

/* What is served */

function showAbout() {
  const about = state.about;
  const names = about.models.map((model) => model.label).join(" and ");
  const total = Object.values(about.languages).reduce((sum, count) => sum + count, 0);
  const languages = Object.keys(about.languages).length;
  get("lead").textContent =
    `One ranking of ${formatCount(total)} passages in ${languages} ` +
    `${languages === 1 ? "language" : "languages"} by ${names}.`;
  document.title = `${names} – hybrid-ir`;
  let source = `Passages: ${about.source}, licence ${about.licence}.`;
  if (about.benchmark) source += ` ${describeQuestions(about)}`;
  get("about").textContent = `${source} hybrid-ir ${about.version}.`;
  for (const code of Object.keys(about.languages)) {
    const label = create("label");
    const box = create("input");
    box.type = "checkbox";
    box.value = code;
    box.checked = true;
    label.append(box, createLanguageTag(code));
    get("languages").append(label);
  }
  showNumbersOfHits();
  showFilterSummary();
}

function describeQuestions(about) {
  const count = formatCount(about.questions);
  const noun = about.questions === 1 ? "question" : "different questions";
  const repeated = about.repeated_questions;
  const verb = repeated === 1 ? "has" : "have";
  const more = repeated > 0 ? ` (${formatCount(repeated)} more ${verb} the text of another)` : "";
  return `${count} ${noun} with known answers${more}.`;
}

function showNumbersOfHits() {
  const numbers = new Set([10, 20, 50, 100, state.about.default_hits]);
  const sorted = [...numbers].sort((a, b) => a - b);
  for (const number of sorted.filter((one) => one <= state.about.most_hits)) {
    const option = create("option", "", String(number));
    option.value = String(number);
    option.selected = number === state.about.default_hits;
    get("hits").append(option);
  }
}

function listLanguageBoxes() {
  return [...document.querySelectorAll("#languages input")];
}

function showFilterSummary() {
  const boxes = listLanguageBoxes();
  const count = boxes.filter((box) => box.checked).length;
  const languages = count === boxes.length ? "all languages" : `${count} of ${boxes.length}`;
  get("filter-summary").textContent = `${languages}, ${get("hits").value} hits`;
}

async function showExamples() {
  if (!state.about.benchmark) return;
  const questions = await ask("questions");
  for (const question of questions) {
    const button = create("button");
    button.type = "button";
    button.append(createLanguageTag(question.language));
    button.append(createText("span", question.text, question.language));
    button.addEventListener("click", () => {
      get("question").value = question.text;
      search();
    });
    const item = create("li");
    item.append(button);
    get("example-list").append(item);
  }
  get("examples").hidden = state.answer !== null;
}

/* Suggestions */

async function suggest() {
  if (!state.about.benchmark) return;
  state.latestSuggestion += 1;
  const number = state.latestSuggestion;
  const text = get("question").value;
  if (!text.trim() || text.length > 200) {
    closeSuggestions();
    return;
  }
  let questions = [];
  try {
    questions = await ask(`questions?text=${encodeURIComponent(text)}`);
  } catch {
    return; // what is typed can be searched without
  }
  if (number !== state.latestSuggestion || document.activeElement !== get("question")) return;
  showSuggestions(questions);
}

function showSuggestions(questions) {
  state.suggestions = questions;
  state.chosenSuggestion = -1;
  const list = get("suggestions");
  list.replaceChildren();
  questions.forEach((question, place) => {
    const item = create("li");
    item.id = `suggestion-${place}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    item.append(createLanguageTag(question.language));
    item.append(createText("span", question.text, question.language));
    // Before the box loses the focus, which closes the list.
    item.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      takeSuggestion(place);
    });
    list.append(item);
  });
  const isOpen = questions.length > 0;
  list.hidden = !isOpen;
  get("question").setAttribute("aria-expanded", String(isOpen));
  get("question").removeAttribute("aria-activedescendant");
}

function closeSuggestions() {
  state.latestSuggestion += 1; // an answer that is still under way is not shown
  clearTimeout(state.typingTimer);
  showSuggestions([]);
}

function moveThroughSuggestions(step) {
  const count = state.suggestions.length;
  const items = [...get("suggestions").children];
  let place = state.chosenSuggestion + step;
  if (place < 0) place = count - 1;
  if (place >= count) place = 0;
  state.chosenSuggestion = place;
  items.forEach((item, number) => item.setAttribute("aria-selected", String(number === place)));
  items[place].scrollIntoView({ block: "nearest" });
  get("question").setAttribute("aria-activedescendant", items[place].id);
}

function takeSuggestion(place) {
  get("question").value = state.suggestions[place].text;
  closeSuggestions();
  search();
}

/* Searching */

async function search() {
  closeSuggestions();
  state.latestSearch += 1;
  const number = state.latestSearch;
  const question = get("question").value;
  if (!question.trim()) {
    showError("The question is empty: type one.");
    return;
  }
  const most = state.about.most_characters;
  const length = [...question].length;
  if (length > most) {
    showError(
      `The question has ${formatCount(length)} characters, and may have ` +
        `${formatCount(most)}: shorten it.`
    );
    return;
  }
  const boxes = listLanguageBoxes();
  const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
  if (chosen.length === 0) {
    showError("Choose at least one language.");
    return;
  }
  const languages = chosen.length === boxes.length ? null : chosen;
  const body = JSON.stringify({ question, k: Number(get("hits").value), languages });
  get("status").textContent = "Searching …";
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await ask("search", { method: "POST", headers, body });
    if (number !== state.latestSearch) return; // a later question was asked meanwhile
    state.answer = answer;
    history.replaceState(null, "", `#q=${encodeURIComponent(question)}`);
    showAnswer();
  } catch (error) {
    if (number === state.latestSearch) showError(error.message);
  }
}

function showError(message) {
  get("status").textContent = "";
  get("error").textContent = message;
  get("error").hidden = false;
  get("results").hidden = true;
}

function showAnswer() {
  const answer = state.answer;
  get("error").hidden = true;
  get("examples").hidden = true;
  get("results").hidden = false;
  showKnownAnswers();
  showRankings();
  showMixes();
  get("status").textContent = describeAnswer(answer);
}

function describeAnswer(answer) {
  const count = answer.models[0].hits.length;
  let text = `${count} hits in ${Math.max(1, Math.round(answer.seconds * 1000))} ms.`;
  if (answer.models.some((model) => model.is_question_cut)) {
    text += " The question is longer than the model reads: only its beginning was searched for.";
  }
  if (answer.is_of_benchmark) {
    const languages = new Set(answer.answers.map((one) => one.language));
    const inLanguages = languages.size === 1 ? "one language" : `${languages.size} languages`;
    const known = answer.answers.length === 1 ? "one answer" : `${answer.answers.length} answers`;
    text += ` Known: ${known} in ${inLanguages}.`;
  } else if (state.about.benchmark) {
    text += " This is no question of the benchmark, so nobody knows its answers.";
  }
  return text;
}

/* The known answers */

function showKnownAnswers() {
  const answers = state.answer.answers;
  get("answers").hidden = answers.length === 0;
  if (answers.length === 0) return;
  const models = state.answer.models;
  const isFiltered = answers[0].places[0].rank !== answers[0].places[0].rank_among_chosen ||
    answers.some((one) => one.places[0].rank !== one.places[0].rank_among_chosen);
  const shown = models[0].hits.length;
  get("answers-note").textContent =
    `Places among all passages of all languages, counted exactly, also below the ${shown} shown.` +
    (isFiltered ? " In brackets: among the chosen languages." : "");
  const head = create("tr");
  head.append(createHead("language", "label"));
  for (const model of models) head.append(createHead(model.model));
  head.append(createHead("answer", "label"));
  const thead = create("thead");
  thead.append(head);
  const tbody = create("tbody");
  for (const answer of answers) tbody.append(createAnswerRow(answer, isFiltered));
  const table = create("table");
  table.id = "answer-table";
  table.append(thead, tbody);
  get("answer-box").replaceChildren(createTableBox(table, "Where the known answers are"));
}

// Returns the frame of a table: it scrolls inside itself, and says so where it is too wide.
function createTableBox(table, label) {
  const box = create("figure", "table");
  const scroll = create("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", label);
  const inside = create("div");
  const hint = create("p", "hint");
  hint.setAttribute("aria-hidden", "true");
  hint.append(create("span", "", "More columns are to the right: move the table sideways."));
  inside.append(hint, table);
  scroll.append(inside);
  box.append(scroll);
  return box;
}

function createHead(text, className) {
  const head = create("th", className || "", text);
  head.scope = "col";
  return head;
}

function createAnswerRow(answer, isFiltered) {
  const row = create("tr");
  const label = create("th", "label");
  label.scope = "row";
  label.append(createLanguageTag(answer.language));
  row.append(label);
  const best = Math.min(...answer.places.map((place) => place.rank));
  for (const place of answer.places) {
    let text = formatCount(place.rank);
    if (isFiltered) {
      const among = place.rank_among_chosen;
      text += among === null ? " (left out)" : ` (${formatCount(among)})`;
    }
    const isBest = answer.places.length > 1 && place.rank === best;
    row.append(create("td", isBest ? "best" : "", text));
  }
  const cell = create("td", "words");
  const text = createText("span", answer.text, answer.language);
  cell.append(text);
  row.append(cell);
  return row;
}

/* The rankings */

function showRankings() {
  const models = state.answer.models;
  const box = get("rankings");
  box.className = models.length === 2 ? "rankings two" : "rankings";
  box.replaceChildren();
  if (models.length === 2) box.append(createSwitch(models));
  models.forEach((model, number) => {
    const ranking = create("div", "ranking");
    const title = create("h3", "", model.model);
    title.id = `ranking-${number}`;
    const list = create("ol", "hits");
    list.setAttribute("aria-labelledby", title.id);
    const other = models.length === 2 ? models[1 - number] : null;
    model.hits.forEach((hit) => list.append(createHit(hit, other)));
    ranking.append(title, list);
    box.append(ranking);
  });
  for (const first of box.querySelectorAll(".hit:first-child")) first.tabIndex = 0;
  if (models.length === 2) showModel(state.shownModel);
  get("hits-note").textContent = models.length === 2
    ? "The same question for both models. ▲ 12: stands 12 places higher here than with the other " +
      "model, ▼ 12: 12 places lower. Scores of different models cannot be compared."
    : "The pooled ranking: passages of all languages compete with each other.";
  if (models.length === 2) drawMoves();
}

// Returns two buttons, which the style sheet shows where there is room for one ranking.
function createSwitch(models) {
  const group = create("div", "switch");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Model whose hits are shown");
  models.forEach((model, number) => {
    const button = create("button", "", model.model);
    button.type = "button";
    button.addEventListener("click", () => showModel(number));
    group.append(button);
  });
  return group;
}

function showModel(number) {
  state.shownModel = number;
  document.querySelectorAll(".switch button").forEach((button, place) => {
    button.setAttribute("aria-pressed", String(place === number));
  });
  document.querySelectorAll(".ranking").forEach((ranking, place) => {
    ranking.classList.toggle("other", place !== number);
  });
}

function createHit(hit, other) {
  const item = create("li", hit.is_known_answer ? "hit known" : "hit");
  item.tabIndex = -1;
  item.dataset.id = hit.id;
  const facts = create("p", "facts");
  facts.append(create("span", "place", `${hit.rank}.`), createLanguageTag(hit.language));
  facts.append(create("span", "score", hit.score.toFixed(4)));
  if (hit.is_known_answer) facts.append(create("span", "answer", "✓ known answer"));
  if (other) facts.append(createMove(hit, other));
  facts.append(create("span", "id", hit.id));
  item.append(facts, createText("p", hit.text, hit.language));
  return item;
}

// Says where the other model has a hit, and how far this model moves it.
function createMove(hit, other) {
  const there = `${formatCount(hit.other_rank)}. in ${other.model}`;
  if (hit.other_rank === hit.rank) return create("span", "", `= ${there}`);
  const isUp = hit.rank < hit.other_rank;
  const steps = formatCount(Math.abs(hit.other_rank - hit.rank));
  const move = create("span", "move", isUp ? `▲ ${steps} ` : `▼ ${steps} `);
  move.setAttribute("aria-label", `${steps} places ${isUp ? "higher" : "lower"}; ${there}`);
  const words = create("span", "");
  words.append(move, `(${there})`);
  return words;
}

// Draws a line from each hit of the first model to the same passage of the second.
function drawMoves() {
  const box = get("rankings");
  const old = box.querySelector(".moves");
  if (old) old.remove();
  const lists = [...box.querySelectorAll(".hits")];
  if (lists.length !== 2) return;
  const svgName = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(svgName, "svg");
  drawing.setAttribute("class", "moves");
  drawing.setAttribute("aria-hidden", "true");
  const frame = box.getBoundingClientRect();
  const targets = new Map([...lists[1].children].map((item) => [item.dataset.id, item]));
  for (const item of lists[0].children) {
    const target = targets.get(item.dataset.id);
    if (!target) continue;
    const from = item.getBoundingClientRect();
    const to = target.getBoundingClientRect();
    const startX = from.right - frame.left;
    const endX = to.left - frame.left;
    const startY = from.top + from.height / 2 - frame.top;
    const endY = to.top + to.height / 2 - frame.top;
    const middle = (startX + endX) / 2;
    const path = document.createElementNS(svgName, "path");
    path.setAttribute(
      "d",
      `M ${startX} ${startY} C ${middle} ${startY}, ${middle} ${endY}, ${endX} ${endY}`
    );
    if (item.classList.contains("known")) path.setAttribute("class", "known");
    drawing.append(path);
  }
  box.append(drawing);
}

/* The mix of languages */

function showMixes() {
  const answer = state.answer;
  const box = get("mixes");
  box.replaceChildren();
  for (const model of answer.models) {
    const title = `${model.model}: the ${model.hits.length} hits`;
    box.append(createMix(title, model.mix));
  }
  box.append(createMix("The pool: all passages of the chosen languages", answer.pool));
}

function createMix(title, counts) {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const languages = Object.keys(state.about.languages).filter((code) => counts[code] > 0);
  const row = create("div", "mix-row");
  const bar = create("div", "mix");
  bar.setAttribute("aria-hidden", "true");
  for (const code of languages) {
    const part = create("span", chooseLook(code));
    part.style.setProperty("--share", String(counts[code] / total));
    part.title = `${state.about.language_names[code]}: ${formatCount(counts[code])}`;
    part.append(create("b", "", code));
    bar.append(part);
  }
  row.append(create("p", "", title), bar, createMixNumbers(title, languages, counts, total));
  return row;
}

// Returns the line below a bar: its languages by size, those with hardly anything joined.
function createMixNumbers(title, languages, counts, total) {
  const list = create("ul", "mix-numbers");
  list.setAttribute("aria-label", title);
  const bySize = [...languages].sort((a, b) => counts[b] - counts[a]);
  let rest = 0;
  for (const code of bySize) {
    const share = counts[code] / total;
    if (share < LEAST_SHARE) {
      rest += share;
      continue;
    }
    const item = create("li");
    const name = state.about.language_names[code] || code;
    item.append(create("i", chooseLook(code)), `${name} ${formatPercent(share)}`);
    list.append(item);
  }
  if (rest > 0) list.append(create("li", "", `others ${formatPercent(rest)}`));
  return list;
}

function formatPercent(share) {
  return share < LEAST_SHARE ? "below 1%" : `${Math.round(100 * share)}%`;
}

/* The heat map */

async function watchHeatMap() {
  if (!state.about.benchmark) return;
  get("heat").hidden = false;
  for (;;) {
    let heat;
    try {
      heat = await ask("heat-map");
    } catch (error) {
      get("heat-state").textContent = error.message;
      return;
    }
    if (heat.status === "ready") {
      get("heat-state").hidden = true;
      showHeatMaps(heat);
      return;
    }
    if (heat.status === "failed") {
      get("heat-state").textContent = `It cannot be computed: ${heat.reason}`;
      return;
    }
    get("heat-state").textContent =
      `Being computed in the background: ${formatCount(heat.done)} of ` +
      `${formatCount(heat.total)} questions are encoded${describeShare(heat.total)}.`;
    await new Promise((resolve) => setTimeout(resolve, 2 * POLL_MILLISECONDS));
  }
}

function describeShare(total) {
  const models = state.about.models.length;
  return models > 1 ? ` (${formatCount(total / models)} by each model)` : "";
}

function showHeatMaps(heat) {
  const values = heat.maps.flatMap((map) => map.cells.flat()).filter((value) => value !== null);
  const low = Math.min(...values);
  const high = Math.max(...values);
  for (const map of heat.maps) {
    const box = create("div", "heat-box");
    const table = createHeatTable(heat.languages, map.cells, low, high);
    box.append(create("h3", "", map.model), createTableBox(table, `Heat map of ${map.model}`));
    get("heat-maps").append(box);
  }
}

function createHeatTable(languages, cells, low, high) {
  const table = create("table", "heat");
  const head = create("tr");
  head.append(create("td", "axis", "question ↓ passage →"));
  for (const code of languages) head.append(createLanguageHead(code, "col"));
  const thead = create("thead");
  thead.append(head);
  const body = create("tbody");
  cells.forEach((row, place) => {
    const line = create("tr");
    line.append(createLanguageHead(languages[place], "row"));
    for (const value of row) line.append(createHeatCell(value, low, high));
    body.append(line);
  });
  table.append(thead, body);
  return table;
}

function createLanguageHead(code, scope) {
  const head = create("th");
  head.scope = scope;
  const name = create("abbr", "", code);
  name.title = state.about.language_names[code] || code;
  head.append(name);
  return head;
}

function createHeatCell(value, low, high) {
  if (value === null) return create("td", "", "·");
  const share = high > low ? (value - low) / (high - low) : 0;
  return create("td", `s${Math.round(share * HEAT_STEPS)}`, value.toFixed(2));
}

/* Keys and other events */

function listHits() {
  return [...document.querySelectorAll(".hit")];
}

function focusHit(hit) {
  const ranking = hit.closest(".ranking");
  const rankings = [...document.querySelectorAll(".ranking")];
  for (const other of ranking.querySelectorAll(".hit")) other.tabIndex = -1;
  hit.tabIndex = 0;
  if (rankings.length === 2) showModel(rankings.indexOf(ranking)); // a hidden one takes no focus
  hit.focus();
  hit.scrollIntoView({ block: "nearest" });
}

function moveFromQuestion(event) {
  const isDown = event.key === "ArrowDown";
  if (!isDown && event.key !== "ArrowUp") return;
  if (state.suggestions.length > 0) {
    event.preventDefault();
    moveThroughSuggestions(isDown ? 1 : -1);
  } else if (isDown && listHits().length > 0 && !get("results").hidden) {
    event.preventDefault();
    focusHit(listHits().find((hit) => hit.checkVisibility()));
  }
}

function moveThroughHits(event) {
  const hit = event.target.closest(".hit");
  if (!hit) return;
  const own = [...hit.parentElement.children];
  const place = own.indexOf(hit);
  const lists = [...document.querySelectorAll(".hits")];
  const beside = lists[lists.indexOf(hit.parentElement) + (event.key === "ArrowRight" ? 1 : -1)];
  if (event.key === "ArrowDown" && place + 1 < own.length) focusHit(own[place + 1]);
  else if (event.key === "ArrowUp" && place > 0) focusHit(own[place - 1]);
  else if (event.key === "ArrowUp") get("question").focus();
  else if (event.key === "Home") focusHit(own[0]);
  else if (event.key === "End") focusHit(own[own.length - 1]);
  else if ((event.key === "ArrowRight" || event.key === "ArrowLeft") && beside) {
    focusHit(beside.children[Math.min(place, beside.children.length - 1)]);
  } else return;
  event.preventDefault();
}

function listenToKeys() {
  const question = get("question");
  question.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // of a Chinese or Japanese input method
    if (event.key === "Escape") closeSuggestions();
    else if (event.key === "Enter" && state.chosenSuggestion >= 0) {
      event.preventDefault();
      takeSuggestion(state.chosenSuggestion);
    } else moveFromQuestion(event);
  });
  get("rankings").addEventListener("keydown", moveThroughHits);
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input[type=text], select, textarea") !== null;
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    question.focus();
    question.select();
  });
}

function listenToChanges() {
  const question = get("question");
  question.addEventListener("input", () => {
    clearTimeout(state.typingTimer);
    state.typingTimer = setTimeout(suggest, TYPING_MILLISECONDS);
  });
  question.addEventListener("blur", closeSuggestions);
  get("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  const searchAgain = () => {
    showFilterSummary();
    if (state.answer !== null || !get("error").hidden) search();
  };
  get("languages").addEventListener("change", searchAgain);
  get("hits").addEventListener("change", searchAgain);
  for (const [id, isChecked] of [["all", true], ["none", false]]) {
    get(id).addEventListener("click", () => {
      for (const box of listLanguageBoxes()) box.checked = isChecked;
      searchAgain();
    });
  }
  new ResizeObserver(() => {
    if (state.answer !== null && state.answer.models.length === 2) drawMoves();
  }).observe(get("rankings"));
}

async function start() {
  if (!(await waitUntilReady())) return;
  state.about = await ask("about");
  get("loading").hidden = true;
  get("search").hidden = false;
  get("status").textContent = "";
  showAbout();
  listenToKeys();
  listenToChanges();
  get("question").focus({ preventScroll: true });
  showExamples();
  watchHeatMap();
  const asked = new URLSearchParams(location.hash.slice(1)).get("q");
  if (asked) {
    get("question").value = asked;
    search();
  }
}

start().catch((error) => showError(error.message));
