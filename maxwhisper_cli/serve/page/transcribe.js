// One request for a recording, whose text comes as server-sent events.

/**
 * Sends a recording and reads its transcript.
 * @returns {Promise<{segments: object[], language: string, duration: number}>}
 */
export async function transcribe({ task, file, fields, headers, signal }, onText) {
  const form = new FormData();
  form.append("file", file);
  form.append("stream", "true");
  form.append("response_format", "verbose_json");
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  const answer = await fetch(`/v1/audio/${task}`, { method: "POST", body: form, headers, signal });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  for await (const event of events(answer.body)) {
    if (event.error) throw new Error(event.error.message);
    if (event.type === "transcript.text.delta") onText(event.delta);
    if (event.type === "transcript.text.done") return event;
  }
  throw new Error("the connection ended before the transcript");
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.startsWith("data: ") ? block.slice(6) : "[DONE]";
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}
