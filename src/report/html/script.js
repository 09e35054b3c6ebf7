// The report's script: sliders, heatmaps, filters. The document handles all events, so cards need no setup.
// The script fetches nothing but the pictures of the page.
"use strict";

const page = document.documentElement;
const cards = [...document.querySelectorAll(".card")];
const bar = document.getElementById("bar");
page.classList.add("js");

// Light and dark theme. The default is the system's theme.

const theme = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (page.dataset.theme ? page.dataset.theme === "dark" : prefersDark.matches);

function showTheme() {
  theme.textContent = isDark() ? "Light" : "Dark";
}

// Browsers may deny local files any storage.
function remembered(key, value) {
  try {
    if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

theme.hidden = false;
theme.addEventListener("click", () => {
  page.dataset.theme = isDark() ? "light" : "dark";
  remembered("p2p-theme", page.dataset.theme);
  showTheme();
});
prefersDark.addEventListener("change", showTheme);
if (["light", "dark"].includes(remembered("p2p-theme"))) page.dataset.theme = remembered("p2p-theme");
showTheme();

// Embedded pictures that several cards show. The page contains each of them once.

for (const picture of document.querySelectorAll("img[data-same]")) {
  picture.src = document.getElementById(`picture-${picture.dataset.same}`).src;
}

// The slider. The range input handles the keyboard, the frame handles the pointer.

function slide(range) {
  const frame = range.closest(".frame");
  frame.style.setProperty("--at", `${range.value}%`);
  const [before, after] = frame.querySelectorAll("figcaption");
  range.ariaValueText = `${range.value} % ${before.textContent}, the rest ${after.textContent}`;
}

function slideTo(frame, event) {
  const range = frame.querySelector("input[type=range]");
  const { left, width } = frame.getBoundingClientRect();
  range.value = Math.round((100 * (event.clientX - left)) / width);
  slide(range);
}

let dragged = null;

document.addEventListener("pointerdown", (event) => {
  const frame = event.target.closest(".frame:has(input)");
  if (!frame || event.button !== 0) return;
  dragged = frame;
  // If the gesture becomes a scroll, the browser cancels the pointer.
  if (event.pointerType !== "touch") slideTo(frame, event);
  frame.setPointerCapture(event.pointerId);
});
document.addEventListener("pointermove", (event) => dragged && slideTo(dragged, event));
document.addEventListener("pointerup", (event) => {
  if (!dragged) return;
  slideTo(dragged, event);
  // The arrow keys continue from the pointer's last position.
  dragged.querySelector("input[type=range]").focus({ preventScroll: true, focusVisible: false });
  dragged = null;
});
document.addEventListener("pointercancel", () => (dragged = null));

// Pictures that replace the edited one.

function view(card, radio) {
  const after = card.querySelector(".after");
  const picture = after.querySelector("img");
  picture.dataset.edited ??= picture.src;
  picture.src = radio.dataset.src ?? picture.dataset.edited;
  after.querySelector("figcaption").textContent = radio.dataset.label;
  card.querySelectorAll("input[type=range]").forEach(slide);
}

// Heatmaps. The frame shows the heatmap of the word under the pointer or with the focus, else of the pressed
// word.

function showMap(word) {
  const card = word.closest(".card");
  const side = word.closest(".prompt").dataset.side;
  const edited = card.querySelector("input[type=radio]");
  if (side === "after" && edited && !edited.checked) {
    edited.checked = true;
    view(card, edited);
  }
  const frame = card.querySelector(".frame");
  const figure = frame.querySelector(`.${side}`);
  hideMap(card);
  const map = document.createElement("img");
  map.className = "heat";
  map.alt = `Heatmap of "${word.textContent}"`;
  map.src = word.dataset.map;
  figure.append(map);
  frame.dataset.only = side;
}

function hideMap(card) {
  card.querySelector(".heat")?.remove();
  delete card.querySelector(".frame").dataset.only;
}

// Shows the heatmap of the pressed word again, if there is one.
function restoreMap(card) {
  const pressed = card.querySelector(".word[aria-pressed=true]");
  if (pressed) showMap(pressed);
  else hideMap(card);
}

function press(word) {
  const card = word.closest(".card");
  const was = word.ariaPressed === "true";
  for (const other of card.querySelectorAll(".word")) other.ariaPressed = "false";
  word.ariaPressed = String(!was);
  restoreMap(card);
}

const wordOf = (event) => event.target.closest?.(".word");
const enter = (event) => wordOf(event) && event.pointerType !== "touch" && showMap(wordOf(event));
const leave = (event) => wordOf(event) && restoreMap(wordOf(event).closest(".card"));
document.addEventListener("pointerover", enter);
document.addEventListener("pointerout", leave);
document.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && enter(event));
document.addEventListener("focusout", leave);

// The tab key stops once in each prompt. The arrow keys move between its words.
function walk(event) {
  const words = [...event.target.closest(".prompt").querySelectorAll(".word")];
  const at = words.indexOf(event.target);
  const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: words.length - 1 }[event.key];
  if (event.key === "Escape") {
    for (const word of event.target.closest(".card").querySelectorAll(".word")) word.ariaPressed = "false";
    hideMap(event.target.closest(".card"));
  }
  if (!words[next]) return;
  event.preventDefault();
  words[at].tabIndex = -1;
  words[next].tabIndex = 0;
  words[next].focus();
}

document.addEventListener("keydown", (event) => wordOf(event) && walk(event));

// Copying commands.

async function copy(button) {
  const command = document.getElementById(button.dataset.copies);
  let copied = true;
  try {
    await navigator.clipboard.writeText(command.textContent);
  } catch {
    copied = copyBySelection(command.textContent);
  }
  const label = button.textContent;
  button.textContent = copied ? "Copied" : "Select it below";
  button.closest(".card").querySelector("details").open ||= !copied;
  setTimeout(() => (button.textContent = "Copy command"), 1500);
}

// The fallback for browsers that deny local files the clipboard.
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}

document.addEventListener("click", (event) => {
  const word = wordOf(event);
  const button = event.target.closest("[data-copies]");
  if (word) press(word);
  if (button) copy(button);
});
document.addEventListener("input", (event) => {
  if (event.target.matches(".frame input")) slide(event.target);
});
document.addEventListener("change", (event) => {
  if (event.target.matches(".views input")) view(event.target.closest(".card"), event.target);
});

// Filters and sorting.

const number = (text) => (text === undefined || text === "" ? null : Number(text));

// Parses "3", "1, 5" or "0..7". An empty field matches every seed.
function seeds(text) {
  const parts = text.split(/[\s,]+/).filter(Boolean);
  const part = (part) => {
    const [from, to = from] = part.split(/\.\.|-/).map((n) => (/^\d+$/.test(n) ? BigInt(n) : null));
    return (seed) => from !== null && to !== null && from <= seed && seed <= to;
  };
  const tests = parts.map(part);
  return (seed) => tests.length === 0 || tests.some((test) => test(seed));
}

const collator = new Intl.Collator(undefined, { numeric: true });
const facts = new Map(
  cards.map((card, place) => [
    card,
    {
      place,
      text: card.textContent.toLowerCase(),
      prompt: card.dataset.prompt,
      seed: BigInt(card.dataset.seed),
      inside: number(card.dataset.inside),
      outside: number(card.dataset.outside),
    },
  ]),
);

// Cards without a value come last in both directions.
const by = (key, sign) => (a, b) => {
  if (a[key] === null || b[key] === null) return (a[key] === null) - (b[key] === null);
  return sign * (a[key] - b[key]);
};
const orders = {
  place: () => 0,
  prompt: (a, b) => collator.compare(a.prompt, b.prompt),
  seed: (a, b) => (a.seed < b.seed ? -1 : Number(a.seed > b.seed)),
  "inside-most": by("inside", -1),
  "inside-least": by("inside", 1),
  "outside-least": by("outside", 1),
  "outside-most": by("outside", -1),
};

function filter() {
  const { find, seed, inside, outside } = Object.fromEntries(new FormData(bar));
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const seedMatches = seeds(seed);
  const [least, most] = [number(inside), number(outside)];
  let shown = 0;
  for (const [card, fact] of facts) {
    const matches =
      words.every((word) => fact.text.includes(word)) &&
      seedMatches(fact.seed) &&
      (least === null || (fact.inside !== null && fact.inside >= least)) &&
      (most === null || (fact.outside !== null && fact.outside <= most));
    card.hidden = !matches;
    shown += matches;
  }
  document.getElementById("count").textContent = `${shown} of ${cards.length}`;
  document.getElementById("none").hidden = shown > 0;
}

function sort() {
  const order = orders[bar.elements.sort.value];
  const sorted = [...cards].sort((a, b) => {
    const [x, y] = [facts.get(a), facts.get(b)];
    return order(x, y) || x.place - y.place;
  });
  document.getElementById("cards").append(...sorted);
}

function size() {
  page.style.setProperty("--column", `${bar.elements.size.value}rem`);
}

if (bar) {
  bar.hidden = false;
  const refine = document.getElementById("refine");
  const more = document.getElementById("more");
  more.addEventListener("click", () => {
    more.ariaExpanded = String(refine.classList.toggle("open"));
  });
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.addEventListener("input", (event) => {
    if (event.target.name === "sort") sort();
    else if (event.target.name === "size") size();
    else filter();
  });
  // The fields are cleared only after the event.
  bar.addEventListener("reset", () => setTimeout(() => [filter(), sort(), size()]));
  // Browsers restore the fields when the page is reloaded.
  filter();
  sort();
  size();
}
