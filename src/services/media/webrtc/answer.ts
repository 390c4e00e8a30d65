import { isIP } from 'node:net'
import {
  type IceCredentials,
  type PublicAddress,
  type SessionDescription,
  udpCandidates,
  withPublicCandidates,
} from '../../../protocols/sdp/index.ts'
import type { IceTcp } from './ice-tcp.ts'
import type { MediaPlane } from './media-plane.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import {
  type ConfiguredAddress,
  maxAddresses,
  publicAddressesFor,
  publicTcpAddressesFor,
} from './public-addresses.ts'
import type { IceIdentity } from './session.ts'

/** What an answer hangs on beside the configuration. */
export interface AnswerContext {
  /** Local address on which the request came in. */
  readonly requestAddress: string | undefined
  readonly hasTcp: boolean
}

/** An origin's SDP for the client: with the gateway's candidates in place of the origin's. */
export function publicAnswer(
  description: SessionDescription,
  { requestAddress, hasTcp }: AnswerContext,
  { media, tcp }: { readonly media: MediaPlane; readonly tcp: IceTcp },
  options: CompleteWebRtcOptions,
): Buffer {
  const { publicAddresses, tcpPublicAddresses, keepOriginAddresses } = options
  const { locals } = media
  const tcpLocals = hasTcp ? tcp.locals : []
  const announced = keepOriginAddresses ? announcedBy(description) : []
  const udp = (configured: readonly ConfiguredAddress[]): readonly PublicAddress[] =>
    publicAddressesFor(configured, requestAddress, locals)
  const overTcp = (
    configured: readonly ConfiguredAddress[],
    udpConfigured: readonly ConfiguredAddress[],
  ): readonly PublicAddress[] =>
    publicTcpAddressesFor(configured, udpConfigured, requestAddress, locals, tcpLocals)
  return withPublicCandidates(description, [
    ...distinct([...(announced.length > 0 ? udp(announced) : []), ...udp(publicAddresses)]),
    ...distinct([
      ...(announced.length > 0 ? overTcp(announced, []) : []),
      ...overTcp(tcpPublicAddresses, publicAddresses),
    ]),
  ]).toBytes()
}

/** The addresses that an origin was told to announce as its own. */
function announcedBy(description: SessionDescription): readonly ConfiguredAddress[] {
  const hosts = udpCandidates(description).filter(
    ({ type, address }) => type === 'host' && isIP(address) !== 0,
  )
  return [...new Set(hosts.map(({ address }) => address))].map((address) => ({ address }))
}

function distinct(addresses: readonly PublicAddress[]): readonly PublicAddress[] {
  const byText = new Map(addresses.map((one) => [`${one.address} ${one.port}`, one]))
  return [...byText.values()].slice(0, maxAddresses)
}

/** The USERNAME of the client's STUN requests (RFC 8445 §7.2.2), and what signs them. */
export function identityOf(
  answer: IceCredentials,
  offer: IceCredentials,
): IceIdentity & { readonly password: Buffer } {
  return { username: `${answer.ufrag}:${offer.ufrag}`, password: Buffer.from(answer.pwd) }
}
