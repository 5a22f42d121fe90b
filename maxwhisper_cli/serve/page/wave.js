// Waveform of a recording, with the place that is heard.

const RATE = 8000;
const MOST_BYTES = 200e6; // what is longer is not drawn: it would be decoded in memory
let resized = null;

/** Draws a recording, and goes where the user clicks. */
export async function drawWave(canvas, file, player) {
  const paint = painter(canvas, player, await peaks(file));
  resized?.disconnect();
  resized = new ResizeObserver(paint); // paints at once, and when it is shown or turned
  resized.observe(canvas);
  player.ontimeupdate = paint;
  canvas.onclick = (event) => {
    const { left, width } = canvas.getBoundingClientRect();
    player.currentTime = ((event.clientX - left) / width) * player.duration;
    paint();
  };
}

async function peaks(file) {
  if (file.size > MOST_BYTES) return [];
  try {
    const context = new OfflineAudioContext(1, 1, RATE);
    const samples = (await context.decodeAudioData(await file.arrayBuffer())).getChannelData(0);
    const size = Math.max(1, Math.ceil(samples.length / 1000));
    return Array.from({ length: Math.ceil(samples.length / size) }, (_, i) =>
      samples.subarray(i * size, (i + 1) * size).reduce((most, x) => Math.max(most, Math.abs(x)), 0));
  } catch {
    return []; // a format that the browser does not play; the server reads more
  }
}

function painter(canvas, player, heights) {
  return () => {
    const style = getComputedStyle(document.documentElement);
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.clientHeight * devicePixelRatio;
    const draw = canvas.getContext("2d");
    const step = canvas.width / Math.max(1, heights.length);
    const heard = player.duration ? (player.currentTime / player.duration) * canvas.width : 0;
    heights.forEach((height, i) => {
      draw.fillStyle = style.getPropertyValue(i * step < heard ? "--accent" : "--faint");
      const tall = Math.max(1, height * canvas.height);
      draw.fillRect(i * step, (canvas.height - tall) / 2, Math.max(1, step * 0.7), tall);
    });
  };
}
