/**
 * Queries as SRS reads them: `=`, `,`, `&&`, `&` and `;` all separate, names and values take turns, the last of a name
 * counts, and nothing is decoded. A query that we read otherwise would make us decide on one stream and SRS serve another.
 */
const SEPARATORS = /[=,;]|&&?/

/** Every text that SRS could take for the vhost of a request with this query. */
export function vhostsAsSrsReads(query: string): readonly string[] {
  // Names and values may get out of step where two queries are joined.
  const texts = query.split(/[=,;&?]/)
  return texts.flatMap((text, index) => {
    const value = text === 'vhost' || text === 'domain' ? texts[index + 1] : undefined
    return value === undefined || value === '' ? [] : [value]
  })
}

/** Whether SRS finds the same value of a parameter in a query, or none, as whoever takes the first behind an `&`. */
export function isReadAlikeBySrs(query: string, name: string): boolean {
  const texts = query.split(SEPARATORS)
  const found = indexOfName(texts, name)
  if (found === -1) return true
  const first = query.split('&').find((pair) => pair.startsWith(`${name}=`))
  return first?.slice(name.length + 1) === (texts[found + 1] ?? '')
}

/** Whether SRS finds a parameter at all: behind a value that holds a separator names are taken for values. */
export function isFoundBySrs(query: string, name: string): boolean {
  return indexOfName(query.split(SEPARATORS), name) !== -1
}

function indexOfName(texts: readonly string[], name: string): number {
  return texts.findLastIndex((text, index) => index % 2 === 0 && text === name)
}
