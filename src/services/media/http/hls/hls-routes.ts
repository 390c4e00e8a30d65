import { errorCode } from '../../../../foundation/errors.ts'
import {
  type KeyRules,
  type StreamKey,
  streamKeyOfHttp,
  streamKeyParts,
} from '../../../../mechanisms/balancer/index.ts'
import { isApiPath } from '../api-path.ts'
import { fileOwners } from '../file-owners.ts'
import type { HlsIds } from './hls-ids.ts'
import type { HlsNames, NamedStream } from './hls-names.ts'
import { isOfDash, spbhidOf } from './hls-query.ts'
import type { RequestTarget } from '../request-target.ts'

/** What a request of a player is for. */
export interface HlsRoute extends NamedStream {
  readonly kind: 'playlist' | 'manifest' | 'segment'
  /** The playlist that the stream is named by, not one that it leads to. */
  readonly isTop: boolean
  /** The stream is known from a playlist, by `spbhid` or by name: its viewer was let in for the playlist. */
  readonly isCovered: boolean
  /** The name of the stream is a guess at the path of the segment. */
  readonly isGuess: boolean
  /** The stream whose playlist named this one: they are likely to be at one origin. */
  readonly near?: StreamKey
}

/** Endings of segments that nothing else is served under. */
const SEGMENTS_ONLY = /\.(?:m4s|cmfv|cmfa|cmft)$/i
/** What playlists may name all the same, but pages may not be taken over for. */
const NO_SEGMENTS = /(?:\/|\.(?:html?|m?js|css|json|map|svg|ico|wasm|woff2?|txt|flv))$/i

/** Finds the stream of a request. */
export class HlsRoutes {
  readonly #rules: KeyRules
  readonly #ids: HlsIds
  readonly #names: HlsNames

  constructor(rules: KeyRules, ids: HlsIds, names: HlsNames) {
    this.#rules = rules
    this.#ids = ids
    this.#names = names
  }

  /** Playlists, manifests, what carries an `spbhid`, segments by their ending, and what a playlist named of late. */
  matches(pathname: string, query: string): boolean {
    if (isApiPath(pathname)) return false
    if (kindOf(pathname) !== 'segment' || SEGMENTS_ONLY.test(pathname)) return true
    if (spbhidOf(query) !== '') return true
    return !NO_SEGMENTS.test(pathname) && this.#names.knows(pathname)
  }

  /**
   * The streams that a request may be for, the likeliest first; several only where the path of a segment has to be
   * guessed at. @throws BALANCER_BAD_STREAM_KEY
   */
  async find(target: RequestTarget, host: string | undefined): Promise<readonly HlsRoute[]> {
    const { pathname, query } = target
    const kind = kindOf(pathname)
    const spbhid = spbhidOf(query)
    const session = spbhid === '' ? undefined : await this.#ids.find(spbhid)
    if (session !== undefined) {
      const isDash = kind === 'manifest' || isOfDash(query)
      const playlistPath = pathOf(session.fullUrl).replace(/\.(?:m3u8|mpd)$/i, isDash ? '.mpd' : '.m3u8')
      const need = isDash ? 'dash' : 'hls'
      const route = covered(kind, pathname, { key: session.streamKey, need, playlistPath })
      // A playlist may be that of another stream, whose name begins like that of this one.
      if (kind === 'segment' || route.isTop) return [route]
      const own = this.#keyOf(pathname, query, host)
      return own === undefined ? [route] : [route, topOf(kind, pathname, own)]
    }
    const named =
      kind === 'segment' || spbhid !== '' ? this.#names.find(this.vhostOf(host), pathname) : undefined
    if (named !== undefined) return [covered(kind, pathname, named)]
    if (kind === 'segment') return this.#guesses(target, host)
    const key = streamKeyOfHttp({ host, path: pathname, query, names: 'file' }, this.#rules)
    const near = this.#names.masterOf(this.vhostOf(host), pathname)
    const route = topOf(kind, pathname, key)
    return [near === undefined || near === key ? route : { ...route, near }]
  }

  /** The streams that a segment may be of, by its name alone. */
  ownersOf({ pathname, query }: RequestTarget, host: string | undefined): readonly StreamKey[] {
    return fileOwners(pathname).flatMap((owner) => this.#keyOf(`${owner}.m3u8`, query, host) ?? [])
  }

  /** The vhost that a Host header names. */
  vhostOf(host: string | undefined): string {
    return streamKeyParts(streamKeyOfHttp({ host, path: '/a/s', query: '', names: 'path' }, this.#rules))
      .vhost
  }

  /** `s-33.m4s` may be of stream `s`, `s/33.m4s` and `s/720/33.m4s` as well. */
  #guesses({ pathname, query }: RequestTarget, host: string | undefined): readonly HlsRoute[] {
    const plain = pathname.replace(/\.[^./]*$/, '')
    const guesses = [plain.replace(/(?:[-_.][^-_./]*)$/, ''), plain.slice(0, plain.lastIndexOf('/'))]
    const routes: HlsRoute[] = []
    for (const guess of new Set(guesses)) {
      const key = this.#keyOf(`${guess}.m3u8`, query, host)
      if (key === undefined || guess === plain) continue
      const playlistPath = `${guess}.m3u8`
      routes.push({
        kind: 'segment',
        key,
        need: 'hls',
        playlistPath,
        isTop: false,
        isCovered: false,
        isGuess: true,
      })
    }
    return routes
  }

  #keyOf(path: string, query: string, host: string | undefined): StreamKey | undefined {
    try {
      return streamKeyOfHttp({ host, path, query, names: 'file' }, this.#rules)
    } catch (error) {
      if (errorCode(error) === 'BALANCER_BAD_STREAM_KEY') return undefined
      throw error
    }
  }
}

function covered(kind: HlsRoute['kind'], pathname: string, stream: NamedStream): HlsRoute {
  const isTop = kind !== 'segment' && pathname === stream.playlistPath
  const { key, need, playlistPath } = stream
  return { kind, key, need, playlistPath, isTop, isCovered: !isTop, isGuess: false }
}

/** The playlist that names a stream. */
function topOf(kind: 'playlist' | 'manifest', playlistPath: string, key: StreamKey): HlsRoute {
  const need = kind === 'manifest' ? 'dash' : 'hls'
  return { kind, key, need, playlistPath, isTop: true, isCovered: false, isGuess: false }
}

function kindOf(path: string): HlsRoute['kind'] {
  if (/\.m3u8$/i.test(path)) return 'playlist'
  return /\.mpd$/i.test(path) ? 'manifest' : 'segment'
}

function pathOf(fullUrl: string): string {
  return fullUrl.replace(/^[a-z]+:\/\/[^/]*/i, '')
}
