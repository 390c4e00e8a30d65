import { isIPv6 } from 'node:net'
import {
  type OriginAnnouncement,
  type OriginId,
  originIdOf,
  type OriginUrlName,
  type OriginUrls,
  originTarget,
  originUrlFault,
  parseStreamKey,
  NEEDS,
} from '../../../mechanisms/balancer/index.ts'
import { originsError } from './errors.ts'
import { type HealthTarget, parseHealthTarget } from './health-check.ts'
import { ORIGIN_KINDS, SRS_PORTS } from './origin-kinds.ts'
import { type PublishedSource, publishedSourceOf } from './published-streams.ts'
import type { SrsPortName, StaticOrigin } from './static-origin.ts'

/** A static origin, every default filled in. */
export interface ResolvedOrigin {
  readonly id: OriginId
  readonly announcement: OriginAnnouncement
  /** Undefined: it is not checked. */
  readonly check: HealthTarget | undefined
  readonly checkIntervalMs: number
  readonly timeoutMs: number
  readonly checkFailures: number
  /** Undefined: it is not asked for its streams. */
  readonly published: (PublishedSource & { readonly intervalMs: number }) | undefined
}

const DEFAULTS = { checkIntervalMs: 10_000, timeoutMs: 3000, checkFailures: 2, followIntervalMs: 0 }
const ANY_STREAM = parseStreamKey('v/a/s')

/** @throws ORIGINS_BAD_URL, ORIGINS_NO_ENDPOINT, ORIGINS_CANNOT_FOLLOW */
export function resolveOrigin(given: StaticOrigin): ResolvedOrigin {
  const { checkIntervalMs, timeoutMs, checkFailures, followIntervalMs } = { ...DEFAULTS, ...given }
  const announcement = announcementOf(given)
  return {
    id: originIdOf(announcement),
    announcement,
    check: checkOf(given, announcement),
    checkIntervalMs,
    timeoutMs,
    checkFailures,
    published:
      followIntervalMs > 0 ? { ...sourceOf(given, announcement), intervalMs: followIntervalMs } : undefined,
  }
}

function announcementOf(given: StaticOrigin): OriginAnnouncement {
  const { name, kind, weight, zone, backup } = given
  const isAskedAsSrs = kind === 'srs' && given.urls === undefined
  return {
    ...(isAskedAsSrs ? srsEndpoints(given) : urlEndpoints(given)),
    server: name,
    // It is the same one over all its runs, and for each gateway.
    service: 'static',
    pid: '0',
    kind,
    ...(weight !== undefined && { weight }),
    ...(zone !== undefined && { zone }),
    ...(backup === true && { isBackup: true }),
  }
}

type Endpoints = Pick<OriginAnnouncement, 'ip' | 'rtmp' | 'http' | 'api' | 'srt' | 'rtc' | 'urls'>

function srsEndpoints({ name, host, ports = {} }: StaticOrigin): Endpoints {
  if (host === undefined) throw originsError('ORIGINS_NO_ENDPOINT', `${name}: an srs needs a host, or urls`)
  const list = (port: SrsPortName): readonly number[] => {
    const number = ports[port] ?? SRS_PORTS[port]
    return number === false ? [] : [number]
  }
  const lists = {
    rtmp: list('rtmp'),
    http: list('http'),
    api: list('api'),
    srt: list('srt'),
    rtc: list('rtc'),
  }
  if (Object.values(lists).every(({ length }) => length === 0)) {
    throw originsError('ORIGINS_NO_ENDPOINT', `${name}: every port is switched off`)
  }
  return { ip: host, ...lists }
}

function urlEndpoints({ name, kind, host, urls = {} }: StaticOrigin): Endpoints {
  const usual = host === undefined ? {} : ORIGIN_KINDS[kind].urls
  const merged: Partial<Record<OriginUrlName, string>> = {}
  for (const [need, template] of Object.entries({ ...usual, ...urls }) as [OriginUrlName, string | false][]) {
    if (template === false) continue
    const url = host === undefined ? template : withHost(template, host)
    const fault = originUrlFault(need, url)
    if (fault !== undefined)
      throw originsError('ORIGINS_BAD_URL', `${name}: ${need} is ${shown(url)}: ${fault}`)
    merged[need] = url
  }
  const first = firstHost(merged)
  if (first === undefined) throw originsError('ORIGINS_NO_ENDPOINT', `${name}: it has no host and no urls`)
  return { ip: host ?? first, rtmp: [], http: [], api: [], srt: [], rtc: [], urls: merged }
}

/** In an override the host may be left to `HOST` too. */
function withHost(template: string, host: string): string {
  return template.replace('//HOST', isIPv6(host) ? `//[${host}]` : `//${host}`)
}

function firstHost(urls: OriginUrls): string | undefined {
  return targetsOf(urls)[0]?.host
}

function targetsOf(urls: OriginUrls): readonly NonNullable<ReturnType<typeof originTarget>>[] {
  const origin = { ip: '', rtmp: [], http: [], api: [], srt: [], rtc: [], urls }
  return NEEDS.flatMap((need) => originTarget(origin, need, ANY_STREAM) ?? [])
}

function checkOf(given: StaticOrigin, announcement: OriginAnnouncement): HealthTarget | undefined {
  const { name, check } = given
  if (check === false) return undefined
  if (check !== undefined) {
    const target = parseHealthTarget(check)
    if (target !== undefined) return target
    throw originsError(
      'ORIGINS_BAD_URL',
      `${name}: check is ${shown(check)}, and must be http(s)://… or tcp://host:port, without a password`,
    )
  }
  const { ip, urls, api, rtmp, http } = announcement
  if (urls === undefined) {
    const [port] = api
    if (port !== undefined) return { url: `http://${hostText(ip)}:${port}/api/v1/versions` }
    const [other] = [...rtmp, ...http]
    return other === undefined ? undefined : { host: ip, port: other }
  }
  // An SRT port says nothing to TCP.
  const target = targetsOf(urls).find(({ scheme }) => scheme !== 'srt')
  return target && { host: target.host, port: target.port }
}

function sourceOf(given: StaticOrigin, { ip, api: ports }: OriginAnnouncement): PublishedSource {
  const { name, kind, host, api } = given
  const usual = ports[0] === undefined ? ORIGIN_KINDS[kind].api : `http://HOST:${ports[0]}`
  const base =
    api ??
    (usual === undefined || (host === undefined && ports[0] === undefined) ? undefined : withHost(usual, ip))
  const source = base === undefined ? undefined : publishedSourceOf(kind, base)
  if (source !== undefined) return source
  const why =
    kind === 'srs' || kind === 'mediamtx' ? 'its api is no URL' : `a ${kind} does not list its streams`
  throw originsError('ORIGINS_CANNOT_FOLLOW', `${name}: followSeconds is set, but ${why}`)
}

/** Without the password that should not be in it. */
function shown(url: string): string {
  return JSON.stringify(url.replace(/\/\/[^/]*@/, '//***@'))
}

function hostText(host: string): string {
  return isIPv6(host) ? `[${host}]` : host
}
