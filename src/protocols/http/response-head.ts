/** One header as it was sent: the name in its own spelling, the value without surrounding white space (latin1). */
export interface HeaderField {
  readonly name: string
  readonly value: string
}

/** The status line and the headers of a final response. */
export interface ResponseHead {
  /** The x of HTTP/1.x. */
  readonly minorVersion: number
  /** 200 to 599. */
  readonly status: number
  readonly reason: string
  readonly headers: readonly HeaderField[]
}

/** How the end of a body is found (RFC 9112 §6.3). */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until-close' }

export interface ResponseHeadOptions {
  /** Most bytes of the head, together with the interim (1xx) heads before it. @defaultValue 65536 */
  readonly maxBytes?: number
  /** Most headers of one head. @defaultValue 200 */
  readonly maxHeaders?: number
}

export type HeadProgress =
  | { readonly kind: 'more' }
  /** `consumed` bytes of the last chunk belong to the head; the rest is the body's. */
  | {
      readonly kind: 'head'
      readonly head: ResponseHead
      readonly framing: BodyFraming
      readonly consumed: number
    }
  | { readonly kind: 'bad'; readonly reason: string }

const MORE: HeadProgress = { kind: 'more' }

/**
 * Reads the head of one response from chunks that are cut anywhere. Interim responses are skipped. Refused is
 * everything on which two readers could disagree where the body ends (RFC 9112 §11.2): bare line feeds, folded
 * lines, white space before a colon, more than one Content-Length, Content-Length beside Transfer-Encoding, and
 * any transfer coding but `chunked`.
 *
 * Give it chunks until it answers something else than `more`; after that it must not be used again.
 */
export class ResponseHeadParser {
  readonly #method: string
  readonly #maxBytes: number
  readonly #maxHeaders: number
  #buffer: Buffer = Buffer.alloc(0)
  #length = 0
  /** Where the head that is being read starts: behind the interim ones. */
  #start = 0

  /** @param method of the request: a HEAD's response has no body */
  constructor(method: string, options: ResponseHeadOptions = {}) {
    this.#method = method
    this.#maxBytes = options.maxBytes ?? 65_536
    this.#maxHeaders = options.maxHeaders ?? 200
  }

  push(chunk: Uint8Array): HeadProgress {
    const before = this.#length
    const taken = Math.min(chunk.length, this.#maxBytes - before)
    this.#append(chunk.subarray(0, taken))
    let searchFrom = Math.max(this.#start, before - END_OF_HEAD.length + 1)
    for (;;) {
      const end = this.#buffer.subarray(0, this.#length).indexOf(END_OF_HEAD, searchFrom)
      if (end === -1) break
      const text = this.#buffer.toString('latin1', this.#start, end)
      this.#start = searchFrom = end + END_OF_HEAD.length
      const head = parseHead(text, this.#maxHeaders)
      if (typeof head === 'string') return { kind: 'bad', reason: head }
      if (head.status === 101) return { kind: 'bad', reason: 'switching protocols was not asked for' }
      if (head.status < 200) continue
      const framing = bodyFraming(head, this.#method)
      if (typeof framing === 'string') return { kind: 'bad', reason: framing }
      return { kind: 'head', head, framing, consumed: this.#start - before }
    }
    if (this.#length >= this.#maxBytes) return { kind: 'bad', reason: `head exceeds ${this.#maxBytes} bytes` }
    return this.#looksLikeHttp() ? MORE : { kind: 'bad', reason: 'not an HTTP response' }
  }

  /** Tells a peer of another protocol at its first bytes, instead of waiting for a blank line. */
  #looksLikeHttp(): boolean {
    const available = Math.min(PROTOCOL.length, this.#length - this.#start)
    return PROTOCOL.compare(this.#buffer, this.#start, this.#start + available, 0, available) === 0
  }

  #append(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(
        Math.min(this.#maxBytes, Math.max(needed, this.#buffer.length * 2, 1024)),
      )
      this.#buffer.copy(grown, 0, 0, this.#length)
      this.#buffer = grown
    }
    this.#buffer.set(bytes, this.#length)
    this.#length = needed
  }
}

const END_OF_HEAD = Buffer.from('\r\n\r\n')
const PROTOCOL = Buffer.from('HTTP/1.')
/** RFC 9112 §4; the blank before an empty reason is often left out. */
const STATUS_LINE = /^HTTP\/1\.(\d) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/
/** RFC 9110 §5.6.2 */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** RFC 9110 §5.5 */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Whether a text may be the name of a header. */
export function isFieldName(text: string): boolean {
  return TOKEN.test(text)
}

/** Whether a text may be the value of a header: no line breaks, no other control characters, latin1. */
export function isFieldValue(text: string): boolean {
  return VALUE.test(text)
}

/** How the body behind a head ends, or the reason why that cannot be said safely. */
export function bodyFraming(head: ResponseHead, method: string): BodyFraming | string {
  let length: string | undefined
  let coding: string | undefined
  for (const { name, value } of head.headers) {
    switch (name.toLowerCase()) {
      case 'content-length':
        if (length !== undefined) return 'more than one Content-Length'
        length = value
        break
      case 'transfer-encoding':
        if (coding !== undefined) return 'more than one Transfer-Encoding'
        coding = value
        break
      default:
    }
  }
  if (length !== undefined && coding !== undefined) return 'Content-Length beside Transfer-Encoding'
  if (length !== undefined && !/^\d{1,15}$/.test(length)) return 'Content-Length is not a number'
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return 'unknown Transfer-Encoding'
  if (method === 'HEAD' || head.status === 204 || head.status === 304) return { kind: 'none' }
  if (coding !== undefined) return { kind: 'chunked' }
  if (length !== undefined) return { kind: 'length', bytes: Number(length) }
  return { kind: 'until-close' }
}

function parseHead(text: string, maxHeaders: number): ResponseHead | string {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const match = STATUS_LINE.exec(statusLine)
  if (!match) return 'bad status line'
  if (lines.length > maxHeaders) return `more than ${maxHeaders} headers`
  const headers: HeaderField[] = []
  for (const line of lines) {
    if (line.startsWith(' ') || line.startsWith('\t')) return 'folded header'
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(0, colon))
    if (!isFieldName(name)) return 'bad header name'
    const value = withoutSurroundingBlanks(line.slice(colon + 1))
    if (!isFieldValue(value)) return 'bad header value'
    headers.push({ name, value })
  }
  return { minorVersion: Number(match[1]), status: Number(match[2]), reason: match[3] ?? '', headers }
}

/** Not by a regular expression: those take time that grows with the square of the blanks within a value. */
function withoutSurroundingBlanks(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text[start])) start++
  while (end > start && isBlank(text[end - 1])) end--
  return text.slice(start, end)
}

function isBlank(character: string | undefined): boolean {
  return character === ' ' || character === '\t'
}
