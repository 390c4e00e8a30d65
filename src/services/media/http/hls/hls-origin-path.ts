import {
  type OriginTarget,
  percentEncodePart,
  type StreamKey,
  streamKeyParts,
} from '../../../../mechanisms/balancer/index.ts'

/** Stands in clients' paths before a path of the origin that lies outside of the playlist's directory. */
const OUTSIDE = '@origin'

/**
 * Paths of one stream, as clients know them and as its origin does. An SRS origin has the clients' paths. At any other the
 * playlist may have another name: then what lies beside or below the client's playlist lies beside or below the origin's,
 * and a path elsewhere at the origin, if a playlist names it, is `@origin/…` beside the client's playlist.
 */
export class OriginPaths {
  /** Path of the playlist at the origin, without a query. */
  readonly playlist: string
  readonly isAsAsked: boolean
  readonly #clientDirectory: string
  readonly #directory: string
  readonly #streamDirectory: string

  constructor(playlistPath: string, { name }: Pick<OriginTarget, 'name'>, key: StreamKey) {
    this.isAsAsked = name === undefined
    this.playlist =
      name === undefined ? playlistPath : (/^\/?([^?]*)/.exec(name)?.[1] ?? '').replace(/^/, '/')
    this.#clientDirectory = directoryOf(playlistPath)
    this.#directory = directoryOf(this.playlist)
    this.#streamDirectory = `/${percentEncodePart(streamKeyParts(key).stream)}/`
  }

  /**
   * Where a client's path is at the origin; `isOwn`: it belongs to the stream by its very name. A playlist does by its
   * directory only: `s-2.m3u8` beside `s.m3u8` is that of a stream `s-2`.
   */
  toOrigin(path: string): { readonly path: string; readonly isOwn: boolean } | undefined {
    if (this.isAsAsked) return { path, isOwn: this.#isOwn(path) }
    if (!path.startsWith(this.#clientDirectory)) return undefined
    const rest = path.slice(this.#clientDirectory.length)
    if (rest.startsWith(`${OUTSIDE}/`)) return { path: rest.slice(OUTSIDE.length), isOwn: false }
    const at = this.#directory + rest.replace(/^\/+/, '')
    return { path: at, isOwn: this.#isOwn(at) }
  }

  /** How clients ask for a path of the origin. */
  toClient(path: string): string {
    if (this.isAsAsked) return path
    if (path.startsWith(this.#directory)) return this.#clientDirectory + path.slice(this.#directory.length)
    return `${this.#clientDirectory}${OUTSIDE}${path}`
  }

  #isOwn(path: string): boolean {
    if (!path.startsWith(this.#directory)) return false
    // A directory that is the stream's alone.
    if (!this.isAsAsked && this.#directory.endsWith(this.#streamDirectory)) return true
    if (/\.(?:m3u8|mpd)$/i.test(path)) return false
    const stem = this.playlist.replace(/\.[^./]*$/, '')
    return path.startsWith(stem) && /^[-_./]/.test(path.slice(stem.length))
  }
}

/** Whether a path means the same to everybody: no dots that somebody may resolve, no hidden slashes. */
export function isPlainPath(path: string): boolean {
  return !/\\|%2f|%5c|\/(?:\.|%2e){1,2}(?:\/|$)/i.test(path)
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1)
}
