import type { ManifestUri, PlaylistUriKind } from '../../../../protocols/hls/index.ts'
import type { HlsNames, NameOwner } from './hls-names.ts'
import type { OriginPaths } from './hls-origin-path.ts'
import { credentialsOf, withParameters, withSpbhid } from './hls-query.ts'
import type { HlsRoute } from './hls-routes.ts'
import { authorityOf, type OriginUrl } from '../origin-url.ts'
import type { RequestTarget } from '../request-target.ts'

export interface HlsUrisOptions {
  readonly route: HlsRoute
  readonly paths: OriginPaths
  /** Where the text came from. */
  readonly url: OriginUrl
  /** The Host by which the client knows us. */
  readonly clientHost: string | undefined
  /** What the client asked for to get the text. */
  readonly target: RequestTarget
  /** Undefined while the store of sessions fails. */
  readonly spbhid: string | undefined
  readonly names: HlsNames
  readonly vhost: string
}

/** What leads to further playlists; the rest is media and what belongs to it. */
const PLAYLISTS: ReadonlySet<PlaylistUriKind> = new Set(['variant', 'rendition', 'report'])

/**
 * Decides what stands in a playlist or manifest for the client in place of the origin's URIs, and notes what they name. What
 * lies at the origin comes back to us; what lies elsewhere stays as it is.
 */
export class HlsUris {
  readonly #options: HlsUrisOptions
  readonly #base: string
  /** Where the text is at the origin. */
  readonly #directory: string
  readonly #originHost: string | undefined
  readonly #clientHost: string | undefined
  /** Whether what lies beside the text at the origin lies beside it for the client: not so behind some redirections. */
  readonly #isBeside: boolean
  /** Of a manifest: what its URIs may be relative to, without our looking at which elements are within which. */
  readonly #bases: string[]
  readonly #owner: NameOwner
  #notes = 0

  constructor(options: HlsUrisOptions) {
    this.#options = options
    this.#base = `${options.url.scheme}://${authorityOf(options.url)}${options.url.pathAndQuery}`
    this.#originHost = hostOf(this.#base)
    this.#clientHost = hostOf(`${options.url.scheme}://${options.clientHost ?? ''}`)
    this.#bases = [this.#base]
    const { key, need, playlistPath } = options.route
    this.#owner = { vhost: options.vhost, key, need, playlistPath }
    const there = options.url.pathAndQuery.split('?', 1)[0] ?? ''
    const path = options.paths.toClient(there)
    this.#directory = directoryOf(there)
    this.#isBeside = directoryOf(path) === directoryOf(options.target.pathname)
  }

  /** Notes that the text is served: files named like it are the stream's. */
  notePlaylist(): void {
    this.#options.names.addPlaylist(this.#owner)
  }

  /** For a URI of a playlist. */
  inPlaylist(uri: string, kind: PlaylistUriKind): string | undefined {
    const there = this.#resolve(uri)
    if (there === undefined) return undefined
    const { isAsAsked } = this.#options.paths
    if (PLAYLISTS.has(kind)) {
      // At SRS each playlist names its stream by itself, and carries what it needs in its query.
      if (isAsAsked) {
        if (++this.#notes <= MAX_NOTES) this.#options.names.addVariant(there.path, this.#owner)
        return there.isWritten ? undefined : there.uri
      }
      this.#note(there.path, false)
      return this.#marked(withParameters(there.uri, credentialsOf(this.#options.target.query)))
    }
    this.#note(there.path, COUNTED.has(kind))
    return changed(uri, this.#marked(there.uri))
  }

  /** For a URI of a manifest. Relative ones of SRS stay: their names are those of the stream. */
  inManifest({ uri, kind }: ManifestUri): string | undefined {
    const there = this.#resolve(uri)
    if (there === undefined) return undefined
    if (kind === 'location') {
      const to = this.#options.paths.isAsAsked ? there.uri : this.#marked(there.uri)
      return there.isWritten ? undefined : to
    }
    const isDirectory = kind === 'base' && /\/(?:[?#].*)?$/.test(there.uri)
    if (isDirectory) this.#addBase(uri)
    else this.#noteTemplate(uri)
    const isMarked = !this.#options.paths.isAsAsked && !isDirectory
    return changed(uri, isMarked ? this.#marked(there.uri) : there.uri)
  }

  /** For the Location of a redirection; undefined when it does not lead to the origin. */
  inLocation(location: string): string | undefined {
    const there = this.#resolve(location)
    if (there === undefined) return undefined
    this.#note(there.path, false)
    const isPlain = this.#options.paths.isAsAsked && this.#options.route.kind !== 'segment'
    return isPlain ? there.uri : this.#marked(there.uri)
  }

  /** What a URI of the origin's is to a client; undefined when it leads elsewhere. */
  #resolve(
    uri: string,
  ): { readonly uri: string; readonly path: string; readonly isWritten: boolean } | undefined {
    const plain = PLAIN.exec(uri)
    if (plain !== null && this.#isBeside) {
      const path = this.#options.paths.toClient(this.#directory + (plain[1] ?? ''))
      return { uri, path, isWritten: true }
    }
    const url = parseUrl(Buffer.from(uri, 'latin1').toString(), this.#base)
    if (url === undefined || !/^https?:$/.test(url.protocol)) return undefined
    const isRelative = !/^(?:[a-z][a-z0-9+.-]*:|[\\/]{2})/i.test(uri)
    const rest = url.search + url.hash
    if (!isRelative && url.host === this.#clientHost && url.host !== this.#originHost) {
      // It names us, as an origin does that was told its public address.
      return { uri, path: url.pathname, isWritten: true }
    }
    if (url.host !== this.#originHost) return undefined
    const { paths } = this.#options
    const path = paths.toClient(url.pathname)
    // As it is written, where that leads to the same path from the client's playlist.
    const isBeside = !/^[\\/]|(?:^|\/)\.\.?(?:\/|$)/.test(uri.split(/[?#]/, 1)[0] ?? '')
    const isWritten = this.#isBeside && isRelative && (paths.isAsAsked || isBeside)
    return { uri: isWritten ? uri : templated(path) + rest, path, isWritten }
  }

  #marked(uri: string): string {
    const { route, spbhid } = this.#options
    return spbhid === undefined ? uri : withSpbhid(uri, spbhid, route.need === 'dash')
  }

  #note(path: string, counts: boolean): void {
    if (++this.#notes <= MAX_NOTES) this.#options.names.addPath(path, this.#owner, counts)
  }

  #addBase(uri: string): void {
    const base = parseUrl(uri, this.#base)
    if (base === undefined || base.host !== this.#originHost || this.#bases.length >= MAX_BASES) return
    this.#bases.push(base.href)
  }

  /** Notes the names that a template makes, or the one that it is, below each base that it may belong to. */
  #noteTemplate(uri: string): void {
    const { names, paths } = this.#options
    const dollar = uri.indexOf('$')
    const literal = dollar === -1 ? uri : uri.slice(0, dollar)
    for (const base of this.#bases) {
      if (this.#notes >= MAX_NOTES) return
      const to = parseUrl(literal === '' ? '.' : literal, base)
      if (to === undefined || to.host !== this.#originHost) continue
      const path = paths.toClient(to.pathname)
      if (dollar === -1) this.#note(path, false)
      else if (!path.endsWith('/')) names.addPrefix(path, this.#owner)
      // The directory of the manifest is shared with other streams.
      else if (to.pathname !== this.#directory) this.#note(path, false)
    }
  }
}

/** Most URIs of one text that are remembered. */
const MAX_NOTES = 5000
/** Most bases of a manifest that are followed. */
const MAX_BASES = 16
/** What playlists count on. */
const COUNTED: ReadonlySet<PlaylistUriKind> = new Set(['segment', 'part', 'hint'])

/** What most URIs are: names below, which need no parsing. */
const PLAIN = /^((?:\w[\w.~-]*\/)*\w[\w.~-]*)(?:\?[\w.~&=-]*)?$/

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1)
}

function changed(before: string, after: string): string | undefined {
  return after === before ? undefined : after
}

/** URL keeps `$`, but a template may hold what it escapes: `$Number%05d$`. */
function templated(path: string): string {
  return path.replace(/\$(\w+)%25(0\d+[diuxX])\$/g, '$$$1%$2$$')
}

function hostOf(url: string): string | undefined {
  return parseUrl(url)?.host
}

function parseUrl(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base)
  } catch {
    return undefined
  }
}
