// Corrected segments as files.

const clock = (seconds, mark) => {
  const ms = Math.round(seconds * 1000);
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  const rest = String(ms % 1000).padStart(3, "0");
  return `${two(ms / 3600000)}:${two((ms / 60000) % 60)}:${two((ms / 1000) % 60)}${mark}${rest}`;
};
const cue = (each, mark) => `${clock(each.start, mark)} --> ${clock(each.end, mark)}`;
const line = (text) => text.trim().replaceAll("-->", "->");
const escaped = (text) => line(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

const formats = {
  srt: (all) => all.map((s, i) => `${i + 1}\n${cue(s, ",")}\n${line(s.text)}\n\n`).join(""),
  vtt: (all) => `WEBVTT\n\n${all.map((s) => `${cue(s, ".")}\n${escaped(s.text)}\n\n`).join("")}`,
  txt: (all) => all.map((s) => `${s.text.trim()}\n`).join(""),
  json: (all) => JSON.stringify(
    { text: all.map((s) => s.text.trim()).join(" "), segments: all }, null, 2),
};

/** Gives the user a file of the segments. */
export function download(format, segments, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([formats[format](segments)], { type: "text/plain" }));
  link.download = `${name.replace(/\.[^.]*$/, "")}.${format}`;
  link.click();
  URL.revokeObjectURL(link.href);
}
