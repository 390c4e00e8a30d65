import { errorCode } from '../../../foundation/errors.ts'
import {
  encodeAddress,
  encodeUnknownAttributes,
  StunAttribute,
  type StunWriter,
} from '../../../protocols/stun/index.ts'
import {
  AddressFamily,
  decodeAddressFamily,
  decodeEvenPort,
  decodeRequestedTransport,
  encodeAddressErrorCode,
  RelayTransport,
} from '../../../protocols/turn/index.ts'
import type { AllocationQuota, QuotaRequest } from '../quota.ts'
import type { Relay } from './allocation.ts'
import { grantLifetime } from './lifetime.ts'
import type { ResolvedRelay } from './listener-state.ts'
import type { Refusal } from './outcome.ts'
import type { TurnRequest } from './request.ts'
import type { TurnSettings, TurnState } from './turn-state.ts'

/** What a client asks for, checked as far as that can be done at once. */
interface Wanted {
  readonly relayTransport: 'udp' | 'tcp'
  /** Where to open relays; the second may fail. */
  readonly families: readonly (4 | 6)[]
  readonly portKind: 'any' | 'even' | 'pair'
  readonly reservationToken: Uint8Array | undefined
  readonly lifetimeSeconds: number
  readonly isMobile: boolean
}

/** A refusal by its code, or relays that were opened, with what the answer says besides. */
export type Allotted =
  | number
  | Refusal
  | {
      readonly wanted: Wanted
      readonly quota: QuotaRequest
      readonly countedBy: AllocationQuota
      readonly relays: readonly Relay[]
      readonly next: Relay | undefined
      readonly failed: { readonly family: 4 | 6; readonly code: number } | undefined
    }

/**
 * The checks of Allocate in the order of RFC 8656 §7.2 (reference: Allocate), then the relays. What was taken on the way is
 * given back when it comes to nothing.
 */
export async function allot(request: TurnRequest, state: TurnState): Promise<Allotted> {
  const wanted = readWanted(request, state)
  if (typeof wanted === 'number' || 'code' in wanted) return wanted
  const { client, identity } = request
  const { limits, quota: countedBy } = state.settings
  const quota: QuotaRequest = {
    userId: identity.credential.userId,
    realm: identity.realm,
    listener: client.listener.options.name,
    clientAddress: client.address,
  }
  const redirect = redirectOf(request, state.settings)
  // The order of RFC 8656: the quota first, then where else to go.
  const taken = countedBy.take(quota)
  if (!(typeof taken === 'boolean' ? taken : await taken)) return 486
  const refuse = (refusal: number | Refusal): number | Refusal => {
    countedBy.give(quota)
    return refusal
  }
  if (redirect !== undefined) return refuse(redirect)
  const isFull =
    state.isDraining ||
    state.allocations.size + state.allocating.size > limits.maxAllocations ||
    (limits.maxPerAddress > 0 && state.allocations.fromSource(client.address) >= limits.maxPerAddress)
  if (isFull) return refuse(508)
  if (wanted.reservationToken !== undefined) {
    const relay = state.reservations.redeem(wanted.reservationToken, identity)
    return relay === undefined
      ? refuse(508)
      : { wanted, quota, countedBy, relays: [relay], next: undefined, failed: undefined }
  }
  const opened = await openRelays(wanted, client.listener.relays, state)
  return typeof opened === 'number' ? refuse(opened) : { wanted, quota, countedBy, ...opened }
}

function readWanted(
  { message, client, identity, wallMs }: TurnRequest,
  state: TurnState,
): Wanted | Refusal | number {
  const { mobility, limits } = state.settings
  const ticket = message.attribute(StunAttribute.mobilityTicket)
  const transport = decodeRequestedTransport(message.attribute(StunAttribute.requestedTransport) ?? none)
  if (transport === undefined) return 400
  const relayTransport =
    transport === RelayTransport.udp ? 'udp' : transport === RelayTransport.tcp ? 'tcp' : undefined
  const { relayTransports = ['udp', 'tcp'] } = client.listener.options
  if (relayTransport === undefined || !relayTransports.includes(relayTransport)) return 442
  const even = message.attribute(StunAttribute.evenPort)
  const reservationToken = message.attribute(StunAttribute.reservationToken)
  const dontFragment = message.attribute(StunAttribute.dontFragment) !== undefined
  if (relayTransport === 'tcp') {
    // RFC 6062 §5.1.
    if (!client.isStream || even !== undefined || reservationToken !== undefined || dontFragment) return 400
  }
  if (dontFragment && !state.datapath.features.has('dont-fragment')) return dontFragmentUnknown
  const requested = message.attribute(StunAttribute.requestedAddressFamily)
  const additional =
    message.attribute(StunAttribute.additionalAddressFamily) ??
    message.attribute(StunAttribute.additionalAddressFamilyDraft)
  if (reservationToken !== undefined) {
    if (even !== undefined || requested !== undefined || additional !== undefined) return 400
    if (reservationToken.length !== 8) return 400
  }
  if (requested !== undefined && additional !== undefined) return 400
  const families = familiesOf(requested, additional)
  if (typeof families === 'number') return families
  const isOffered = (family: 4 | 6) => client.listener.relays.some((relay) => relay.family === family)
  // A reserved address has the family that it was reserved with.
  if (reservationToken === undefined && !families.some(isOffered)) return 440
  const reserveNext = even === undefined ? undefined : decodeEvenPort(even)
  if (even !== undefined && reserveNext === undefined) return 400
  if (reserveNext === true && additional !== undefined) return 400
  if (ticket !== undefined) {
    if (!mobility) return 405
    if (ticket.length > 0) return 400
  }
  const lifetimeSeconds = grantLifetime(message, identity.credential, limits, wallMs)
  if (lifetimeSeconds === undefined) return 400
  return {
    relayTransport,
    families,
    portKind: even === undefined ? 'any' : reserveNext === true ? 'pair' : 'even',
    reservationToken,
    lifetimeSeconds,
    isMobile: ticket !== undefined,
  }
}

function familiesOf(
  requested: Uint8Array | undefined,
  additional: Uint8Array | undefined,
): readonly (4 | 6)[] | number {
  if (additional !== undefined) {
    return decodeAddressFamily(additional) === AddressFamily.ipv6 ? [4, 6] : 400
  }
  if (requested === undefined) return [4]
  const family = decodeAddressFamily(requested)
  if (family === undefined) return 400
  return family === AddressFamily.ipv4 ? [4] : family === AddressFamily.ipv6 ? [6] : 440
}

async function openRelays(
  { relayTransport, families, portKind }: Wanted,
  offered: readonly ResolvedRelay[],
  state: TurnState,
): Promise<
  | number
  | {
      readonly relays: readonly Relay[]
      readonly next: Relay | undefined
      readonly failed: { readonly family: 4 | 6; readonly code: number } | undefined
    }
> {
  const relays: Relay[] = []
  let next: Relay | undefined
  let failed: { readonly family: 4 | 6; readonly code: number } | undefined
  for (const family of families) {
    const where = offered.find((relay) => relay.family === family)
    const opened = where === undefined ? 440 : await openRelay(where, relayTransport, portKind, state)
    if (typeof opened === 'number') {
      // Of two families one is enough (RFC 8656 §7.2).
      if (families.length === 1 || failed !== undefined) return opened
      failed = { family, code: opened }
    } else {
      relays.push(opened[0])
      next = opened[1]
    }
  }
  // A copy is just as long as it has to be.
  return { relays: [...relays], next, failed }
}

async function openRelay(
  where: ResolvedRelay,
  relayTransport: 'udp' | 'tcp',
  portKind: 'any' | 'even' | 'pair',
  state: TurnState,
): Promise<readonly [Relay, Relay?] | number> {
  try {
    const [first, second] =
      relayTransport === 'udp'
        ? ((await state.relays.open(where, portKind)) ?? [])
        : await state.openTcpRelay(where)
    return first === undefined ? 508 : second === undefined ? [first] : [first, second]
  } catch (error) {
    state.log.warn({ code: errorCode(error), address: where.address, err: error }, 'relay cannot be opened')
    return 508
  }
}

function redirectOf(
  { client, identity }: TurnRequest,
  { redirect }: Pick<TurnSettings, 'redirect'>,
): Refusal | undefined {
  const to = redirect?.({ address: client.address, userId: identity.credential.userId })
  // ALTERNATE-SERVER has the family of the request's source (RFC 8489 §10).
  if (to === undefined || to.address.includes(':') !== client.address.includes(':')) return undefined
  return {
    code: 300,
    add: (writer: StunWriter) => {
      writer.attribute(StunAttribute.alternateServer, encodeAddress(to))
      if (to.domain !== undefined) writer.text(StunAttribute.alternateDomain, to.domain)
    },
  }
}

/** Says which family could not be had. */
export function encodeFailed({
  family,
  code,
}: {
  readonly family: 4 | 6
  readonly code: number
}): Uint8Array {
  return encodeAddressErrorCode({ family: family === 4 ? AddressFamily.ipv4 : AddressFamily.ipv6, code })
}

/** An engine that cannot set DF does as RFC 8656 §7.2 says of a server that cannot. */
const dontFragmentUnknown: Refusal = {
  code: 420,
  add: (writer) =>
    writer.attribute(StunAttribute.unknownAttributes, encodeUnknownAttributes([StunAttribute.dontFragment])),
}

const none = new Uint8Array(0)
