// Plays the tracks of an item together, sample by sample, with solo and on/off per track. Where a
// track has several versions, all of them play in step, and a switch chooses which is heard.
// Without it, or where a codec is missing, every track keeps the browser's own player.
"use strict";
document.documentElement.classList.add("js");
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
let sounding = null;

for (const medium of document.querySelectorAll(".medium")) {
  const pick = (name) => medium.querySelector(name);
  const tracks = [...medium.querySelectorAll(".track")];
  const mixture = tracks.filter((t) => "mixture" in t.dataset);
  const heard = new Set(mixture.length ? mixture.slice(0, 1) : tracks);
  const length = Number(medium.dataset.seconds), loop = "loop" in medium.dataset;
  const sounds = tracks.flatMap((track) => [...track.querySelectorAll("audio")].map((audio) =>
    ({ track, version: audio.dataset.version, address: audio.querySelector("source").src })));
  const choices = [...medium.querySelectorAll(".versions input")];
  let version = choices.find((c) => c.checked)?.value;
  const [play, seek, time] = [pick(".play"), pick(".seek"), pick(".time")];
  let context, gains, buffers, sources = [], from = 0, began = 0, playing = false;

  const now = () => {
    if (!playing) return from;
    const at = from + context.currentTime - began;
    return loop ? at % length : Math.min(length, at);
  };
  const draw = () => {
    const at = now();
    medium.style.setProperty("--at", length ? at / length : 0);
    seek.value = length ? (1000 * at) / length : 0;
    seek.setAttribute("aria-valuetext", clock(at));
    time.textContent = `${clock(at)} / ${clock(length)}`;
    if (playing && !loop && at >= length) { stop(); from = 0; draw(); }
    if (playing) requestAnimationFrame(draw);
  };
  const mix = () => {
    for (const t of tracks) {
      const on = heard.has(t);
      t.classList.toggle("silent", !on);
      t.querySelector(".on").setAttribute("aria-pressed", on);
      t.querySelector(".solo").setAttribute("aria-pressed", on && heard.size === 1);
    }
    gains?.forEach((gain, i) => {
      const on = heard.has(sounds[i].track) && sounds[i].version === version;
      gain.gain.setTargetAtTime(on ? 1 : 0, context.currentTime, 0.01);
    });
  };
  const stop = () => {
    from = now();
    playing = false;
    sources.forEach((s) => s.stop());
    sources = [];
    play.textContent = "Play";
    if (sounding === stop) sounding = null;
  };
  const decode = ({ address }) => {
    const text = atob(address.split(",")[1]);
    return context.decodeAudioData(Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer);
  };
  const start = async () => {
    context ??= new AudioContext();
    context.resume();
    play.disabled = true;
    try { buffers ??= await Promise.all(sounds.map(decode)); }
    catch { medium.classList.add("plain"); return; }
    finally { play.disabled = false; }
    gains ??= sounds.map(() => {
      const gain = context.createGain();
      gain.gain.value = 0;
      gain.connect(context.destination);
      return gain;
    });
    if (sounding) sounding();
    sounding = stop;
    medium.classList.add("started");
    began = context.currentTime;
    playing = true;
    play.textContent = "Pause";
    sources = buffers.map((buffer, i) => {
      const source = context.createBufferSource();
      source.buffer = buffer;
      source.loop = loop;
      source.loopEnd = Math.min(length, buffer.duration);
      source.connect(gains[i]);
      source.start(0, from);
      return source;
    });
    mix();
    draw();
  };
  const jump = (share) => {
    const again = playing;
    if (again) stop();
    from = Math.max(0, Math.min(1, share)) * length;
    draw();
    if (again) start();
    medium.classList.add("started");
  };
  // The stems add up to the mixture: hearing both would only double it.
  const apart = (track) => heard.forEach((t) => {
    if (mixture.includes(t) !== mixture.includes(track)) heard.delete(t);
  });

  const toggle = () => (playing ? (stop(), draw()) : start());
  play.onclick = toggle;
  for (const choice of choices) choice.onchange = () => { version = choice.value; mix(); };
  medium.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const choice = choices.find((c) => c.dataset.key === e.key.toLowerCase());
    if (choice) { choice.checked = true; choice.onchange(); choice.focus(); }
    // On a button, Space presses that button.
    else if (e.key === " " && e.target.tagName === "INPUT") { e.preventDefault(); toggle(); }
  });
  seek.oninput = () => jump(seek.value / 1000);
  for (const track of tracks) {
    const picture = track.querySelector(".spectrogram");
    picture.onclick = (e) => jump(e.offsetX / picture.clientWidth);
    track.querySelector(".on").onclick = () => {
      medium.classList.add("started");
      heard.has(track) ? heard.delete(track) : (apart(track), heard.add(track));
      mix();
    };
    track.querySelector(".solo").onclick = () => {
      medium.classList.add("started");
      const alone = heard.size === 1 && heard.has(track);
      heard.clear();
      (alone ? (mixture.length ? mixture.slice(0, 1) : tracks) : [track]).forEach((t) => heard.add(t));
      mix();
    };
  }
  mix();
}
