/** An attribute whose value is a quoted string; positions in the text that was read, without the quotes. */
export interface QuotedAttribute {
  readonly name: string
  readonly start: number
  readonly end: number
}

const QUOTE = 34

/**
 * The quoted attributes of an attribute list (RFC 8216bis §4.2), from `at` to `end`. What stands in quotes is not read, so
 * that a name within a value is none. A list that breaks off, or an unclosed quote, ends it.
 */
export function* quotedAttributes(text: string, at: number, end: number): Generator<QuotedAttribute> {
  while (at < end) {
    const equals = text.indexOf('=', at)
    if (equals === -1 || equals >= end) return
    // Blanks around a name are against the rule, and are seen; players read over them.
    const name = text.slice(at, equals).trim()
    const start = equals + 1
    if (text.charCodeAt(start) === QUOTE && start < end) {
      const close = text.indexOf('"', start + 1)
      if (close === -1 || close >= end) return
      yield { name, start: start + 1, end: close }
      at = close + 1
    } else {
      at = start
    }
    const comma = text.indexOf(',', at)
    if (comma === -1) return
    at = comma + 1
  }
}
