import type { StreamKey } from '../../../../mechanisms/balancer/index.ts'
import { ExpiringMap, type ExpiringMapOptions } from './expiring-map.ts'

/** The stream that a path belongs to. */
export interface NamedStream {
  readonly key: StreamKey
  readonly need: 'hls' | 'dash'
  /** The path at which clients ask for its playlist. */
  readonly playlistPath: string
}

/** The same, and where it was asked for. */
export interface NameOwner extends NamedStream {
  /** Of the Host that the playlist was asked for at. */
  readonly vhost: string
}

/** Most streams that name one path. */
const MAX_OWNERS = 8
/** What is live under the same endings as segments: there a likeness of names is not enough. */
const LIVE_ENDINGS = /\.(?:ts|aac|mp3|flv)$/i
/** Longer paths are not remembered: they are looked up by each of their beginnings. */
const MAX_PATH = 1024
/** Most characters of a prefix that are looked at. */
const MAX_PREFIX = 100
/** Parts of a file name behind the name of its stream: `s-33.m4s`, `s_init.mp4`, `s/33.m4s`. */
const CUTS = /[-_./]/

/**
 * Which stream the paths of segments belong to, learnt from the playlists that passed: so that a segment is found by a path
 * alone, and a path that no playlist named is not asked for. Paths are as clients send them.
 */
export class HlsNames {
  readonly #owners: ExpiringMap<readonly NameOwner[]>

  constructor(options: ExpiringMapOptions) {
    this.#owners = new ExpiringMap(options)
  }

  /** Notes that a playlist was served: files whose names begin like its own belong to it. */
  addPlaylist(owner: NameOwner): void {
    this.#add(stemName(withoutEnding(owner.playlistPath)), owner)
  }

  /**
   * Notes a path that a playlist named. One that ends with a slash stands for all below it. `counts`: the number before its
   * ending counts on, so that what the next playlist will name is known as well.
   */
  addPath(path: string, owner: NameOwner, counts: boolean): void {
    if (path.length > MAX_PATH) return
    this.#add(path, owner)
    const counted = counts ? countedName(path) : undefined
    if (counted !== undefined) this.#add(counted, owner)
  }

  /** Notes a playlist that another one named and that is a stream by itself. */
  addVariant(path: string, owner: NameOwner): void {
    if (path.length <= MAX_PATH) this.#add(variantName(path), owner)
  }

  /** The stream whose playlist named this one, which is a stream by itself. */
  masterOf(vhost: string, path: string): StreamKey | undefined {
    if (path.length > MAX_PATH) return undefined
    return this.#owners.get(variantName(path))?.findLast((owner) => owner.vhost === vhost)?.key
  }

  /** Notes how names begin that a template of DASH makes. */
  addPrefix(prefix: string, owner: NameOwner): void {
    if (prefix.length <= MAX_PATH) this.#add(prefixName(prefix), owner)
  }

  /** Whether any playlist of late named the path, or one like it. */
  knows(path: string): boolean {
    return this.#candidates(path).length > 0
  }

  /** The stream of a path: the one that named it last, else the one whose names are like it. */
  find(vhost: string, path: string): NamedStream | undefined {
    return this.#candidates(path).findLast((owner) => owner.vhost === vhost)
  }

  /** Whether a playlist of the stream named the path, a directory that it lies in, or how it begins. */
  isNamed(key: StreamKey, path: string): boolean {
    if (path.length > MAX_PATH) return false
    const names = [path, countedName(path) ?? path, ...directoriesOf(path), ...prefixesOf(path)]
    return names.some((name) => this.#owners.get(name)?.some((owner) => owner.key === key))
  }

  /** Whether a playlist of another stream named the very path, or one that differs in its number. */
  isNamedByOther(key: StreamKey, path: string): boolean {
    const names = path.length > MAX_PATH ? [] : [path, countedName(path) ?? path]
    return names.some((name) => this.#owners.get(name)?.some((owner) => owner.key !== key))
  }

  #candidates(path: string): readonly NameOwner[] {
    if (path.length > MAX_PATH) return []
    const named = this.#owners.get(path) ?? this.#owners.get(countedName(path) ?? path)
    if (named !== undefined || LIVE_ENDINGS.test(path)) return named ?? []
    for (const name of [...prefixesOf(path), ...directoriesOf(path), ...stemsOf(path)]) {
      const owners = this.#owners.get(name)
      if (owners !== undefined) return owners
    }
    return []
  }

  #add(name: string, owner: NameOwner): void {
    const owners = this.#owners.get(name)
    const newest = owners?.at(-1)
    if (newest?.key === owner.key && newest.vhost === owner.vhost) return
    const others = (owners ?? []).filter(({ key, vhost }) => key !== owner.key || vhost !== owner.vhost)
    this.#owners.set(name, [...others.slice(1 - MAX_OWNERS), owner])
  }
}

/** No path begins with a `#`, so these names and paths do not meet. */
function stemName(path: string): string {
  return `#${path}`
}

function variantName(path: string): string {
  return `###${path}`
}

function prefixName(path: string): string {
  return `##${path}`
}

/** How a file's name may begin, the longest first, within what names are long. */
function prefixesOf(path: string): string[] {
  const start = path.lastIndexOf('/') + 1
  const longest = Math.min(path.length, start + MAX_PREFIX)
  return Array.from({ length: longest - start }, (_, index) => prefixName(path.slice(0, longest - index)))
}

/** The names of streams that a path may have been made of, the longest first. */
function stemsOf(path: string): string[] {
  const plain = withoutEnding(path)
  const stems: string[] = []
  for (let at = plain.length - 1; at > 0; at--) {
    if (CUTS.test(plain[at] ?? '')) stems.push(stemName(plain.slice(0, at)))
  }
  return stems
}

function countedName(path: string): string | undefined {
  const match = /^(.*[-_.])\d{1,20}(\.[^/.]*)$/.exec(path)
  return match === null ? undefined : `${match[1]}#${match[2]}`
}

/** The directories that a path lies in, nearest first, with their slash; not the root. */
function directoriesOf(path: string): string[] {
  const directories: string[] = []
  for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
    directories.push(path.slice(0, at + 1))
  }
  return directories
}

function withoutEnding(path: string): string {
  const dot = path.lastIndexOf('.')
  return dot > path.lastIndexOf('/') ? path.slice(0, dot) : path
}
