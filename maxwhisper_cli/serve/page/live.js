// Speech into the server's realtime socket, as OpenAI's clients send it, and its words.

const RATE = 24000;
const UNSENT_KEY = "For live speech a browser sends keys of letters, digits, - . _ and ~ alone.";

/**
 * Listens to the microphone until `stop` is called.
 * @returns {Promise<{stop: function, ended: Promise<{blob: Blob, texts: object[]}>}>}
 */
export async function listen({ model, language, key, onText, onLevel }) {
  if (/[^\w.~-]/.test(key)) throw new Error(UNSENT_KEY);
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext({ sampleRate: RATE });
  await context.audioWorklet.addModule("/static/worklet.js");
  const source = new AudioWorkletNode(context, "pcm");
  const socket = open(key);
  const blocks = [];
  const texts = new Texts(onText);
  const ended = new Promise((resolve, reject) => {
    socket.onerror = () => reject(new Error("the server does not take live speech"));
    socket.onmessage = ({ data }) => texts.take(JSON.parse(data), reject);
    socket.onclose = () => resolve({ blob: wav(blocks), texts: texts.all });
  });
  ended.catch(() => close(context, microphone));
  await new Promise((resolve, reject) => { socket.onopen = resolve; ended.catch(reject); });
  socket.send(JSON.stringify(session(model, language)));
  source.port.onmessage = ({ data }) => {
    blocks.push(data);
    onLevel();
    const bytes = String.fromCharCode(...new Uint8Array(data.buffer));
    socket.send(JSON.stringify({ type: "input_audio_buffer.append", audio: btoa(bytes) }));
  };
  context.createMediaStreamSource(microphone).connect(source);
  const stop = async () => {
    close(context, microphone);
    socket.send(JSON.stringify({ type: "input_audio_buffer.commit" }));
    await texts.settled();
    socket.close();
  };
  return { stop, ended };
}

function open(key) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const protocols = ["realtime", ...(key ? [`openai-insecure-api-key.${key}`] : [])];
  return new WebSocket(`${scheme}://${location.host}/v1/realtime?intent=transcription`, protocols);
}

const session = (model, language) => ({
  type: "session.update",
  session: {
    type: "transcription",
    audio: {
      input: {
        format: { type: "audio/pcm", rate: RATE },
        transcription: { model, ...(language ? { language } : {}) },
        turn_detection: { type: "server_vad" },
      },
    },
  },
});

function close(context, microphone) {
  for (const track of microphone.getTracks()) track.stop();
  if (context.state !== "closed") context.close();
}

/** Turns by their items, in the order in which they began. */
class Texts {
  constructor(onText) {
    this.turns = new Map();
    this.onText = onText;
    this.onSettled = () => {};
  }

  get all() {
    const turns = [...this.turns.values()].filter(({ text }) => text.trim());
    return turns.map(({ start, end, text }) => ({ start, end, text }));
  }

  take(event, reject) {
    const turn = event.item_id && this.turn(event.item_id);
    if (event.type === "error") reject(new Error(event.error.message));
    else if (event.type.endsWith("speech_started")) turn.start = event.audio_start_ms / 1000;
    else if (event.type.endsWith("speech_stopped")) turn.end = event.audio_end_ms / 1000;
    else if (event.type.endsWith("transcription.delta")) turn.text += event.delta;
    else if (event.type.endsWith("transcription.completed")) Object.assign(turn, { text: event.transcript, isDone: true });
    else if (event.type.endsWith("transcription.failed")) turn.isDone = true;
    const turns = [...this.turns.values()];
    this.onText(turns.filter((each) => each.isDone), turns.filter((each) => !each.isDone).map((each) => each.text).join(" "));
    if (turns.every((each) => each.isDone)) this.onSettled();
  }

  turn(id) {
    if (!this.turns.has(id)) this.turns.set(id, { start: 0, end: 0, text: "", isDone: false });
    return this.turns.get(id);
  }

  /** Waits for the turns that are not done, for ten seconds at most. */
  settled() {
    return new Promise((resolve) => {
      this.onSettled = resolve;
      setTimeout(resolve, [...this.turns.values()].every((each) => each.isDone) ? 1500 : 10000);
    });
  }
}

/** Returns 16-bit samples as a wav file. */
function wav(blocks) {
  const n = blocks.reduce((sum, block) => sum + block.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((c, i) => head.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); head.setUint32(4, 36 + n, true); text(8, "WAVEfmt ");
  head.setUint32(16, 16, true); head.setUint16(20, 1, true); head.setUint16(22, 1, true);
  head.setUint32(24, RATE, true); head.setUint32(28, RATE * 2, true);
  head.setUint16(32, 2, true); head.setUint16(34, 16, true);
  text(36, "data"); head.setUint32(40, n, true);
  return new Blob([head, ...blocks], { type: "audio/wav" });
}
