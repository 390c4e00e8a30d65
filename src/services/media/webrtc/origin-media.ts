import { isIP } from 'node:net'
import type { Origin } from '../../../mechanisms/balancer/index.ts'
import { canonicalAddress, type Remote } from '../../../mechanisms/datapath/index.ts'
import { type IceCandidate, type SessionDescription, udpCandidates } from '../../../protocols/sdp/index.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { OriginApi } from './origin-client.ts'
import { literalAddress } from './origin-links.ts'

/** Most candidates of an answer that are looked at, each of which may be a name to look up. */
const maxCandidates = 16

/**
 * Where an origin takes the media of a session. One that announced its media ports takes it at the address where its API
 * was reached; any other where its answer says. `undefined` when there is no such place.
 */
export async function originMedia(
  answer: SessionDescription,
  origin: Pick<Origin, 'rtc' | 'urls'>,
  api: Pick<OriginApi, 'address'>,
  resolveHost: CompleteWebRtcOptions['resolveHost'],
): Promise<Remote | undefined> {
  if (origin.urls !== undefined) return candidateToUse(answer, api.address, resolveHost)
  const port = originMediaPort(answer, origin.rtc)
  return port === undefined ? undefined : { address: api.address, port }
}

/**
 * The UDP port of the origin that takes a session's media. The answer says which of the registered ports it is (its
 * first UDP host candidate); a registered 0 stands for whatever the answer says. An answer that names none of them
 * sits behind a port mapping, or was told a public port: then the first registered one is where it listens.
 * `undefined` when neither says a port.
 */
export function originMediaPort(
  answer: SessionDescription,
  registered: readonly number[],
): number | undefined {
  const named = udpCandidates(answer).find(({ port, type }) => type === 'host' && port !== 0)?.port
  if (named !== undefined && (registered.includes(named) || registered.includes(0))) return named
  return registered.find((port) => port !== 0)
}

/**
 * Whether an origin's media may be at this place, which another gateway says: what `originMedia` could have found, the
 * answer apart.
 */
export function isMediaOf(
  { rtc, urls }: Pick<Origin, 'rtc' | 'urls'>,
  api: Pick<OriginApi, 'address'>,
  { address, port }: Remote,
): boolean {
  if (isIP(address) === 0 || !Number.isInteger(port) || port < 1 || port > 65_535) return false
  const own = canonicalAddress(api.address)
  const there = canonicalAddress(address)
  if (urls !== undefined) return isReachable(there, own)
  return there === own && (rtc.includes(port) || rtc.includes(0))
}

/**
 * The candidate that the gateway can best reach: one at the address that its API has, else the first host candidate, of
 * the API's family if there is one, else any. Names are looked up, but for those of mDNS, which mean something only on the
 * origin's own link.
 */
async function candidateToUse(
  answer: SessionDescription,
  apiAddress: string,
  resolveHost: CompleteWebRtcOptions['resolveHost'],
): Promise<Remote | undefined> {
  const candidates = udpCandidates(answer).slice(0, maxCandidates)
  const own = canonicalAddress(apiAddress)
  const located = await Promise.all(
    candidates.map(async (candidate) => {
      const address = await addressOf(candidate, resolveHost)
      return address === undefined ? [] : [{ address, port: candidate.port, type: candidate.type }]
    }),
  )
  const usable = located.flat().filter(({ address, port }) => port !== 0 && isReachable(address, own))
  const hosts = usable.filter(({ type }) => type === 'host')
  const best =
    usable.find(({ address }) => address === own) ??
    hosts.find(({ address }) => isIP(address) === isIP(own)) ??
    hosts[0] ??
    usable[0]
  return best && { address: best.address, port: best.port }
}

async function addressOf(
  { address }: IceCandidate,
  resolveHost: CompleteWebRtcOptions['resolveHost'],
): Promise<string | undefined> {
  if (/\.local\.?$/i.test(address) || /[^\w.:-]/.test(address)) return undefined
  const literal = await literalAddress(address, resolveHost)
  return literal === undefined || isIP(literal) === 0 ? undefined : canonicalAddress(literal)
}

/** Not without an interface, not a group, and of this machine only when the origin itself is on it. */
function isReachable(address: string, own: string): boolean {
  if (/^(?:0\.|2(?:2[4-9]|[345]\d)\.|::$|ff|fe[89ab][\da-f]:)/i.test(address)) return false
  return !isLoopback(address) || isLoopback(own)
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
