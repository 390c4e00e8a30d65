/**
 * Decodes percent-escapes once; `undefined` when an escape is malformed or the bytes are not UTF-8.
 */
export function percentDecode(text: string): string | undefined {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/**
 * The first value of a query parameter, decoded (`+` is a space). Parameters that hold a `;` or a malformed escape
 * are skipped, as Go does it. `undefined` when there is none.
 */
export function queryParameter(query: string, name: string): string | undefined {
  for (const pair of query.split('&')) {
    if (pair.includes(';')) continue
    const equals = pair.indexOf('=')
    const [key, value] = equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)]
    if (percentDecode(key.replaceAll('+', ' ')) !== name) continue
    const decoded = percentDecode(value.replaceAll('+', ' '))
    if (decoded !== undefined) return decoded
  }
  return undefined
}
