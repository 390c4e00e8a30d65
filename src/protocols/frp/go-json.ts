import { FrpError, FrpErrorCode } from './errors.ts'

/**
 * How Go writes and reads a struct as JSON, which is how frp's messages look. Written: fields in order, zeros left out, the
 * keys of maps sorted, `<`, `>`, `&` and two line separators escaped. Read: keys in any case, `null` as nothing, unknown
 * fields passed over, and a value of another type refused.
 */
export interface Struct {
  readonly fields: readonly (readonly [name: string, kind: FieldKind])[]
  readonly byName: ReadonlyMap<string, Field>
}

interface Field {
  readonly name: string
  readonly kind: FieldKind
}

/**
 * What a field holds. `port` is a number of 16 bits; `bytes` is base64; a `Struct` is always written; `unread` is an object
 * that we have no use for: written as `{}`, and not part of what is read; `raw` is left to the caller, and never written.
 */
export type FieldKind =
  | 'string'
  | 'boolean'
  | 'int'
  | 'port'
  | 'strings'
  | 'map'
  | 'bytes'
  | 'unread'
  | 'raw'
  | Struct

/** Fields by their JSON names, in the order of the struct. */
export function struct(kinds: Readonly<Record<string, FieldKind>>): Struct {
  const fields = Object.entries(kinds)
  const byName = new Map<string, Field>()
  for (const [name, kind] of fields) {
    byName.set(name, { name, kind })
    byName.set(foldCase(name), { name, kind })
  }
  return { fields, byName }
}

/**
 * The JSON of a value; fields that are not there count as zero.
 *
 * @throws FrpError FRP_UNWRITABLE for a number that is no integer
 */
export function writeStruct(value: Readonly<Record<string, unknown>>, { fields }: Struct): string {
  let text = ''
  for (const [name, kind] of fields) {
    const written = writeField(value[name], kind, name)
    if (written !== '') text += `${text === '' ? '' : ','}"${name}":${written}`
  }
  return `{${text}}`
}

/** A string as Go's JSON has it. */
export function quote(text: string): string {
  return JSON.stringify(text).replace(escaped, escapeOne)
}

/**
 * The fields of a JSON text, each there with the zero of its kind when it was not in the text.
 *
 * @throws FrpError FRP_MESSAGE_INVALID
 */
export function readStruct(json: Uint8Array, shape: Struct): Record<string, unknown> {
  return readFields(parse(json), shape, '')
}

/**
 * As `readStruct`, of a value that was parsed already.
 *
 * @throws FrpError FRP_MESSAGE_INVALID
 */
export function readFields(value: unknown, shape: Struct, path: string): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const [name, kind] of shape.fields) if (kind !== 'unread') result[name] = zeroOf(kind)
  for (const [key, given] of objectEntries(value, path)) {
    const field = shape.byName.get(key) ?? shape.byName.get(foldCase(key))
    if (field === undefined || given === null) continue
    const read = readField(given, field.kind, path === '' ? field.name : `${path}.${field.name}`)
    if (field.kind !== 'unread') result[field.name] = read
  }
  return result
}

function parse(json: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(json.buffer, json.byteOffset, json.length).toString('utf8'))
  } catch (cause) {
    throw new FrpError(FrpErrorCode.messageInvalid, 'the content of a message is no JSON', { cause })
  }
}

/** Go counts a few letters as the same that `toLowerCase` keeps apart; of those that matter, the long s. */
function foldCase(name: string): string {
  return name.toLowerCase().replaceAll('ſ', 's')
}

function writeField(value: unknown, kind: FieldKind, name: string): string {
  if (typeof kind === 'object') return writeStruct(isRecord(value) ? value : {}, kind)
  switch (kind) {
    case 'string':
      return typeof value === 'string' && value !== '' ? quote(value) : ''
    case 'boolean':
      return value === true ? 'true' : ''
    case 'int':
    case 'port':
      return writeNumber(value, kind, name)
    case 'strings':
      return Array.isArray(value) && value.length > 0 ? `[${value.map(quoteOne).join(',')}]` : ''
    case 'map':
      return isRecord(value) ? writeMap(value) : ''
    case 'bytes':
      return value instanceof Uint8Array && value.length > 0
        ? `"${Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')}"`
        : ''
    case 'unread':
      return '{}'
    case 'raw':
      return ''
    default:
      return kind satisfies never
  }
}

function quoteOne(item: unknown): string {
  return quote(String(item))
}

function writeNumber(value: unknown, kind: 'int' | 'port', name: string): string {
  if (value === undefined || value === 0) return ''
  if (typeof value === 'number' && isOfKind(value, kind)) return String(value)
  throw new FrpError(FrpErrorCode.unwritable, `${name} cannot be ${JSON.stringify(value)}`, { side: 'self' })
}

function writeMap(map: Readonly<Record<string, unknown>>): string {
  const keys = Object.keys(map)
  if (keys.length === 0) return ''
  // By hand, because an object of JavaScript moves keys that look like numbers to the front.
  return `{${keys
    .sort(byUtf8)
    .map((key) => `${quote(key)}:${quoteOne(map[key])}`)
    .join(',')}}`
}

function byUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

const escaped = /[<>&\u2028\u2029]/g

function escapeOne(character: string): string {
  return String.raw`\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function zeroOf(kind: FieldKind): unknown {
  if (typeof kind === 'object') return readFields({}, kind, '')
  switch (kind) {
    case 'string':
      return ''
    case 'boolean':
      return false
    case 'int':
    case 'port':
      return 0
    case 'strings':
      return []
    case 'map':
      return {}
    case 'bytes':
      return Buffer.alloc(0)
    case 'unread':
    case 'raw':
      return undefined
    default:
      return kind satisfies never
  }
}

function readField(value: unknown, kind: FieldKind, path: string): unknown {
  if (typeof kind === 'object') return readFields(value, kind, path)
  switch (kind) {
    case 'string':
      if (typeof value === 'string') return value
      break
    case 'boolean':
      if (typeof value === 'boolean') return value
      break
    case 'int':
    case 'port':
      if (typeof value === 'number' && isOfKind(value, kind)) return value
      break
    case 'strings':
      if (Array.isArray(value)) return value.map((item) => readText(item, path))
      break
    case 'map':
      return Object.fromEntries(objectEntries(value, path).map(([key, item]) => [key, readText(item, path)]))
    case 'bytes':
      return readBytes(value, path)
    case 'unread':
      return objectEntries(value, path)
    case 'raw':
      return value
  }
  throw wrongType(path)
}

/** Go's int64 goes further than our numbers are exact; no field means such a number, so it is refused. */
function isOfKind(value: number, kind: 'int' | 'port'): boolean {
  return kind === 'int'
    ? Number.isSafeInteger(value)
    : Number.isInteger(value) && value >= 0 && value <= 65_535
}

function readText(value: unknown, path: string): string {
  if (value === null) return ''
  if (typeof value === 'string') return value
  throw wrongType(path)
}

function readBytes(value: unknown, path: string): Buffer {
  if (typeof value !== 'string') throw wrongType(path)
  // As Go, which passes over line ends.
  const bytes = readBase64(value.replace(/[\r\n]/g, ''))
  if (bytes === undefined) throw new FrpError(FrpErrorCode.messageInvalid, `${path} is no base64`)
  return bytes
}

/** The bytes of base64 with its padding, in fresh memory; `undefined` for what Go refuses. */
export function readBase64(text: string): Buffer | undefined {
  // Node passes over what is no base64 and knows a second alphabet; a wrong length tells of the first.
  if (text.length % 4 !== 0 || text.includes('-') || text.includes('_')) return undefined
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === (text.length / 4) * 3 - padding ? bytes : undefined
}

function objectEntries(value: unknown, path: string): [string, unknown][] {
  if (value === null) return []
  if (!isRecord(value)) throw wrongType(path)
  return Object.entries(value)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function wrongType(path: string): FrpError {
  return new FrpError(
    FrpErrorCode.messageInvalid,
    path === '' ? 'the content of a message is no JSON object' : `${path} is of another type`,
  )
}
