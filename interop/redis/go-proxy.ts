import { randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import type { RespClient } from './resp-client.ts'

/** Of the SRS proxy: 7 came with SRS 7, 8 is its successor. */
export type Generation = 7 | 8

export interface GoProxyOptions {
  readonly redis: RespClient
  readonly generation: Generation
  /** `PROXY_REDIS_KEY_PREFIX`; generation 8 only. @defaultValue none */
  readonly prefix?: string
  /** `PROXY_ORIGIN_SERVER_TTL`, in seconds; generation 8 only. @defaultValue 300 */
  readonly originTtlSeconds?: number
  /** Which of so many is drawn. @defaultValue at random */
  readonly draw?: (count: number) => number
  /** Its time as Go writes it. @defaultValue the present one */
  readonly now?: () => string
}

/** What an origin posts to register. */
export interface SrsRegistration {
  readonly ip: string
  readonly server: string
  readonly service: string
  readonly pid: string
  readonly rtmp: readonly string[]
  readonly http?: readonly string[]
  readonly api?: readonly string[]
  readonly srt?: readonly string[]
  readonly rtc?: readonly string[]
  readonly device_id?: string
}

/** An origin as it lies in Redis. */
export interface SrsServer {
  readonly ip: string
  readonly device_id: string
  readonly server_id: string
  readonly service_id: string
  readonly pid: string
  readonly rtmp: readonly string[]
  readonly http: readonly string[]
  readonly api: readonly string[]
  readonly srt: readonly string[]
  readonly rtc: readonly string[]
  readonly update_at: string
}

export interface SrsHls {
  readonly spbhid: string
  readonly stream_url: string
  readonly full_url: string
}

export interface SrsRtc {
  readonly stream_url: string
  readonly ufrag: string
}

const SESSION_TTL_SECONDS = 120

/**
 * The SRS proxy as a Redis sees it: which keys it reads and writes, in which order, with which texts. It is written after the
 * reference of that proxy and shares no code with the gateway, so that tests of both at one Redis mean something.
 */
export class GoProxy {
  readonly #redis: RespClient
  readonly #generation: Generation
  readonly #prefix: string
  readonly #originTtlSeconds: number
  readonly #draw: (count: number) => number
  readonly #now: () => string

  constructor(options: GoProxyOptions) {
    const { generation, prefix, originTtlSeconds } = options
    if (generation === 7 && (prefix !== undefined || originTtlSeconds !== undefined))
      throw new Error('generation 7 has no prefix and no other TTL')
    this.#redis = options.redis
    this.#generation = generation
    this.#prefix = prefix === undefined || prefix === '' ? '' : `${prefix}:`
    this.#originTtlSeconds = originTtlSeconds ?? 300
    this.#draw = options.draw ?? ((count) => Math.floor(Math.random() * count))
    this.#now = options.now ?? goNow
  }

  /** Takes the registration of an origin. */
  async announce(post: SrsRegistration): Promise<void> {
    const key = this.#key('server', `${post.server}-${post.service}-${post.pid}`)
    const fields = {
      ip: post.ip,
      device_id: post.device_id,
      server_id: post.server,
      service_id: post.service,
      pid: post.pid,
      rtmp: post.rtmp,
      http: post.http,
      api: post.api,
      srt: post.srt,
      rtc: post.rtc,
    }
    const present = Object.entries(fields).filter(([, value]) => value !== undefined && value.length > 0)
    const value = goJson({ ...Object.fromEntries(present), update_at: this.#now() })
    await this.#redis.command('SET', key, value, 'EX', this.#originTtlSeconds)
    // Not under a lock: of two that do this at once, one may lose its origin.
    const kept: string[] = []
    for (const member of await this.#serverKeys()) {
      if ((await this.#get(member)) !== null) kept.push(member)
    }
    if (!kept.includes(key)) kept.push(key)
    await this.#redis.command('SET', this.#key('all-servers'), goJson(kept))
  }

  /** The origin of a stream. @throws Error when there is none, or when what lies there is not what Go decodes */
  async pick(streamUrl: string): Promise<SrsServer> {
    const urlKey = this.#key('url', streamUrl)
    const picked = await this.#get(urlKey)
    const remembered = picked === null ? null : await this.#get(picked)
    if (remembered !== null) return decodeServer(remembered)
    const keys = await this.#serverKeys()
    for (let draws = 0; keys.length > 0 && draws < 3; draws++) {
      const key = keys[this.#draw(keys.length)] ?? ''
      const server = await this.#get(key)
      if (server === null) continue
      await this.#redis.command('SET', urlKey, key)
      return decodeServer(server)
    }
    throw new Error(`no server available for ${streamUrl}`)
  }

  /** Answers a playlist. Gives the id that segments are asked for with. */
  async storeHls(streamUrl: string, fullUrl: string, spbhid: string = cid()): Promise<string> {
    const value = goJson({ spbhid, stream_url: streamUrl, full_url: fullUrl })
    for (const key of [this.#key('hls', streamUrl), this.#key('spbhid', spbhid)])
      await this.#redis.command('SET', key, value, 'EX', SESSION_TTL_SECONDS)
    return spbhid
  }

  /** @throws Error when there is none; always in generation 8 */
  loadHlsByUrl(streamUrl: string): Promise<SrsHls> {
    return this.#load(this.#key('hls', streamUrl), decodeHls)
  }

  /** What a segment is led by. @throws Error when there is none; always in generation 8 */
  loadHlsById(spbhid: string): Promise<SrsHls> {
    return this.#load(this.#key('spbhid', spbhid), decodeHls)
  }

  /** Answers an offer. `ufrag` is the USERNAME of the session: that of the origin, a colon, that of the client. */
  async storeRtc(streamUrl: string, ufrag: string): Promise<void> {
    const value = goJson({ stream_url: streamUrl, ufrag })
    for (const key of [this.#key('rtc', streamUrl), this.#key('ufrag', ufrag)])
      await this.#redis.command('SET', key, value, 'EX', SESSION_TTL_SECONDS)
  }

  /** What the first packet of a session is led by. @throws Error when there is none; always in generation 8 */
  loadRtcByUfrag(ufrag: string): Promise<SrsRtc> {
    return this.#load(this.#key('ufrag', ufrag), decodeRtc)
  }

  /** Where it connects to. Only the first endpoint counts. @throws Error for what it cannot read or lacks */
  dial(server: SrsServer, protocol: 'rtmp' | 'http' | 'api' | 'srt' | 'rtc'): { host: string; port: number } {
    const endpoint = server[protocol][0]
    const isMedia = protocol === 'srt' || protocol === 'rtc'
    const form = isMedia ? ENDPOINT[this.#generation] : /^(\d+)$/
    const port = endpoint === undefined ? undefined : form.exec(endpoint)?.[1]
    if (port === undefined) throw new Error(`${protocol} of ${server.server_id} is ${endpoint ?? 'missing'}`)
    const isHttp = protocol === 'http' || protocol === 'api'
    const isLost = this.#generation === 7 && !isHttp && isIP(server.ip) === 0
    return { host: isLost ? '127.0.0.1' : server.ip, port: Number(port) }
  }

  async #load<T>(key: string, decode: (text: string) => T): Promise<T> {
    if (this.#generation === 8) throw new Error(`load ${key}: generation 8 reads none`)
    const text = await this.#get(key)
    if (text === null) throw new Error(`load ${key}: not there`)
    return decode(text)
  }

  async #serverKeys(): Promise<readonly string[]> {
    const text = await this.#get(this.#key('all-servers'))
    if (text === null) return []
    const keys: unknown = JSON.parse(text)
    if (!isTexts(keys)) throw new Error(`the list of servers is ${text}`)
    return keys
  }

  /** An error is as good as nothing there. */
  async #get(key: string): Promise<string | null> {
    try {
      const value = await this.#redis.command('GET', key)
      return typeof value === 'string' ? value : null
    } catch {
      return null
    }
  }

  #key(kind: string, name?: string): string {
    return `${this.#prefix}srs-proxy-${kind}${name === undefined ? '' : `:${name}`}`
  }
}

/** How SRT and WebRTC endpoints may be written; the address in them does not count. */
const ENDPOINT: Readonly<Record<Generation, RegExp>> = {
  7: /^(?:\w+:\/\/[^:[\]]*:)?(\d+)$/,
  8: /^(?:\w+:(?:\/\/)?(?:(?:\[[^\]]*\]|[^:[\]]*):)?)?(\d+)$/,
}

/** An id of 7 hexadecimal digits, as it makes them for connections and HLS. */
function cid(): string {
  return randomBytes(4).toString('hex').slice(0, 7)
}

/** RFC 3339 with as many digits of a second as are needed. */
function goNow(): string {
  return new Date().toISOString().replace(/\.?0+Z$/, 'Z')
}

/** JSON as Go writes it: what would mean something in HTML is escaped. */
function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Go ignores fields that it does not know, and takes no value of another type. */
function decodeServer(text: string): SrsServer {
  const fields = decodeObject(text)
  const server = {
    ip: textOf(fields, 'ip'),
    device_id: textOf(fields, 'device_id'),
    server_id: textOf(fields, 'server_id'),
    service_id: textOf(fields, 'service_id'),
    pid: textOf(fields, 'pid'),
    rtmp: textsOf(fields, 'rtmp'),
    http: textsOf(fields, 'http'),
    api: textsOf(fields, 'api'),
    srt: textsOf(fields, 'srt'),
    rtc: textsOf(fields, 'rtc'),
    update_at: textOf(fields, 'update_at'),
  }
  const { update_at } = server
  if (update_at !== '' && !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(update_at))
    throw new Error(`update_at is ${update_at}`)
  return server
}

function decodeHls(text: string): SrsHls {
  const fields = decodeObject(text)
  return {
    spbhid: textOf(fields, 'spbhid'),
    stream_url: textOf(fields, 'stream_url'),
    full_url: textOf(fields, 'full_url'),
  }
}

function decodeRtc(text: string): SrsRtc {
  const fields = decodeObject(text)
  return { stream_url: textOf(fields, 'stream_url'), ufrag: textOf(fields, 'ufrag') }
}

function decodeObject(text: string): ReadonlyMap<string, unknown> {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`no object: ${text}`)
  return new Map(Object.entries(value))
}

function textOf(fields: ReadonlyMap<string, unknown>, name: string): string {
  const value = fields.get(name) ?? ''
  if (typeof value !== 'string') throw new Error(`${name} is no text`)
  return value
}

function textsOf(fields: ReadonlyMap<string, unknown>, name: string): readonly string[] {
  const value = fields.get(name) ?? []
  if (!isTexts(value)) throw new Error(`${name} is no list of texts`)
  return value
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((member) => typeof member === 'string')
}
