/** What stands before the first `?`, and what behind it. */
export function splitQuery(text: string): readonly [plain: string, query: string] {
  const at = text.indexOf('?')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

/** Queries one behind the other; who looks for a parameter finds the first. */
export function joinQueries(...queries: readonly string[]): string {
  return queries.filter((query) => query !== '').join('&')
}
