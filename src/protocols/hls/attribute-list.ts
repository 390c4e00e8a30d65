/** An attribute whose value is a quoted string; positions of the value in the list, without the quotes. */
export interface QuotedAttribute {
  readonly name: string
  readonly start: number
  readonly end: number
}

/**
 * The quoted attributes of an attribute list (RFC 8216bis §4.2). What stands in quotes is not read, so that a name within a
 * value is none. A list that breaks off, or an unclosed quote, ends it.
 */
export function* quotedAttributes(list: string): Generator<QuotedAttribute> {
  let at = 0
  for (;;) {
    const equals = list.indexOf('=', at)
    if (equals === -1) return
    // Blanks around a name are against the rule, and are seen; players read over them.
    const name = list.slice(at, equals).trim()
    at = equals + 1
    if (list[at] === '"') {
      const close = list.indexOf('"', at + 1)
      if (close === -1) return
      yield { name, start: at + 1, end: close }
      at = close + 1
    }
    const comma = list.indexOf(',', at)
    if (comma === -1) return
    at = comma + 1
  }
}
