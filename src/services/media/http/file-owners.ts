import type { ResponseHead } from '../../../protocols/http/index.ts'

/** Headers that no live body has. */
const OF_FILES = new Set(['content-length', 'content-range', 'accept-ranges', 'etag', 'last-modified'])
/** Parts of a name behind that of its stream: `s-33.ts`, `s.1700000000.flv`. */
const CUTS = /[-_.]/
const MAX_OWNERS = 8

/** Whether an answer is a file of the origin's, and no stream. */
export function isFile({ status, headers }: ResponseHead): boolean {
  if (status !== 200 && status !== 206 && status !== 304) return false
  return headers.some(({ name }) => OF_FILES.has(name.toLowerCase()))
}

/**
 * Paths of the streams that a file may have been made of: SRS names segments and recordings after them. Nearest first, the
 * directory last; without ending.
 */
export function fileOwners(pathname: string): readonly string[] {
  const slash = pathname.lastIndexOf('/')
  const plain = pathname.replace(/\.[^./]*$/, '')
  const owners: string[] = []
  for (let at = plain.length - 1; at > slash + 1 && owners.length < MAX_OWNERS; at--) {
    if (CUTS.test(plain[at] ?? '')) owners.push(plain.slice(0, at))
  }
  return [...owners, pathname.slice(0, slash)]
}
