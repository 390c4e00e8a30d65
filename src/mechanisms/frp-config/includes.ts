import { basename, dirname, join, resolve } from 'node:path'
import { errorMessage } from '../../foundation/errors.ts'
import { FrpConfigError, FrpConfigErrorCode } from './errors.ts'

/** Files that `includes` may name together. */
const MAX_FILES = 10_000

/**
 * The files that `includes` names: folders are taken as written, from the working directory on, the last element may be a
 * pattern with `*`, `?` and `[a-z]`. A pattern that fits no file is no error, as in frp.
 * @throws FrpConfigError FRP_CONFIG_UNREADABLE for a folder that is not there, FRP_CONFIG_INVALID
 */
export async function includedFiles(
  file: string,
  includes: readonly string[],
  listFiles: (folder: string) => Promise<readonly string[]>,
): Promise<string[]> {
  const found: string[] = []
  for (const [index, include] of includes.entries()) {
    const key = `includes[${index}]`
    const folder = resolve(dirname(include))
    const pattern = namePattern(basename(include))
    if (pattern === undefined) {
      throw failure(
        FrpConfigErrorCode.invalid,
        file,
        key,
        `${JSON.stringify(include)} is no pattern: see what stands in [ ]`,
      )
    }
    let names: readonly string[]
    try {
      names = await listFiles(folder)
    } catch (error) {
      const message = `directory of ${include} cannot be read: ${errorMessage(error)}`
      throw failure(FrpConfigErrorCode.unreadable, file, key, message, error)
    }
    found.push(
      ...[...names]
        .sort()
        .filter((name) => pattern(name))
        .map((name) => join(folder, name)),
    )
    if (found.length > MAX_FILES) {
      throw failure(FrpConfigErrorCode.invalid, file, key, `includes name more than ${MAX_FILES} files`)
    }
  }
  return found
}

function failure(
  code: FrpConfigErrorCode,
  file: string,
  key: string,
  message: string,
  cause?: unknown,
): FrpConfigError {
  return new FrpConfigError([{ code, file, key, message }], cause)
}

/** One element of a pattern: any run of characters, or a test for one. */
type Element = '*' | ((character: string) => boolean)

/** The pattern of Go's filepath.Match for one name; undefined if it is none. */
function namePattern(pattern: string): ((name: string) => boolean) | undefined {
  const parts: string[] = pattern.match(/\*+|\?|\[\^?(?:\\.|[^\]\\])+\]|\\.|[^]/gsu) ?? []
  if (parts.includes('[')) return undefined
  try {
    const elements = parts.map(elementOf)
    return (name) => isMatch(elements, Array.from(name))
  } catch {
    return undefined
  }
}

/** @throws SyntaxError for a class such as `[z-a]` */
function elementOf(part: string): Element {
  if (part.startsWith('*')) return '*'
  if (part === '?') return () => true
  if (part.startsWith('[')) {
    const pattern = new RegExp(`^${part}$`, 'su')
    return (character) => pattern.test(character)
  }
  const wanted = part.startsWith('\\') && part.length > 1 ? part.slice(1) : part
  return (character) => character === wanted
}

/** Goes back to the last `*` only, so it takes at most the product of both lengths. */
function isMatch(elements: readonly Element[], name: readonly string[]): boolean {
  let at = 0
  let next = 0
  let star = -1
  let starAt = 0
  while (at < name.length) {
    const element = elements[next]
    if (element === '*') {
      star = next++
      starAt = at
    } else if (element?.(name[at] ?? '') === true) {
      at++
      next++
    } else if (star >= 0) {
      next = star + 1
      at = ++starAt
    } else return false
  }
  return elements.slice(next).every((element) => element === '*')
}
