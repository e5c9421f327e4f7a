// A short sound for each kind of answer, so that an usher need not look. Browsers allow sound only after a click or a key.

/** Tones in Hz and their lengths in seconds: up is good, down is bad, even means to look. */
const MELODIES = {
  good: [[880, 0.08], [1320, 0.12]],
  unsure: [[880, 0.08], [1320, 0.08], [880, 0.12]],
  again: [[440, 0.1], [440, 0.1]],
  warn: [[520, 0.1], [390, 0.16]],
  bad: [[220, 0.18], [160, 0.3]],
};
const VOLUME = 0.2;
/** Silence between two tones, in seconds. */
const PAUSE = 0.04;
/** A tone fades in and out within this time (s), so that it does not click. */
const FADE = 0.01;

let context;

/** Plays the sound of an answer. */
export function play(kind) {
  const melody = MELODIES[kind];
  if (!melody || !globalThis.AudioContext || !navigator.userActivation?.hasBeenActive) return;
  context ??= new AudioContext();
  context.resume();
  let at = context.currentTime;
  for (const [frequency, length] of melody) {
    const tone = new OscillatorNode(context, { type: "triangle", frequency });
    const volume = new GainNode(context, { gain: 0 });
    volume.gain.linearRampToValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(VOLUME, at + FADE);
    volume.gain.setValueAtTime(VOLUME, at + length - FADE);
    volume.gain.linearRampToValueAtTime(0, at + length);
    tone.connect(volume).connect(context.destination);
    tone.start(at);
    tone.stop(at + length);
    at += length + PAUSE;
  }
}
