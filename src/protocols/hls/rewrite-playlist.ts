import { quotedAttributes } from './attribute-list.ts'
import { type PlaylistUriKind, URI_ATTRIBUTES } from './playlist-uri-kind.ts'

/** Bounds on what is looked at. */
export interface PlaylistLimits {
  /** Most bytes of a playlist. @defaultValue 4194304 */
  readonly maxBytes?: number
  /** Most bytes of one of its lines. @defaultValue 65536 */
  readonly maxLineBytes?: number
  /** Most URIs of a playlist. @defaultValue 50000 */
  readonly maxUris?: number
}

/** What shall stand in place of a URI; undefined: the URI stays as it is. */
export type UriDecision = (uri: string, kind: PlaylistUriKind) => string | undefined

/** A playlist after its URIs were decided on. */
export type PlaylistRewrite =
  | { readonly kind: 'playlist'; readonly bytes: Buffer; readonly isChanged: boolean }
  /** It does not begin like a playlist; nothing was looked at. */
  | { readonly kind: 'no-playlist' }
  /** A bound was passed. */
  | { readonly kind: 'too-large'; readonly reason: string }

const BOM = '\u00ef\u00bb\u00bf'
const HEADER = '#EXTM3U'
const STREAM_INF = 'EXT-X-STREAM-INF'
/** Most characters that variables bring into the URIs of a playlist, which multiply what is read. */
const MAX_FILLED_IN = 1_048_576
const DEFINE = 'EXT-X-DEFINE'
const HASH = 35
const LF = 10

/** Whether bytes begin as every playlist must (RFC 8216bis §4.4.1.1), behind a byte order mark or not. */
export function isPlaylist(bytes: Buffer): boolean {
  const text = bytes.toString('latin1', 0, BOM.length + HEADER.length + 1)
  return /^(?:\u00ef\u00bb\u00bf)?#EXTM3U(?:[\r\n\t ]|$)/.test(text)
}

/**
 * Asks `decide` about every URI of a playlist: lines that are URIs, and the quoted attributes that hold one. Nothing else
 * changes: line ends, comments, unknown tags, blanks around a URI. The URI is given as it stands there (a byte is a
 * character), with the variables of EXT-X-DEFINE filled in; one with a variable from elsewhere is left alone.
 */
export function rewritePlaylist(
  bytes: Buffer,
  decide: UriDecision,
  { maxBytes = 4_194_304, maxLineBytes = 65_536, maxUris = 50_000 }: PlaylistLimits = {},
): PlaylistRewrite {
  if (bytes.length > maxBytes) return { kind: 'too-large', reason: `more than ${maxBytes} bytes` }
  if (!isPlaylist(bytes)) return { kind: 'no-playlist' }
  const rewriter = new Rewriter(bytes.toString('latin1'), decide)
  const { text } = rewriter
  for (let at = 0; at < text.length; ) {
    const lineFeed = text.indexOf('\n', at)
    const next = lineFeed === -1 ? text.length : lineFeed + 1
    if (next - at > maxLineBytes)
      return { kind: 'too-large', reason: `a line of more than ${maxLineBytes} bytes` }
    rewriter.line(at, next)
    if (rewriter.uris > maxUris) return { kind: 'too-large', reason: `more than ${maxUris} URIs` }
    at = next
  }
  const result = rewriter.finish()
  return {
    kind: 'playlist',
    bytes: result === undefined ? bytes : Buffer.from(result, 'latin1'),
    isChanged: result !== undefined,
  }
}

/** Goes over the lines of one playlist. */
class Rewriter {
  readonly text: string
  /** How many were decided on. */
  uris = 0
  readonly #decide: UriDecision
  readonly #variables = new Map<string, string>()
  /** Characters that variables have brought in. */
  #filled = 0
  #isVariantNext = false
  #output = ''
  /** Where the input begins that is not in the output yet. */
  #copied = 0

  constructor(text: string, decide: UriDecision) {
    this.text = text
    this.#decide = decide
  }

  /** Reads one line, from `at` to `next`, where the line after it begins. */
  line(at: number, next: number): void {
    const { text } = this
    if (text.charCodeAt(at) === HASH) return this.#tag(at, next)
    if (at === 0 && text.startsWith(BOM)) return
    let start = at
    let end = next
    while (end > start && isBlank(text.charCodeAt(end - 1))) end--
    while (start < end && isBlank(text.charCodeAt(start))) start++
    // Players read over blanks before a tag, and so do we.
    if (start === end || text.charCodeAt(start) === HASH) return
    this.#uri(start, end, this.#isVariantNext ? 'variant' : 'segment')
    this.#isVariantNext = false
  }

  /** The new text; undefined when nothing changed. */
  finish(): string | undefined {
    return this.#copied === 0 ? undefined : this.#output + this.text.slice(this.#copied)
  }

  #tag(at: number, next: number): void {
    // Cut out first, or a search for what is not in it would go on to the end of the playlist.
    const line = this.text.slice(at, next)
    const colon = line.indexOf(':')
    const name = line.slice(1, Math.max(colon, 0))
    if (name === STREAM_INF) this.#isVariantNext = true
    const list = line.slice(colon + 1)
    if (name === DEFINE) this.#define(list)
    const attribute = URI_ATTRIBUTES.get(name)
    if (attribute === undefined) return
    const offset = at + colon + 1
    for (const { name: key, start, end } of quotedAttributes(list)) {
      if (attribute.names.includes(key) && end > start)
        this.#uri(offset + start, offset + end, attribute.kind)
    }
  }

  #define(list: string): void {
    const values = new Map<string, string>()
    for (const { name, start, end } of quotedAttributes(list)) values.set(name, list.slice(start, end))
    const name = values.get('NAME')
    const value = values.get('VALUE')
    if (name !== undefined && value !== undefined) this.#variables.set(name, value)
  }

  #uri(start: number, end: number, kind: PlaylistUriKind): void {
    this.uris++
    const uri = this.#filledIn(this.text.slice(start, end))
    const decision = uri === undefined ? undefined : this.#decide(uri, kind)
    if (decision === undefined) return
    this.#output += this.text.slice(this.#copied, start) + decision
    this.#copied = end
  }

  /** RFC 8216bis §4.3; undefined when a variable is not defined here, or enough was filled in. */
  #filledIn(uri: string): string | undefined {
    if (!uri.includes('{$')) return uri
    let isWhole = true
    const filled = uri.replace(/\{\$([\w-]+)\}/g, (_, name: string) => {
      const value = this.#variables.get(name)
      this.#filled += value?.length ?? 0
      isWhole &&= value !== undefined && this.#filled <= MAX_FILLED_IN
      return isWhole ? (value ?? '') : ''
    })
    return isWhole ? filled : undefined
  }
}

function isBlank(code: number): boolean {
  return code === LF || code === 13 || code === 9 || code === 32
}
