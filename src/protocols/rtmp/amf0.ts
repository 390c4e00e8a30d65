import { ByteReader, ByteWriter } from '../../foundation/bytes.ts'
import type { Side } from '../../foundation/errors.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'

/**
 * One AMF0 value ("Action Message Format -- AMF 0", Adobe). Types that JavaScript has are JavaScript
 * values; the rest carry a `kind`. Objects are ordered lists of entries, so that order and keys found
 * twice survive, and what was decoded encodes to the same bytes. (Text that is not UTF-8 does not survive:
 * whoever must pass it on unchanged passes the bytes on.)
 */
export type Amf0Value =
  | number
  | boolean
  | string
  | null
  | undefined
  | Amf0Object
  | Amf0EcmaArray
  | readonly Amf0Value[]
  | Amf0Date
  | Amf0LongText
  | { readonly kind: 'unsupported' }

export type Amf0Entry = readonly [key: string, value: Amf0Value]

/** An anonymous object, or with a class name a typed object. */
export interface Amf0Object {
  readonly kind: 'object'
  readonly className?: string
  readonly entries: readonly Amf0Entry[]
}

/** An object with a count in front, which many writers get wrong and which is kept as it was found. */
export interface Amf0EcmaArray {
  readonly kind: 'ecma-array'
  readonly count: number
  readonly entries: readonly Amf0Entry[]
}

/** A point in time in milliseconds since the Unix epoch, and a time zone field that should be 0. */
export interface Amf0Date {
  readonly kind: 'date'
  readonly timeMs: number
  readonly timeZone: number
}

/** Text behind a 4-byte length. A JavaScript string of more than 65,535 bytes is written as one, too. */
export interface Amf0LongText {
  readonly kind: 'long-string' | 'xml'
  readonly text: string
}

/** The most that a decoder takes from one message. */
export interface Amf0Options {
  /** Objects and arrays inside one another. @defaultValue 16 */
  readonly maxDepth?: number
  /** Values in all, those inside objects and arrays counted. @defaultValue 4096 */
  readonly maxValues?: number
  /** Who wrote the bytes, and is to blame when they are wrong. @defaultValue 'client' */
  readonly side?: Side
}

const defaultOptions: Required<Amf0Options> = { maxDepth: 16, maxValues: 4096, side: 'client' }

/** An object of the given properties, in their order. */
export function amf0Object(properties: Readonly<Record<string, Amf0Value>>): Amf0Object {
  return { kind: 'object', entries: Object.entries(properties) }
}

/** A property of an object or ECMA array; the last one where a key is found twice; else undefined. */
export function amf0Property(value: Amf0Value, key: string): Amf0Value {
  if (!hasEntries(value)) return undefined
  return value.entries.findLast(([name]) => name === key)?.[1]
}

/** A property that is text, else undefined. */
export function amf0Text(value: Amf0Value, key: string): string | undefined {
  const property = amf0Property(value, key)
  if (typeof property === 'string') return property
  return isLongText(property) ? property.text : undefined
}

/**
 * All values of a message, one after another.
 * @throws RTMP_AMF0_MALFORMED for truncated bytes, unknown types, references, and beyond the limits
 */
export function decodeAmf0(bytes: Uint8Array, options: Amf0Options = {}): Amf0Value[] {
  const decoder = new Amf0Decoder(bytes, options)
  const values: Amf0Value[] = []
  while (!decoder.isDone) values.push(decoder.next())
  return values
}

/** The bytes of the values, one after another. */
export function encodeAmf0(...values: readonly Amf0Value[]): Buffer {
  const writer = new ByteWriter()
  for (const value of values) writeValue(writer, value)
  return writer.finish()
}

/** Takes one value after another out of a message. */
export class Amf0Decoder {
  readonly #reader: ByteReader
  readonly #maxDepth: number
  readonly #side: Side
  #valuesLeft: number

  constructor(bytes: Uint8Array, options: Amf0Options = {}) {
    const { maxDepth, maxValues, side } = { ...defaultOptions, ...options }
    this.#reader = new ByteReader(bytes)
    this.#maxDepth = maxDepth
    this.#side = side
    this.#valuesLeft = maxValues
  }

  /** Where the next value starts. */
  get offset(): number {
    return this.#reader.offset
  }

  get isDone(): boolean {
    return this.#reader.remaining === 0
  }

  /** @throws RTMP_AMF0_MALFORMED */
  next(): Amf0Value {
    return this.#value(0)
  }

  #value(depth: number, marker: number = this.#reader.u8()): Amf0Value {
    if (--this.#valuesLeft < 0) throw this.#invalid('too many values')
    if (isNesting(marker) && depth >= this.#maxDepth) throw this.#invalid('nested too deep')
    const value = this.#body(marker, depth)
    if (this.#reader.failed) throw this.#invalid('truncated')
    return value
  }

  #body(marker: number, depth: number): Amf0Value {
    const reader = this.#reader
    switch (marker) {
      case Marker.number:
        return reader.f64()
      case Marker.boolean:
        return reader.u8() !== 0
      case Marker.string:
        return this.#text(reader.u16())
      case Marker.object:
        return { kind: 'object', entries: this.#entries(depth) }
      case Marker.null:
        return null
      case Marker.undefined:
        return undefined
      case Marker.ecmaArray: {
        const count = reader.u32()
        return { kind: 'ecma-array', count, entries: this.#entries(depth) }
      }
      case Marker.strictArray:
        return this.#strictArray(depth)
      case Marker.date: {
        const timeMs = reader.f64()
        return { kind: 'date', timeMs, timeZone: reader.u16() }
      }
      case Marker.longString:
        return { kind: 'long-string', text: this.#text(reader.u32()) }
      case Marker.unsupported:
        return { kind: 'unsupported' }
      case Marker.xml:
        return { kind: 'xml', text: this.#text(reader.u32()) }
      case Marker.typedObject: {
        const className = this.#text(reader.u16())
        return { kind: 'object', className, entries: this.#entries(depth) }
      }
      case Marker.reference:
        throw this.#invalid('references are not supported')
      default:
        throw this.#invalid(`unknown type ${marker}`)
    }
  }

  #text(length: number): string {
    const view = this.#reader.bytes(length)
    return Buffer.from(view.buffer, view.byteOffset, view.length).toString('utf8')
  }

  #entries(depth: number): Amf0Entry[] {
    const reader = this.#reader
    const entries: Amf0Entry[] = []
    while (!reader.failed) {
      const key = this.#text(reader.u16())
      const marker = reader.u8()
      if (key === '' && marker === Marker.objectEnd) return entries
      entries.push([key, this.#value(depth + 1, marker)])
    }
    throw this.#invalid('truncated')
  }

  #strictArray(depth: number): Amf0Value[] {
    // The count reserves nothing: the loop ends at the last byte, or at the limit of values.
    const count = this.#reader.u32()
    const values: Amf0Value[] = []
    while (values.length < count) values.push(this.#value(depth + 1))
    return values
  }

  #invalid(reason: string): RtmpError {
    return new RtmpError(RtmpErrorCode.amf0Malformed, `AMF0: ${reason}`, { side: this.#side })
  }
}

const Marker = {
  number: 0,
  boolean: 1,
  string: 2,
  object: 3,
  null: 5,
  undefined: 6,
  reference: 7,
  ecmaArray: 8,
  objectEnd: 9,
  strictArray: 10,
  date: 11,
  longString: 12,
  unsupported: 13,
  xml: 15,
  typedObject: 16,
} as const

function isNesting(marker: number): boolean {
  return (
    marker === Marker.object ||
    marker === Marker.ecmaArray ||
    marker === Marker.strictArray ||
    marker === Marker.typedObject
  )
}

function writeValue(writer: ByteWriter, value: Amf0Value): void {
  if (typeof value === 'number') writer.u8(Marker.number).f64(value)
  else if (typeof value === 'boolean') writer.u8(Marker.boolean).u8(value ? 1 : 0)
  else if (typeof value === 'string') writeString(writer, value)
  else if (value === null) writer.u8(Marker.null)
  else if (value === undefined) writer.u8(Marker.undefined)
  else if (isStrictArray(value)) {
    writer.u8(Marker.strictArray).u32(value.length)
    for (const item of value) writeValue(writer, item)
  } else writeKind(writer, value)
}

function writeKind(writer: ByteWriter, value: Extract<Amf0Value, { readonly kind: string }>): void {
  switch (value.kind) {
    case 'object':
      if (value.className === undefined) writer.u8(Marker.object)
      else writeShortText(writer.u8(Marker.typedObject), value.className)
      writeEntries(writer, value.entries)
      return
    case 'ecma-array':
      writeEntries(writer.u8(Marker.ecmaArray).u32(value.count), value.entries)
      return
    case 'date':
      writer.u8(Marker.date).f64(value.timeMs).u16(value.timeZone)
      return
    case 'long-string':
      writeLongText(writer.u8(Marker.longString), value.text)
      return
    case 'xml':
      writeLongText(writer.u8(Marker.xml), value.text)
      return
    case 'unsupported':
      writer.u8(Marker.unsupported)
  }
}

function writeString(writer: ByteWriter, text: string): void {
  if (Buffer.byteLength(text) > 0xffff) writeLongText(writer.u8(Marker.longString), text)
  else writeShortText(writer.u8(Marker.string), text)
}

function writeShortText(writer: ByteWriter, text: string): void {
  const bytes = Buffer.from(text)
  if (bytes.length > 0xffff)
    throw new RtmpError(RtmpErrorCode.amf0Malformed, 'AMF0: a key above 65535 bytes', { side: 'self' })
  writer.u16(bytes.length).bytes(bytes)
}

function writeLongText(writer: ByteWriter, text: string): void {
  const bytes = Buffer.from(text)
  writer.u32(bytes.length).bytes(bytes)
}

function writeEntries(writer: ByteWriter, entries: readonly Amf0Entry[]): void {
  for (const [key, value] of entries) {
    writeShortText(writer, key)
    writeValue(writer, value)
  }
  writer.u16(0).u8(Marker.objectEnd)
}

/** Whether the value has named properties. */
export function hasEntries(value: Amf0Value): value is Amf0Object | Amf0EcmaArray {
  return isKind(value) && (value.kind === 'object' || value.kind === 'ecma-array')
}

function isLongText(value: Amf0Value): value is Amf0LongText {
  return isKind(value) && (value.kind === 'long-string' || value.kind === 'xml')
}

function isKind(value: Amf0Value): value is Extract<Amf0Value, { readonly kind: string }> {
  return typeof value === 'object' && value !== null && !isStrictArray(value)
}

// `Array.isArray` does not narrow a readonly array out of a union.
function isStrictArray(value: Amf0Value): value is readonly Amf0Value[] {
  return Array.isArray(value)
}
