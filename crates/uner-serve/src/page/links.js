// Copies to the clipboard, and the form as the fragment of a link.

/** Returns whether the text is in the clipboard. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page over plain HTTP has no clipboard: copy a selection instead.
  }
  const focused = document.activeElement;
  const box = document.createElement("textarea");
  box.className = "offscreen";
  box.value = text;
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  focused?.focus();
  return done;
}

/** The form as base64url of JSON. */
export function fragmentOf(form) {
  const bytes = new TextEncoder().encode(JSON.stringify(form));
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Reads what `fragmentOf` wrote. */
export function formOf(fragment) {
  const binary = atob(fragment.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
}
