import { parseServerAddress, type ServerAddress } from './server-address.ts'
import type { RedisLogin } from './connection.ts'

/** Where Redis is and who we are to it, as the `[redis]` section says it. */
export interface RedisPlaceOptions {
  /**
   * `redis://user:password@host:6379/0`; `rediss://` with TLS. Sentinels: `redis+sentinel://user:password@host:26379,host/name/0`.
   * A Cluster: `redis+cluster://user:password@host:6379,host`. Each with `rediss+` too.
   */
  readonly url?: string | undefined
  /** `host:port` of Sentinels. */
  readonly sentinels?: readonly string[] | undefined
  /** What the Sentinels call the server. @defaultValue mymaster */
  readonly sentinelName?: string | undefined
  readonly sentinelUser?: string | undefined
  readonly sentinelPassword?: string | undefined
  /** `host:port` of some nodes of a Cluster. */
  readonly cluster?: readonly string[] | undefined
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly database?: number | undefined
  readonly tls?: RedisTlsOptions | undefined
}

/** TLS to Redis; its being there turns it on. */
export interface RedisTlsOptions {
  /** @defaultValue true */
  readonly on?: boolean | undefined
  /** Whether Sentinels speak it too. @defaultValue true */
  readonly sentinels?: boolean | undefined
  /** File of authorities (PEM). @defaultValue the public ones */
  readonly ca?: string | undefined
  /** Files of our certificate and its key (PEM). */
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
  /** Name that the certificate must have. @defaultValue the host that is connected to */
  readonly servername?: string | undefined
  /** Takes any certificate. @defaultValue false */
  readonly insecure?: boolean | undefined
}

/** Where Redis is, in one of its forms, checked. */
export interface RedisTarget {
  readonly form: 'server' | 'sentinel' | 'cluster'
  /** The server; the Sentinels; some nodes of the Cluster. */
  readonly addresses: readonly ServerAddress[]
  /** What Sentinels call the server. */
  readonly name: string
  readonly login: RedisLogin
  readonly sentinelLogin: RedisLogin
  readonly database: number
  readonly hasTls: boolean
}

/** What a prefix may be: nothing that a pattern of SCAN or a slot of a Cluster would read otherwise. */
export const REDIS_PREFIX: RegExp = /^[\w.:/@-]{1,64}$/

/** What is wrong with an option. */
export interface RedisOptionProblem {
  readonly key: keyof RedisPlaceOptions
  /** What is allowed. It never has a value in it, as that may be secret. */
  readonly message: string
}

const REDIS_PORT = 6379
const SENTINEL_PORT = 26_379
const MAX_ADDRESSES = 256

const URL_FORMS =
  'redis://user:password@host:6379/0, redis+sentinel://host:26379,host:26379/name or redis+cluster://host:6379,host:6379, with rediss for TLS'

/** Puts the options together; or says what is wrong with them. */
export function readTarget(options: RedisPlaceOptions): RedisTarget | readonly RedisOptionProblem[] {
  const problems: RedisOptionProblem[] = []
  const bad = (key: keyof RedisPlaceOptions, message: string): void => void problems.push({ key, message })
  const url = options.url === undefined ? {} : parseRedisUrl(options.url)
  if (typeof url === 'string') return [{ key: 'url', message: url }]

  const { sentinels, cluster } = options
  const ways = [options.url, sentinels, cluster].filter((way) => way !== undefined).length
  if (ways === 0) bad('url', 'one of redis.url, redis.sentinels and redis.cluster must say where Redis is')
  if (ways > 1) {
    bad(
      cluster === undefined ? 'sentinels' : 'cluster',
      'only one of url, sentinels and cluster may be there',
    )
  }
  const form =
    url.form ?? (sentinels === undefined ? (cluster === undefined ? 'server' : 'cluster') : 'sentinel')

  const both = (key: 'user' | 'password' | 'database' | 'sentinelName', inUrl: unknown): void => {
    if (options[key] !== undefined && inUrl !== undefined)
      bad(key, `redis.url says that already; must be in one place`)
  }
  both('user', url.user)
  both('password', url.password)
  both('database', url.database)
  both('sentinelName', url.name)
  const login: RedisLogin = { user: options.user ?? url.user, password: options.password ?? url.password }
  if (login.user !== undefined && login.password === undefined) bad('user', 'goes with a password')
  const { sentinelUser, sentinelPassword, sentinelName } = options
  if (form !== 'sentinel') {
    for (const key of ['sentinelName', 'sentinelUser', 'sentinelPassword'] as const) {
      if (options[key] !== undefined) bad(key, 'goes with redis.sentinels')
    }
  }
  if (sentinelUser !== undefined && sentinelPassword === undefined)
    bad('sentinelUser', 'goes with a sentinelPassword')
  const database = options.database ?? url.database ?? 0
  if (form === 'cluster' && database !== 0) bad('database', 'a Cluster has no databases; must be absent')
  if (!Number.isInteger(database) || database < 0 || database > 65_535) bad('database', 'must be 0 to 65535')

  const { tls } = options
  if (url.hasTls === true && tls?.on === false)
    bad('tls', 'on = false contradicts the url, which says rediss')
  if ((tls?.certFile === undefined) !== (tls?.keyFile === undefined))
    bad('tls', 'certFile and keyFile go together')
  if (tls?.insecure === true && tls.ca !== undefined)
    bad('tls', 'insecure takes any certificate; ca must be absent')

  const list = form === 'sentinel' ? sentinels : cluster
  const addresses = url.addresses ?? addressesOf(list ?? [], form === 'sentinel' ? SENTINEL_PORT : REDIS_PORT)
  if (
    addresses === undefined ||
    (ways === 1 && (addresses.length === 0 || addresses.length > MAX_ADDRESSES))
  ) {
    bad(
      form === 'sentinel' ? 'sentinels' : 'cluster',
      `must be 1 to ${MAX_ADDRESSES} of host:port, such as 192.0.2.1:6379`,
    )
  }
  if (problems.length > 0) return problems
  return {
    form,
    addresses: addresses ?? [],
    name: sentinelName ?? url.name ?? 'mymaster',
    login,
    sentinelLogin: { user: sentinelUser, password: sentinelPassword },
    database,
    hasTls: url.hasTls === true || (tls !== undefined && tls.on !== false),
  }
}

interface UrlParts {
  readonly form?: RedisTarget['form']
  readonly hasTls?: boolean
  readonly addresses?: readonly ServerAddress[]
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly name?: string | undefined
  readonly database?: number | undefined
}

/** The parts of a URL, or what is wrong with it. `URL` takes no lists of hosts, so this reads them itself. */
function parseRedisUrl(text: string): UrlParts | string {
  const match = /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/?#@]+)(?:\/([^?#]*))?$/.exec(text)
  if (match === null) return `must be ${URL_FORMS}; special characters of a password as %xx`
  const [, secure, way, credentials, hosts = '', path = ''] = match
  const form = way === 'sentinel' || way === 'cluster' ? way : 'server'
  const addresses = addressesOf(hosts.split(','), form === 'sentinel' ? SENTINEL_PORT : REDIS_PORT)
  if (addresses === undefined || addresses.length > (form === 'server' ? 1 : MAX_ADDRESSES)) {
    return `has hosts that are none; must be ${URL_FORMS}`
  }
  const [userText = '', ...passwordTexts] = (credentials ?? '').split(':')
  const user = decoded(userText)
  const password = decoded(passwordTexts.join(':'))
  if (user === undefined || password === undefined) return 'has a % in user or password that begins no %xx'
  const parts = path === '' ? [] : path.split('/')
  const name = form === 'sentinel' ? decoded(parts.shift() ?? '') : ''
  const databaseText = parts.shift() ?? ''
  if (name === undefined || parts.length > 0 || !/^\d{0,5}$/.test(databaseText)) {
    return `has a path that means nothing; must be ${URL_FORMS}`
  }
  return {
    form,
    hasTls: secure === 's',
    addresses,
    user: user === '' ? undefined : user,
    password: password === '' ? undefined : password,
    name: name === '' ? undefined : name,
    database: databaseText === '' ? undefined : Number(databaseText),
  }
}

function addressesOf(texts: readonly string[], defaultPort: number): readonly ServerAddress[] | undefined {
  const addresses = texts.map((text) => parseServerAddress(text, defaultPort))
  return addresses.every((address) => address !== undefined) ? addresses : undefined
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
