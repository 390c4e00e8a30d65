/** What a URI of a playlist names. */
export type PlaylistUriKind =
  /** A media playlist that a multivariant playlist offers: behind EXT-X-STREAM-INF, or of I-frames or images. */
  | 'variant'
  /** The media playlist of another rendition: EXT-X-MEDIA. */
  | 'rendition'
  /** The media playlist of another rendition, reported on for low latency: EXT-X-RENDITION-REPORT. */
  | 'report'
  | 'segment'
  /** The initialization section: EXT-X-MAP. */
  | 'map'
  /** EXT-X-KEY and EXT-X-SESSION-KEY. */
  | 'key'
  /** A partial segment: EXT-X-PART. */
  | 'part'
  /** What will be there soon: EXT-X-PRELOAD-HINT. */
  | 'hint'
  /** Data beside the media: EXT-X-SESSION-DATA, EXT-X-CONTENT-STEERING, assets of EXT-X-DATERANGE. */
  | 'data'

/** An attribute that holds a URI in quotes. */
interface UriAttribute {
  readonly kind: PlaylistUriKind
  readonly names: readonly string[]
}

const URI = ['URI']

/** The tags with URIs in their attributes, by name without `#`. */
export const URI_ATTRIBUTES: ReadonlyMap<string, UriAttribute> = new Map<string, UriAttribute>([
  ['EXT-X-MAP', { kind: 'map', names: URI }],
  ['EXT-X-KEY', { kind: 'key', names: URI }],
  ['EXT-X-SESSION-KEY', { kind: 'key', names: URI }],
  ['EXT-X-PART', { kind: 'part', names: URI }],
  ['EXT-X-PRELOAD-HINT', { kind: 'hint', names: URI }],
  ['EXT-X-RENDITION-REPORT', { kind: 'report', names: URI }],
  ['EXT-X-MEDIA', { kind: 'rendition', names: URI }],
  ['EXT-X-I-FRAME-STREAM-INF', { kind: 'variant', names: URI }],
  ['EXT-X-IMAGE-STREAM-INF', { kind: 'variant', names: URI }],
  ['EXT-X-SESSION-DATA', { kind: 'data', names: URI }],
  ['EXT-X-CONTENT-STEERING', { kind: 'data', names: ['SERVER-URI'] }],
  ['EXT-X-DATERANGE', { kind: 'data', names: ['X-ASSET-URI', 'X-ASSET-LIST'] }],
])
