/** What a URI of a DASH manifest (ISO/IEC 23009-1) names. */
export type ManifestUriKind =
  /** BaseURL: what URIs below it are relative to or, alone in its Representation, the media itself. */
  | 'base'
  /** Media, index or initialization: of a template, a list or a SegmentBase. May hold `$Number$` and the like. */
  | 'segment'
  /** Where the manifest is to be fetched from the next time: Location, PatchLocation. */
  | 'location'

/** A URI of a manifest, its XML escapes taken out. */
export interface ManifestUri {
  readonly uri: string
  readonly kind: ManifestUriKind
}

/** A manifest after its URIs were decided on. */
export interface ManifestRewrite {
  readonly bytes: Buffer
  readonly isChanged: boolean
}

/** Elements whose text is a URI. */
const TEXT_URIS: ReadonlyMap<string, ManifestUriKind> = new Map([
  ['BaseURL', 'base'],
  ['Location', 'location'],
  ['PatchLocation', 'location'],
])

/** Attributes that hold the URI of a segment, by element. */
const ATTRIBUTE_URIS: ReadonlyMap<string, readonly string[]> = new Map([
  ['SegmentTemplate', ['media', 'initialization', 'index', 'bitstreamSwitching']],
  ['SegmentURL', ['media', 'index']],
  ['Initialization', ['sourceURL']],
  ['RepresentationIndex', ['sourceURL']],
  ['BitstreamSwitching', ['sourceURL']],
])

/** What is not an element: read over as a whole. */
const OPAQUE: readonly (readonly [string, string])[] = [
  ['<!--', '-->'],
  ['<![CDATA[', ']]>'],
  ['<?', '?>'],
  ['<!', '>'],
]

/**
 * Asks `decide` about every URI of a manifest; everything else stays byte for byte. No XML is checked: a scanner finds the
 * few elements and attributes that hold URIs, reads over comments and CDATA, and stops where a tag does not end.
 */
export function rewriteManifest(
  bytes: Buffer,
  decide: (uri: ManifestUri) => string | undefined,
): ManifestRewrite {
  const text = bytes.toString('latin1')
  let output = ''
  let copied = 0
  for (const { start, end, kind } of manifestUris(text)) {
    const uri = withoutEscapes(text.slice(start, end))
    const decision = decide({ uri, kind })
    if (decision === undefined) continue
    output += text.slice(copied, start) + withEscapes(decision)
    copied = end
  }
  if (copied === 0) return { bytes, isChanged: false }
  return { bytes: Buffer.from(output + text.slice(copied), 'latin1'), isChanged: true }
}

interface Found {
  readonly start: number
  readonly end: number
  readonly kind: ManifestUriKind
}

function* manifestUris(text: string): Generator<Found> {
  for (let at = text.indexOf('<'); at !== -1; at = text.indexOf('<', at)) {
    const opaque = OPAQUE.find(([begin]) => text.startsWith(begin, at))
    if (opaque !== undefined) {
      const end = text.indexOf(opaque[1], at + opaque[0].length)
      if (end === -1) return
      at = end + opaque[1].length
      continue
    }
    const end = endOfTag(text, at)
    if (end === -1) return
    const name = localName(text, at + 1)
    const attributes = ATTRIBUTE_URIS.get(name)
    if (attributes !== undefined) yield* attributeUris(text, at, end, attributes)
    const kind = TEXT_URIS.get(name)
    if (kind !== undefined && text[end - 1] !== '/') yield* textUri(text, end + 1, kind)
    at = end + 1
  }
}

/** Where the `>` of a tag is: not within a quoted value. */
function endOfTag(text: string, at: number): number {
  let quote = ''
  for (; at < text.length; at++) {
    const character = text[at] ?? ''
    if (quote !== '') {
      if (character === quote) quote = ''
    } else if (character === '>') {
      return at
    } else if (character === '"' || character === "'") {
      quote = character
    }
  }
  return -1
}

/** The name of an element without the prefix of its namespace; empty for an end tag. */
function localName(text: string, at: number): string {
  const start = at
  let local = at
  for (; at < text.length && /[\w.:-]/.test(text[at] ?? ''); at++) if (text[at] === ':') local = at + 1
  return at === start ? '' : text.slice(local, at)
}

function* attributeUris(text: string, at: number, end: number, names: readonly string[]): Generator<Found> {
  const pattern = /([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/gy
  pattern.lastIndex = at + 1
  // Behind the name of the element.
  while (pattern.lastIndex < end && !/\s/.test(text[pattern.lastIndex] ?? '')) pattern.lastIndex++
  for (;;) {
    while (pattern.lastIndex < end && /\s/.test(text[pattern.lastIndex] ?? '')) pattern.lastIndex++
    const match = pattern.exec(text)
    if (match === null || pattern.lastIndex > end) return
    const valueLength = (match[2] ?? match[3] ?? '').length
    const start = pattern.lastIndex - 1 - valueLength
    if (names.includes(match[1] ?? '') && valueLength > 0)
      yield { start, end: start + valueLength, kind: 'segment' }
  }
}

function* textUri(text: string, at: number, kind: ManifestUriKind): Generator<Found> {
  let end = text.indexOf('<', at)
  if (end === -1) return
  let start = at
  while (start < end && /\s/.test(text[start] ?? '')) start++
  while (end > start && /\s/.test(text[end - 1] ?? '')) end--
  if (end > start) yield { start, end, kind }
}

const ESCAPES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function withoutEscapes(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(/&(amp|lt|gt|quot|apos|#\d{1,3}|#x[\da-f]{1,2});/gi, (whole, name: string) => {
    if (!name.startsWith('#')) return ESCAPES[name] ?? whole
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1))
    return code < 128 ? String.fromCharCode(code) : whole
  })
}

function withEscapes(text: string): string {
  return text.replace(/[&<>"']/g, (character) => {
    const name = Object.keys(ESCAPES).find((name) => ESCAPES[name] === character)
    return `&${name};`
  })
}
