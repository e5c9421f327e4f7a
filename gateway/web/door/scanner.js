// A hand scanner is a keyboard: it presses the keys of a US keyboard, and a computer that is set to another layout reads other
// letters. `readings` gives the texts that may have been scanned; the signature decides which of them is right.
//
// A ticket has only letters, digits, dots, hyphens and underscores, so only their keys matter. A British layout has all of them
// in the same places.

/** What a key gives on each layout, for each letter that it has on a US keyboard. */
const LAYOUTS = {
  german: keys("yzYZ-_", "zyZYß?"),
  swiss: keys("yzYZ-_", "zyZY'?"),
  // Also Spanish and Portuguese.
  italian: keys("-_", "'?"),
  nordic: keys("-_", "+?"),
  french: keys("aqwzmAQWZM1234567890-_.", "qazw,QAZW?&é\"'(-è_çà)°:"),
  belgian: keys("aqwzmAQWZM1234567890-_.", "qazw,QAZW?&é\"'(§è!çà)°:"),
};

function keys(us, typed) {
  return new Map([...typed].map((letter, at) => [letter, us[at]]));
}

/** The text as it is, and as it was if the computer has one of the other layouts; without those that no ticket can be. */
export function readings(text) {
  const others = Object.values(LAYOUTS).map((layout) => [...text].map((letter) => layout.get(letter) ?? letter).join(""));
  return [...new Set([text, ...others])].filter((reading) => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(reading));
}
