// The page: choose a recording or speak, watch the text come, correct it, take it away.

import { download } from "./captions.js";
import { listen } from "./live.js";
import { transcribe } from "./transcribe.js";
import { drawWave } from "./wave.js";

const $ = (id) => document.getElementById(id);
let recording = null; // the file, or what was spoken
let segments = []; // [{start, end, text}], as corrected
let running = null; // what Stop ends: {stop()}

const headers = () => ($("key").value ? { authorization: `Bearer ${$("key").value}` } : {});

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.slice(parts[0] ? 0 : 1).map((n, i) => (i ? String(n).padStart(2, "0") : n)).join(":");
}

async function loadModels() {
  const answer = await fetch("/v1/models", { headers: headers() });
  if (answer.status === 401) {
    $("key-label").hidden = false;
    say("This server wants a key.");
    return;
  }
  const { data } = await answer.json();
  $("model").replaceChildren(...data.map(({ id }) => new Option(id, id)));
  say("");
}

function choose(file) {
  recording = file;
  $("chosen").textContent = file.name || "what was spoken";
  $("start").disabled = false;
  $("result").hidden = false;
  $("player").src = URL.createObjectURL(file);
  drawWave($("wave"), file, $("player"));
}

function setRunning(task) {
  running = task;
  $("stop").hidden = task === null;
  $("start").hidden = task !== null;
  $("speak").hidden = task !== null;
}

function clear() {
  segments = [];
  $("segments").replaceChildren();
  $("stream").replaceChildren();
  $("downloads").hidden = true;
  $("result").hidden = false;
}

function showSegments() {
  $("stream").replaceChildren();
  $("downloads").hidden = segments.length === 0;
  $("segments").replaceChildren(...segments.map(row));
}

function row(segment) {
  const item = document.createElement("li");
  const time = document.createElement("button");
  time.type = "button";
  time.textContent = clock(segment.start);
  time.title = "listen from here";
  time.addEventListener("click", () => {
    $("player").currentTime = segment.start;
    $("player").play();
  });
  const text = document.createElement("span");
  text.contentEditable = "plaintext-only";
  text.setAttribute("role", "textbox");
  text.setAttribute("aria-label", `Text at ${clock(segment.start)}`);
  text.spellcheck = true;
  text.textContent = segment.text.trim();
  text.addEventListener("input", () => { segment.text = text.textContent; });
  item.append(time, text);
  return item;
}

async function start(event) {
  event.preventDefault();
  if (recording === null || running !== null) return;
  clear();
  const abort = new AbortController();
  setRunning({ stop: () => abort.abort() });
  const began = performance.now();
  say("Sending …");
  try {
    const fields = {
      model: $("model").value,
      language: $("task").value === "transcriptions" ? $("language").value : "",
      vad: $("vad").checked ? "true" : "",
    };
    const done = await transcribe(
      { task: $("task").value, file: recording, fields, headers: headers(), signal: abort.signal },
      (text) => { $("stream").append(text); say("Transcribing …"); },
    );
    segments = done.segments;
    showSegments();
    const took = ((performance.now() - began) / 1000).toFixed(1);
    const language = done.language[0].toUpperCase() + done.language.slice(1);
    say(segments.length ? `${language}, ${clock(done.duration)} in ${took} s` : "No speech was found.");
  } catch (error) {
    say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
  } finally {
    setRunning(null);
  }
}

async function speak() {
  clear();
  say("Waiting for the microphone …");
  try {
    const live = await listen({
      model: $("model").value,
      language: $("language").value,
      key: $("key").value,
      onText: showLive,
      onLevel: () => say("Listening. Speak, then press Stop."),
    });
    setRunning(live);
    const { blob, texts } = await live.ended;
    setRunning(null);
    segments = texts;
    showSegments();
    say(segments.length ? "Done." : "Nothing was said.");
    choose(new File([blob], "spoken.wav", { type: "audio/wav" }));
  } catch (error) {
    setRunning(null);
    say(error.message, true);
  }
}

function showLive(finals, partial) {
  const last = document.createElement("span");
  last.className = "partial";
  last.textContent = partial;
  $("stream").replaceChildren(finals.map((each) => each.text.trim()).join(" "), " ", last);
}

function mark() {
  const at = $("player").currentTime;
  segments.forEach(({ start: from, end }, index) => {
    $("segments").children[index]?.classList.toggle("now", from <= at && at < end);
  });
}

$("file").addEventListener("change", () => $("file").files.length && choose($("file").files[0]));
$("form").addEventListener("submit", start);
$("speak").addEventListener("click", speak);
$("stop").addEventListener("click", () => running?.stop());
$("key").addEventListener("change", loadModels);
$("player").addEventListener("timeupdate", mark);
$("downloads").addEventListener("click", ({ target }) => {
  if (target.dataset.format) download(target.dataset.format, segments, recording?.name ?? "spoken");
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}
loadModels().catch((error) => say(error.message, true));
