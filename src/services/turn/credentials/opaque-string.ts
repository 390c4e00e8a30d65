/**
 * Prepares a user name, realm or password as RFC 8265 §4.2 (OpaqueString) says: every space becomes U+0020, then NFC. Case
 * stays. Undefined for what is not allowed: empty texts, controls, unassigned and private code points, lone surrogates,
 * Old Hangul Jamo and what is not seen (RFC 8264 §9). Not checked is where joiners and the like may stand (CONTEXTJ,
 * CONTEXTO): they are let through. What is unassigned is what this Node's Unicode does not know.
 */
export function opaqueString(text: string): string | undefined {
  if (printableAscii.test(text)) return text
  const prepared = text.replaceAll(/\p{Zs}/gu, ' ').normalize('NFC')
  return prepared === '' || disallowed.test(prepared) ? undefined : prepared
}

/** What to tell of a text that `opaqueString` refuses, without the text, which may be a secret. */
export const opaqueStringRefusal = 'is empty or holds a character that RFC 8265 does not allow'

const printableAscii = /^[\u0020-\u007E]+$/

// Default-ignorable but for the joiners U+200C and U+200D, which scripts and emoji need.
const disallowed =
  /[\p{Cc}\p{Cn}\p{Co}\p{Cs}\u1100-\u11FF\uA960-\uA97F\uD7B0-\uD7FF]|(?![\u200C\u200D])\p{Default_Ignorable_Code_Point}/u
