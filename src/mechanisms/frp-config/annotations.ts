import type { StringMap } from '../../protocols/frp/index.ts'

/** Bytes of all keys and values together, as frp has it. */
const MAX_BYTES = 256 * 1024

const namePart = /^(?:[A-Za-z0-9][\w.-]*)?[A-Za-z0-9]$/
const label = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?'
const prefixPart = new RegExp(String.raw`^${label}(?:\.${label})*$`)

/** What is wrong with annotations of a proxy: keys are qualified names as Kubernetes has them. */
export function annotationProblems(annotations: StringMap): string[] {
  const problems = Object.keys(annotations).flatMap((key) => {
    const wrong = wrongKey(key.toLowerCase())
    return wrong === undefined ? [] : [`annotation key ${key} is invalid: ${wrong}`]
  })
  const bytes = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  )
  return bytes > MAX_BYTES
    ? [...problems, `annotations size ${bytes} is larger than limit ${MAX_BYTES}`]
    : problems
}

function wrongKey(key: string): string | undefined {
  const parts = key.split('/')
  const name = parts.at(-1) ?? ''
  const prefix = parts.length === 2 ? parts[0] : undefined
  if (parts.length > 2) return 'must be a name, with a DNS domain and "/" in front if need be'
  if (prefix !== undefined && (prefix.length > 253 || !prefixPart.test(prefix)))
    return 'what stands before "/" must be a DNS domain'
  if (name.length > 63) return 'the name must not be longer than 63 characters'
  if (!namePart.test(name)) {
    return 'the name must consist of letters, digits, "-", "_" and ".", and begin and end with a letter or a digit'
  }
  return undefined
}
