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
        `${JSON.stringify(include)} is no pattern: "[" is not closed`,
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
        .filter((name) => pattern.test(name))
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

/** The pattern of Go's filepath.Match for one name; undefined if it is none. */
function namePattern(pattern: string): RegExp | undefined {
  const parts: string[] = pattern.match(/\*+|\?|\[\^?(?:\\.|[^\]\\])+\]|\\.|[^]/gsu) ?? []
  if (parts.includes('[')) return undefined
  const source = parts.map((part) => {
    if (part.startsWith('*')) return '[^/]*'
    if (part === '?') return '[^/]'
    if (part.startsWith('[') && part.length > 1) return part
    return (part.startsWith('\\') ? part.slice(1) : part).replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`)
  })
  try {
    return new RegExp(`^${source.join('')}$`, 's')
  } catch {
    return undefined
  }
}
