// The page of a field: it asks the API of the same address and shows what comes. What comes is shown as text, never as markup.
"use strict";

const POLL_MS = 300;
const SAMPLES_AT_A_TIME = 48;
const $ = (id) => document.getElementById(id);

// The token comes behind the # of the address, which browsers keep to themselves, and stays until the tab is closed.
const MARK = "#token=";
if (location.hash.startsWith(MARK)) {
  sessionStorage.setItem("token", location.hash.slice(MARK.length));
  history.replaceState(null, "", location.pathname);
}

async function request(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(`/api/${path}`, { ...options, headers });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({ error: response.statusText }));
  throw Object.assign(new Error(error), { status: response.status });
}
const get = async (path) => (await request(path)).json();
const lines = async (path) => (await (await request(path)).text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
const post = async (path, words = {}, body) => (await request(`${path}?${new URLSearchParams(words)}`, { method: "POST", body })).json();

function element(name, text, more = {}) {
  return Object.assign(document.createElement(name), { textContent: text, ...more });
}

// `still`: whether it is still wanted once it has come.
async function show(image, path, still = () => true) {
  const blob = await (await request(path)).blob();
  if (!still()) return;
  const address = URL.createObjectURL(blob);
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = address;
  image.hidden = false;
}

let quiet;
function say(text, bad = false) {
  const said = $("said");
  said.textContent = text;
  said.className = bad ? "bad" : "";
  said.hidden = false;
  clearTimeout(quiet);
  quiet = setTimeout(() => (said.hidden = true), 8000);
}

// Does something that a button asked for, once at a time, and says what went wrong.
async function doing(button, work) {
  if (button) button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (error.status === 401) askForToken();
    else say(error.message, true);
    // The program may have been started anew meanwhile.
    if (error.status === 404) look().catch(() => {});
  } finally {
    if (button) button.disabled = false;
  }
}

function askForToken() {
  document.querySelector("main").hidden = true;
  $("ask-token").hidden = false;
  $("status").textContent = "this field asks for its token";
}

// What the buttons mean: a frame by its number, or the file that was chosen.
let meant = null;
let status = {};

function showAnswer(answer) {
  const scores = $("scores");
  scores.replaceChildren();
  if (answer.error || !answer.label) {
    $("answer").textContent = answer.error || "nothing learned yet: collect some samples, then train";
    return;
  }
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  $("answer").textContent = answer.unknown ? `unknown (nearest: ${answer.label})` : `${answer.label}, ${percent(answer.confidence)}`;
  const best = Object.entries(answer.scores).sort((a, b) => b[1] - a[1]).slice(0, 6);
  for (const [label, score] of best) {
    const row = element("span", "");
    row.append(element("b", label, { title: label }), element("meter", "", { value: score }), element("em", percent(score)));
    scores.append(row);
  }
}

async function live() {
  const answer = await get("live");
  const still = () => !(meant && meant.file) && !$("hold").checked;
  if (!still() || (meant && meant.frame === answer.seq)) return;
  if (answer.seq === null) return showAnswer(answer);
  await show($("frame"), `live/${answer.seq}`, still);
  if (!still()) return;
  meant = { frame: answer.seq };
  $("hold-row").hidden = false;
  showAnswer(answer);
}

let watching = false;
async function watch() {
  if (watching) return;
  watching = true;
  while (status.source && !(meant && meant.file)) {
    if (!document.hidden && !$("hold").checked) {
      try {
        await live();
      } catch (error) {
        if (error.status === 401) break;
        if (error.status !== 404) $("answer").textContent = error.message || "the program does not answer";
      }
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
  watching = false;
}

async function look() {
  status = await get("status");
  document.querySelector("main").hidden = false;
  $("ask-token").hidden = true;
  const counted = Object.entries(status.classes).map(([label, n]) => `${label} ${n}`).join(", ");
  const head = status.version === null ? "no head yet" : `head version ${status.version} (${status.head})`;
  $("status").textContent = `${head}; ${status.samples} samples${counted ? `: ${counted}` : ""}`;
  const labels = [...new Set([...Object.keys(status.classes), ...(status.labels || [])])].sort();
  $("labels").replaceChildren(...labels.map((label) => {
    const button = element("button", label, { type: "button" });
    button.onclick = () => doing(button, () => itIs(label));
    return button;
  }));
  if (!status.source && !meant) $("answer").textContent = "choose a file, or start this with a camera: fieldhead serve --source camera";
  await versions();
  watch();
}

// Says what the frame or the file is: learned at once where there is a head, else collected.
async function itIs(label) {
  if (!meant) return say("there is nothing to name yet", true);
  const what = meant;
  const words = what.file ? { label } : { label, frame: what.frame, start: status.start };
  if (status.version !== null && $("learn").checked) {
    const done = await post("correct", words, what.file);
    say(`learned as ${label}: head version ${done.version}, ${done.ms_learn.toFixed(1)} ms to learn, ${done.ms_commit.toFixed(1)} ms to keep`);
    if (what.file) await ask(what.file);
  } else {
    const done = await post("samples", words, what.file);
    say(`collected as ${label}: sample ${done.id}`);
  }
  $("hold").checked = false;
  await Promise.all([look(), samples()]);
}

async function ask(file) {
  meant = { file };
  $("hold-row").hidden = true;
  $("live-again").hidden = !status.source;
  const image = $("frame");
  image.hidden = !file.type.startsWith("image/");
  if (image.src) URL.revokeObjectURL(image.src);
  if (!image.hidden) image.src = URL.createObjectURL(file);
  if (status.version === null) return showAnswer({});
  showAnswer(await post("predict", {}, file));
}

async function train() {
  $("trained").textContent = "training …";
  let done;
  try {
    done = await post("train");
  } catch (error) {
    $("trained").textContent = "";
    throw error;
  }
  const share = (x) => (100 * x).toFixed(1);
  const cv = done.cv && `held-out balanced accuracy ${share(done.cv.balanced_accuracy)} % (95 %: ${done.cv.balanced_accuracy_95.map(share).join(" to ")}), n = ${done.cv.n}`;
  const needs = done.needs ? `; collect '${done.needs.label}' next: ${done.needs.why}` : "";
  $("trained").textContent = `${done.head} on ${done.n} samples in ${done.ms.toFixed(0)} ms: ${cv || done.cv_refused || "no accuracy to report"}${needs}`;
  await look();
}

async function versions() {
  const all = status.version === null ? [] : await lines("history");
  $("versions").replaceChildren(...all.reverse().slice(0, 12).map((it) => {
    const row = element("tr", "");
    const of = it.sample === null ? it.origin : `${it.origin}, sample ${it.sample}`;
    for (const text of [it.version, it.head, it.n, it.classes, of]) row.append(element("td", text));
    const last = element("td", it.current ? "in use" : "");
    if (!it.current) {
      const button = element("button", "use again", { type: "button" });
      button.onclick = () => doing(button, async () => {
        await post("rollback", { version: it.version });
        await look();
      });
      last.append(button);
    }
    row.append(last);
    return row;
  }));
}

// Pictures are asked for when they come into sight.
const sight = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    show(target, `samples/${target.dataset.id}`).catch(() => (target.alt = "stored without a picture"));
  }
});

let all = [];
async function samples() {
  sight.disconnect();
  const suspect = $("suspect").checked;
  all = await lines(`samples?suspect=${suspect}`);
  if (!suspect) all.reverse();
  $("samples").replaceChildren();
  more();
}

function more() {
  const list = $("samples");
  const from = list.childElementCount;
  for (const it of all.slice(from, from + SAMPLES_AT_A_TIME)) {
    const item = element("li", "");
    const image = element("img", "", { alt: "" });
    image.dataset.id = it.id;
    sight.observe(image);
    const forget = element("button", "forget", { type: "button" });
    forget.onclick = () => doing(forget, async () => {
      if (!confirm(`Forget sample ${it.id} (${it.label})? The head becomes as if it had never been collected.`)) return;
      await post("forget", { sample: it.id });
      all = all.filter((other) => other !== it);
      item.remove();
      await look();
    });
    const rename = element("button", "it is …", { type: "button" });
    rename.onclick = () => doing(rename, async () => {
      const label = prompt(`What is sample ${it.id} really?`, it.likely || it.label);
      if (!label) return;
      await post("correct", { label, sample: it.id });
      await Promise.all([look(), samples()]);
    });
    item.append(image, element("p", `${it.id}: ${it.label}`));
    if (it.reason) item.append(element("p", it.reason));
    item.append(rename, forget);
    list.append(item);
  }
  $("more").hidden = list.childElementCount >= all.length;
}

$("ask-token").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  begin();
};
$("new-label").onsubmit = (event) => {
  event.preventDefault();
  const label = $("label").value.trim();
  if (label) doing(event.submitter, async () => {
    await itIs(label);
    $("label").value = "";
  });
};
$("file").onchange = () => {
  const file = $("file").files[0];
  if (file) doing($("file"), () => ask(file));
};
$("live-again").onclick = () => {
  meant = null;
  $("live-again").hidden = true;
  watch();
};
$("train").onclick = () => doing($("train"), train);
$("more").onclick = more;
$("reload").onclick = () => doing($("reload"), samples);
$("suspect").onchange = () => doing($("suspect"), samples);

const begin = () => doing(null, async () => {
  await look();
  if (status.samples > 0) await samples();
});
begin();
