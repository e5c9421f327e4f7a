// Verifies a ticket offline: its Ed25519 signature against the public keys of /.well-known/jwks.json, which are stored on the
// device. Invariant: no claim of a ticket is used before its signature is verified; of its header only the key id and
// the types.

import { syncClock, now } from "../lib/clock.js";

const KEYS_KEY = "marquee.door.keys";
const TYPE = "ticket+jwt";
/** A ticket has some 300 characters; a much longer text is not a ticket. */
const LENGTH_MAX = 2048;

/** Why a ticket is not valid; `code` is a key under `door.no`. */
export class Refusal extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** Fetches the keys and stores them. Returns whether the server answered. */
export async function fetchKeys() {
  try {
    const response = await fetch("/.well-known/jwks.json", { cache: "no-cache" });
    syncClock(response);
    if (!response.ok) return false;
    const { keys } = await response.json();
    localStorage.setItem(KEYS_KEY, JSON.stringify(keys));
    return true;
  } catch {
    return false;
  }
}

/** The stored keys. */
export const keys = () => JSON.parse(localStorage.getItem(KEYS_KEY) ?? "[]");

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
const json = (text) => JSON.parse(new TextDecoder().decode(bytes(text)));

/** The claims of a valid ticket: `{sub, show, seat, type?, exp}`. Otherwise throws a `Refusal`. */
export async function verify(token, at = now()) {
  const parts = token.trim().split(".");
  if (parts.length !== 3 || token.length > LENGTH_MAX) throw new Refusal("unreadable");
  let header;
  let signature;
  try {
    header = json(parts[0]);
    signature = bytes(parts[2]);
  } catch {
    throw new Refusal("unreadable");
  }
  if (header.typ !== TYPE || header.alg !== "EdDSA") throw new Refusal("other");
  const find = () => keys().find((key) => key.kid === header.kid);
  // The key may be newer than the stored ones.
  if (!find()) await fetchKeys();
  const jwk = find();
  if (!jwk) throw new Refusal(keys().length ? "unknown-key" : "no-keys");
  const key = await crypto.subtle.importKey("jwk", { kty: jwk.kty, crv: jwk.crv, x: jwk.x }, { name: "Ed25519" }, false, ["verify"]);
  const isValid = await crypto.subtle.verify("Ed25519", key, signature, new TextEncoder().encode(`${parts[0]}.${parts[1]}`));
  if (!isValid) throw new Refusal("forged");
  const claims = json(parts[1]);
  if (claims.exp * 1000 < at) throw new Refusal("old");
  return claims;
}
