// Show one text at a time, and send what a person does with it. What comes from the server is put in as text alone.

const KEYS = [..."123456789abdefghijklmnopqrtvwxyz"]; // of the labels, in their order; u, s and c are acts
const SHOWN_FILTER = 12; // labels from which on one may look for them by name
const NAME = "understudy-review-name";
const $ = (id) => document.getElementById(id);

let task = null; // the question, the rules and the labels
let person = "";
let view = null; // the text, what was said last, and the progress
let chosen = new Set(); // labels of this text, where it may have several
let busy = false;
let watched = { ms: 0, since: null }; // how long the text has been before the person

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

async function send(act, body = {}) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch(act, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ person, ...body }),
    });
    const said = (answer.headers.get("Content-Type") || "").startsWith("application/json") ? await answer.json() : {};
    if (!answer.ok) throw new Error(said.error || `The server said ${answer.status}.`);
    $("fault").hidden = true;
    show(said);
  } catch (error) {
    const reason = error instanceof TypeError ? "The server cannot be reached: is it still running?" : error.message;
    $("fault").textContent = `Not saved. ${reason}`;
    $("fault").hidden = false;
  } finally {
    busy = false;
  }
}

function show(said) {
  const isNew = !view || !view.text || !said.text || view.text.id !== said.text.id;
  view = said;
  $("entry").hidden = true;
  $("desk").hidden = $("rules").hidden = $("person").hidden = false;
  $("person").textContent = person;
  closeReasons();
  if (isNew) {
    chosen = new Set();
    watched = { ms: 0, since: document.hidden ? null : performance.now() };
    $("filter").value = "";
  }
  showText(said.text);
  showLabels();
  showLast(said.last);
  showProgress(said.progress);
  if (isNew && said.text) {
    $("text").scrollTop = 0;
    $("text").focus({ preventScroll: true });
  }
}

function showText(text) {
  $("text").hidden = $("choices").hidden = $("skip").hidden = $("cannot").hidden = !text;
  $("done").hidden = $("again").hidden = Boolean(text);
  $("context").replaceChildren(...(text ? text.context.map((turn) => element("li", turn, { dir: "auto" })) : []));
  $("words").textContent = text ? text.text : "";
  const { given, wanted } = view.progress;
  $("done").textContent =
    given < wanted ? "No text waits for you: others look at those that are left." : "All texts have their answers.";
}

function matching() {
  const wanted = $("filter").value.trim().toLowerCase();
  return task.labels.filter((label) => label.name.toLowerCase().includes(wanted));
}

function showLabels() {
  $("filter-line").hidden = task.labels.length < SHOWN_FILTER;
  const shown = matching();
  const buttons = shown.map((label) => {
    const key = KEYS[task.labels.indexOf(label)];
    const button = element("button", label.name, { type: "button", title: label.definition });
    if (key) button.prepend(element("kbd", key));
    if (task.is_many) button.setAttribute("aria-pressed", String(chosen.has(label.name)));
    button.addEventListener("click", () => choose(label.name));
    return button;
  });
  $("labels").replaceChildren(...buttons);
  if (task.is_many) showSeveral();
}

function showSeveral() {
  const none = element("button", "None of them", { type: "button" });
  none.prepend(element("kbd", "0"));
  none.addEventListener("click", () => answer([]));
  const save = element("button", "Save ", { type: "button", class: "main" });
  save.append(element("kbd", "Enter"));
  save.disabled = chosen.size === 0;
  save.addEventListener("click", () => answer([...chosen]));
  $("several").replaceChildren(none, save);
}

function showLast(last) {
  $("last").hidden = !last;
  $("undo").disabled = !last;
  if (!last) return;
  const named = (labels) => labels.join(", ") || "none of the labels";
  $("last-words").textContent = last.text;
  $("last-said").textContent = last.labels ? `You: ${named(last.labels)}` : `You cannot say: ${last.reason}`;
  const share = last.teacher_probability === null ? "" : ` (${Math.round(100 * last.teacher_probability)}%)`;
  $("last-teacher").textContent = last.teacher ? `Teacher: ${named(last.teacher)}${share}` : "";
}

function showProgress({ given, wanted, mine, left, seconds_left: seconds }) {
  $("bar").value = wanted ? given / wanted : 1;
  const time = seconds === null ? "" : seconds < 90 ? ` · about ${seconds} s` : ` · about ${Math.round(seconds / 60)} min`;
  const yours = left ? ` · ${left} left for you${time}` : "";
  $("counts").textContent = `${given} of ${wanted} answers · ${mine} by you${yours}`;
}

function choose(name) {
  if (!task.is_many) return answer([name]);
  if (!chosen.delete(name)) chosen.add(name);
  const at = [...$("labels").children].indexOf(document.activeElement);
  showLabels();
  if (at >= 0) $("labels").children[at].focus();
}

function answer(labels, reason = "") {
  if (!view || !view.text || busy) return;
  const seconds = (watched.ms + (watched.since === null ? 0 : performance.now() - watched.since)) / 1000;
  send("answer", { id: view.text.id, labels, reason, seconds });
}

const undo = () => view && view.last && send("undo");
const skip = () => view && view.text && send("skip", { id: view.text.id });

function openReasons() {
  if (!view || !view.text) return;
  $("reasons").hidden = false;
  $("choices").hidden = true;
  $("reason").value = "";
  $("reason").focus();
}

function closeReasons() {
  $("reasons").hidden = true;
  $("choices").hidden = !view || !view.text;
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !task || !view || $("desk").hidden) return;
  if (event.key === "Escape") {
    closeReasons();
    $("text").focus();
    return;
  }
  if (event.target === $("filter") && event.key === "Enter" && matching().length) {
    event.preventDefault();
    choose(matching()[0].name);
  }
  if (event.target instanceof HTMLInputElement) return;
  const key = event.key.toLowerCase();
  const label = task.labels[KEYS.indexOf(key)];
  const acts = { u: undo, s: skip, c: openReasons };
  if (key === "/" && !$("filter-line").hidden) acts["/"] = () => $("filter").focus();
  if (task.is_many && key === "0") acts["0"] = () => answer([]);
  if (task.is_many && key === "enter" && chosen.size && !(event.target instanceof HTMLButtonElement))
    acts.enter = () => answer([...chosen]);
  const act = acts[key] || (label && view.text && $("reasons").hidden ? () => choose(label.name) : null);
  if (!act) return;
  event.preventDefault();
  act();
}

function enter(name) {
  person = name;
  localStorage.setItem(NAME, name);
  send("show");
}

function ask() {
  $("entry").hidden = false;
  $("desk").hidden = $("person").hidden = true;
  $("name").value = person || localStorage.getItem(NAME) || "";
  $("name").focus();
}

function showTask() {
  document.title = `Review: ${task.question}`;
  $("queue").textContent = `${task.queue} (${task.kind})`;
  $("question").textContent = task.question;
  $("rule-list").replaceChildren(...task.rules.map((rule) => element("li", rule)));
  $("definitions").replaceChildren(
    ...task.labels.flatMap(({ name, definition, examples }) => [
      element("dt", name),
      element("dd", definition),
      ...examples.map((example) => element("dd", example, { class: "example" })),
    ]),
  );
  document.querySelector("aside details").open = window.innerWidth > 820;
}

function follow() {
  document.addEventListener("keydown", pressed);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && watched.since !== null) {
      watched = { ms: watched.ms + performance.now() - watched.since, since: null };
    } else if (!document.hidden && watched.since === null) watched.since = performance.now();
  });
  $("entry").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("name").value.trim()) enter($("name").value.trim());
  });
  $("reasons").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("reason").value.trim()) answer(null, $("reason").value.trim());
  });
  $("filter").addEventListener("input", showLabels);
  $("undo").addEventListener("click", undo);
  $("skip").addEventListener("click", skip);
  $("cannot").addEventListener("click", openReasons);
  $("cancel").addEventListener("click", closeReasons);
  $("again").addEventListener("click", () => send("show"));
  $("person").addEventListener("click", ask);
}

task = await (await fetch("task")).json();
showTask();
follow();
if (localStorage.getItem(NAME)) enter(localStorage.getItem(NAME));
else ask();
