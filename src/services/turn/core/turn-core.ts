import { createHmac } from 'node:crypto'
import { errorCode } from '../../../foundation/errors.ts'
import { SmallMap } from '../../../foundation/small-map.ts'
import type { Arrival } from '../../../mechanisms/datapath/index.ts'
import {
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
  verifyFingerprint,
} from '../../../protocols/stun/index.ts'
import { isChannelData } from '../../../protocols/turn/index.ts'
import type { AllocationInfo } from '../allocation-info.ts'
import type { AllocationEnd } from '../events.ts'
import { type Allotted, allot, encodeFailed } from './allocate.ts'
import { allocationInfo } from './allocation-view.ts'
import type { Allocation } from './allocation.ts'
import { Answers, replayOf } from './answers.ts'
import { Authenticator, type Identity, isOwner, type RefusalCode, type Verdict } from './authenticator.ts'
import { Challenge } from './challenge.ts'
import type { Client } from './client.ts'
import { type DataPlane } from './data-plane.ts'
import { ExpiryWheel } from './expiry-wheel.ts'
import { grantLifetime } from './lifetime.ts'
import { channelBind, createPermission, refreshedFamilies } from './methods.ts'
import { Nonces } from './nonces.ts'
import { connect, connectionBind, PeerConnections } from './peer-connections.ts'
import { relayTo } from './peer-paths.ts'
import {
  type AllocationRequest,
  beginSuccess,
  finish,
  sign,
  type TurnRequest,
  unknownAttributes,
} from './request.ts'
import { sendTo } from './send-to.ts'
import { fairRequestBytes, StrangerBudget } from './stranger-budget.ts'
import { nextDeadline, sweep } from './sweep.ts'
import { methodOf, provedMethods } from './turn-method.ts'
import type { TurnSettings, TurnState } from './turn-state.ts'
import { TurnStats } from './turn-stats.ts'

/**
 * The TURN server without its sockets: what clients and peers send comes in, answers and data go out through `Client` and
 * the datapath, and time is the clock's. Keeps nothing of whom it has not authenticated.
 */
export class TurnCore {
  readonly stats: TurnStats = new TurnStats()
  readonly #state: TurnState
  readonly #data: DataPlane
  readonly #secret: Uint8Array
  readonly #answers: Answers
  readonly #wheel: ExpiryWheel<Allocation>
  #authenticator!: Authenticator
  #mayTry: (address: string) => boolean = () => false
  /** Requests whose credentials somebody else is asked about. */
  #judging = 0

  /** @param secret 32 bytes, from which all keys come */
  constructor(state: TurnState, data: DataPlane, secret: Uint8Array) {
    this.#state = state
    this.#data = data
    this.#secret = secret
    this.#answers = new Answers(state, this.stats)
    this.#wheel = new ExpiryWheel(state.clock, (allocation, nowMs) => this.#sweep(allocation, nowMs))
    this.configure(state.settings)
  }

  /** Puts other settings in force. Allocations keep what they were made with. */
  configure(settings: TurnSettings): void {
    const { realm, credentials, security, limits } = settings
    this.#state.settings = settings
    const nonces = new Nonces(deriveKey(this.#secret, 'nonce', 16), limits.nonceSeconds, security)
    const { thirdPartyServer } = credentials
    const challenge = new Challenge({
      realm,
      security,
      nonces,
      ...(thirdPartyServer !== undefined && { thirdPartyServer }),
    })
    const attempts = new StrangerBudget({
      perPrefix: limits.attemptsPerSecond,
      scope: 'host',
      total: 0,
      key: Uint8Array.from(this.#state.random(16)),
    })
    const mayTry = (address: string): boolean =>
      attempts.admits(address, fairRequestBytes, this.#state.clock.nowMs())
    this.#mayTry = mayTry
    this.#authenticator = new Authenticator({ credentials, realm, security, nonces, mayTry })
    this.#answers.configure(challenge, limits)
  }

  /** The allocation of a client's five-tuple. */
  allocationOf(key: string): Allocation | undefined {
    return this.#state.allocations.ofClient(key)
  }

  /** Whether a client has an allocation, here or at another server to which it is led. */
  isServed(key: string): boolean {
    return this.allocationOf(key) !== undefined || this.#state.detours.has(key)
  }

  /** Requests of strangers that were not answered, for want of budget. */
  get unanswered(): number {
    return this.#answers.unanswered
  }

  /** One whole message of a client: a datagram, or a frame of a stream. The bytes are valid during the call only. */
  receive(bytes: Uint8Array, client: Client, allocation: Allocation | undefined): void {
    const { traffic } = client.listener
    traffic.rxPackets++
    traffic.rxBytes += bytes.length
    if (allocation?.movingTo === client && isData(bytes)) this.#move(allocation)
    if (allocation === undefined && this.#state.detours.pass(bytes, client)) return
    if (isChannelData(bytes[0])) {
      if (allocation === undefined) this.#data.dropped['no-allocation']++
      else this.#data.onChannelData(allocation, bytes)
      return
    }
    const message = StunMessage.decode(bytes)
    if (typeof message === 'string') {
      this.stats.malformed++
      return
    }
    if (message.fingerprintOffset !== undefined && !verifyFingerprint(message)) {
      this.stats.malformed++
      return
    }
    if (message.class === StunClass.indication) {
      if (message.method !== StunMethod.send) return
      if (allocation === undefined) this.#data.dropped['no-allocation']++
      else this.#data.onSend(allocation, bytes)
      return
    }
    if (message.class !== StunClass.request) return
    if (message.method === StunMethod.binding) this.#bind(message, client, allocation)
    else if (provedMethods.has(message.method)) this.#judge(message, client, allocation)
  }

  /** What came to a relayed address. */
  receiveFromPeer(arrival: Arrival): void {
    this.#data.onArrival(arrival)
  }

  /** The connection of a client is gone; its allocation goes with it (RFC 8656 §3.1). */
  disconnected(client: Client): void {
    this.#state.detours.endOf(client.key)
    const allocation = this.#state.allocations.ofClient(client.key)
    if (allocation === undefined) return
    if (allocation.movingTo === client) {
      this.#state.allocations.removeClient(client)
      allocation.movingTo = undefined
    } else if (this.#isMobile(allocation)) {
      // A client that moves has lost its connection first; it comes back with its ticket or expires (RFC 8016).
      return
    } else this.end(allocation, 'disconnected')
  }

  /** Ends an allocation: its relays are closed and its quota is given back. */
  end(allocation: Allocation, reason: AllocationEnd): void {
    if (allocation.isGone) return
    allocation.isGone = true
    const state = this.#state
    const { allocationDeleted } = state.settings.events
    // While its paths are there to be counted.
    const last = allocationDeleted === undefined ? undefined : this.view(allocation)
    this.#wheel.cancel(allocation)
    for (const permission of [...allocation.permissions.values()]) {
      state.paths.endPermission(allocation, permission)
    }
    state.paths.detachClient(allocation)
    allocation.connections?.close()
    for (const relay of allocation.relays) this.#closeRelay(relay)
    if (allocation.reservation !== undefined) state.reservations.end(allocation.reservation)
    allocation.meters.close()
    state.allocations.remove(allocation)
    allocation.countedBy.give(allocation.quota)
    this.stats.ended[reason]++
    this.stats.addEnded(allocation)
    if (state.allocations.size === 0 && state.detours.size === 0) state.onEmpty?.()
    if (last !== undefined) {
      state.notify('allocationDeleted', (events) => events.allocationDeleted?.(last, reason))
    }
  }

  /** As operators see it. */
  view(allocation: Allocation): AllocationInfo {
    return allocationInfo(allocation, this.#state.paths, this.#state.clock)
  }

  /** Rules have changed: what they no longer admit stops at once. */
  recheckPeers(): void {
    const { allocations, gate, paths } = this.#state
    for (const allocation of allocations.all()) {
      const { client, relayTransport, permissions } = allocation
      for (const permission of [...permissions.values()]) {
        if (!gate.admitsAddress(client.listener, permission.address, relayTransport)) {
          paths.endPermission(allocation, permission)
          continue
        }
        for (const path of [...permission.paths.values()]) {
          if (!gate.admits(client.listener, path.peer, 'udp')) paths.end(path)
        }
      }
      allocation.connections?.recheck((peer) => gate.admits(client.listener, peer, 'tcp'))
    }
  }

  #bind(message: StunMessage, client: Client, allocation: Allocation | undefined): void {
    if (!this.#answers.mayAnswer(message, client, allocation)) return
    const unknown = unknownAttributes(message)
    if (unknown !== undefined) return this.#answers.refuse(message, client, undefined, unknown)
    this.stats.count('binding', 'success')
    const writer = beginSuccess({ message }).xorAddress(StunAttribute.xorMappedAddress, client)
    sendTo(client, finish(writer, message))
  }

  #judge(message: StunMessage, client: Client, allocation: Allocation | undefined): void {
    const { clock } = this.#state
    if (allocation === undefined && this.#lead(message, client)) return
    const owner = allocation ?? this.#ofTicket(message) ?? this.#ofConnection(message)
    const verdict = this.#authenticator.judge(message, client, owner?.identity, clock.wallMs())
    if (!(verdict instanceof Promise)) {
      this.#proceed(message, client, verdict)
      return
    }
    if (this.#judging >= maxJudging) {
      this.stats.count(methodOf(message), 500)
      return
    }
    this.#judging++
    const kept = message.copy()
    void verdict
      .then((settled) => this.#proceed(kept, client, settled))
      .catch((error: unknown) => this.#lost(error))
      .finally(() => {
        this.#judging--
      })
  }

  /** Leads a client that has moved here to the server that its ticket names. False when there is no such server. */
  #lead(message: StunMessage, client: Client): boolean {
    const { detours, settings, isDraining } = this.#state
    if (message.method !== StunMethod.refresh || !settings.mobility || isDraining) return false
    const ticket = message.attribute(StunAttribute.mobilityTicket)
    const destination = ticket === undefined ? undefined : detours.serverOf(ticket)
    if (destination === undefined) return false
    // Nothing is proved of it, and a way costs more than an attempt to prove.
    if (this.#mayTry(client.address)) detours.open(message, client, destination)
    else this.#answers.countUnanswered()
    return true
  }

  /** Goes on with a request whose sender is now known, or known not to be who it says. */
  #proceed(message: StunMessage, client: Client, verdict: Verdict): void {
    const { allocations, clock } = this.#state
    const allocation = allocations.ofClient(client.key)
    if (verdict === 'unanswered') {
      this.#answers.countUnanswered()
      return
    }
    this.#tellOfAttempt(message, client, verdict)
    if (typeof verdict === 'number') {
      this.#answers.turnAway(message, client, allocation, verdict)
      return
    }
    const request = { message, client, identity: verdict, nowMs: clock.nowMs(), wallMs: clock.wallMs() }
    const unknown = unknownAttributes(message)
    if (unknown !== undefined) this.#answers.answer(request, unknown)
    else if (message.method === StunMethod.allocate) this.#allocate(request, allocation)
    else if (message.method === StunMethod.connectionBind)
      connectionBind(request, this.#state, this.#answers.answering(request))
    else if (message.method === StunMethod.refresh && allocation === undefined) this.#refreshMoved(request)
    else if (allocation === undefined) this.#answers.answer(request, 437)
    else if (!isOwner(allocation.identity, verdict)) this.#answers.answer(request, 441)
    else {
      allocation.identity = verdict
      this.#onAllocation({ ...request, allocation })
    }
  }

  #tellOfAttempt(message: StunMessage, client: Client, verdict: Identity | RefusalCode): void {
    const isAccepted = typeof verdict !== 'number'
    // Who brings no credentials makes no attempt, and an old nonce says nothing of them.
    if (!isAccepted && (verdict !== 401 || !isSigned(message))) return
    this.#state.notify('authenticated', (events) => {
      const username = message.text(StunAttribute.username)
      events.authenticated?.({
        method: methodOf(message),
        ...(username !== undefined && { username }),
        ...(isAccepted && { userId: verdict.credential.userId }),
        clientAddress: client.address,
        listener: client.listener.options.name,
        isAccepted,
      })
    })
  }

  #onAllocation(request: AllocationRequest): void {
    const { message, allocation } = request
    const state = this.#state
    switch (message.method) {
      case StunMethod.refresh:
        return this.#refresh(request)
      case StunMethod.createPermission:
        this.#answers.answer(request, createPermission(request, state))
        break
      case StunMethod.channelBind:
        this.#answers.answer(request, channelBind(request, state))
        break
      default:
        return connect(request, state, this.#answers.answering(request))
    }
    this.#schedule(allocation)
  }

  #allocate(request: TurnRequest, existing: Allocation | undefined): void {
    const { message, client } = request
    const transaction = transactionText(message)
    if (existing !== undefined) {
      if (!this.#answers.replay(request, existing, transaction)) this.#answers.answer(request, 437)
      return
    }
    const { allocating, detours } = this.#state
    // It has one, elsewhere.
    if (detours.has(client.key)) return this.#answers.answer(request, 437)
    const pending = allocating.get(client.key)
    // A retransmission gets the answer of the first; anything else must wait for it too.
    if (pending !== undefined) return pending === transaction ? undefined : this.#answers.answer(request, 437)
    if (allocating.size >= maxAllocating) return this.#answers.answer(request, 508)
    allocating.set(client.key, transaction)
    const kept = { ...request, message: message.copy() }
    void allot(kept, this.#state)
      .catch((error: unknown) => {
        this.#state.log.warn({ code: errorCode(error), err: error }, 'allocation could not be made')
        return 500
      })
      .then((allotted) => {
        allocating.delete(client.key)
        this.#allotted(kept, allotted, transaction)
      })
      .catch((error: unknown) => this.#lost(error))
  }

  #allotted(request: TurnRequest, allotted: Allotted, transaction: string): void {
    if (typeof allotted === 'number' || 'code' in allotted) return this.#answers.answer(request, allotted)
    const { client, identity, message } = request
    const { wanted, quota, countedBy, relays, next, failed } = allotted
    const state = this.#state
    const { clock, settings } = state
    const giveUp = (): void => {
      countedBy.give(quota)
      for (const relay of next === undefined ? relays : [...relays, next]) this.#closeRelay(relay)
    }
    if (client.isGone?.() === true) return giveUp()
    // What was so when it was asked for may have changed since: another has been made, or its client has moved here.
    const { maxPerAddress } = settings.limits
    const isFull = maxPerAddress > 0 && state.allocations.fromSource(client.address) >= maxPerAddress
    const refusal = this.isServed(client.key) ? 437 : 508
    if (refusal === 437 || isFull || state.isDraining) {
      giveUp()
      return this.#answers.answer(request, refusal)
    }
    const nowMs = clock.nowMs()
    const allocation: Allocation = {
      id: newId(state),
      client,
      movingTo: undefined,
      identity,
      quota,
      countedBy,
      relayTransport: wanted.relayTransport,
      relays,
      reservation: undefined,
      meters: state.meters.open(quota.userId),
      createdWallMs: clock.wallMs(),
      expiresAtMs: nowMs + wanted.lifetimeSeconds * 1000,
      permissions: new SmallMap(),
      channels: undefined,
      loosePaths: undefined,
      clientFlow: undefined,
      connections: undefined,
      newPeers: undefined,
      replay: undefined,
      ticket: wanted.isMobile ? 1 : 0,
      sent: { packets: 0, bytes: 0 },
      received: { packets: 0, bytes: 0 },
      dropped: 0,
      isGone: false,
    }
    for (const relay of relays) {
      relay.allocation = allocation
    }
    if (wanted.relayTransport === 'tcp') allocation.connections = new PeerConnections(allocation, state)
    try {
      state.paths.attachClient(allocation)
    } catch (error) {
      // Its listener was closed meanwhile.
      allocation.meters.close()
      giveUp()
      throw error
    }
    state.allocations.add(allocation)
    client.listener.traffic.clients++
    this.stats.created++
    if (next !== undefined) allocation.reservation = state.reservations.keep(next, identity)
    const writer = beginSuccess(request)
    for (const { relayed } of relays) writer.xorAddress(StunAttribute.xorRelayedAddress, relayed)
    if (failed !== undefined) writer.attribute(StunAttribute.addressErrorCode, encodeFailed(failed))
    writer.u32(StunAttribute.lifetime, wanted.lifetimeSeconds)
    if (allocation.reservation !== undefined) {
      writer.attribute(StunAttribute.reservationToken, Buffer.from(allocation.reservation, 'hex'))
    }
    writer.xorAddress(StunAttribute.xorMappedAddress, client)
    if (wanted.isMobile) this.#writeTicket(writer, allocation)
    const bytes = sign(writer, request)
    allocation.replay = replayOf(transaction, bytes, nowMs)
    this.stats.count(methodOf(message), 'success')
    sendTo(client, bytes)
    this.#schedule(allocation)
    state.notify('allocationCreated', (events) => events.allocationCreated?.(this.view(allocation)))
  }

  #refresh(request: AllocationRequest): void {
    const { message, allocation, client, nowMs } = request
    const transaction = transactionText(message)
    const ticket = message.attribute(StunAttribute.mobilityTicket)
    if (ticket !== undefined && this.#answers.replay(request, allocation, transaction)) return
    const checked = this.#checkRefresh(request)
    if (typeof checked === 'number') return this.#answers.answer(request, checked)
    const { families, granted } = checked
    if (message.u32(StunAttribute.lifetime) === 0) {
      this.#answers.answer(request, (writer) => writer.u32(StunAttribute.lifetime, 0))
      const rest = allocation.relays.filter(({ family }) => !families.includes(family))
      if (rest.length === 0) this.end(allocation, 'released')
      else this.#dropFamilies(allocation, rest)
      return
    }
    allocation.expiresAtMs = nowMs + granted * 1000
    const writer = beginSuccess(request).u32(StunAttribute.lifetime, granted)
    if (ticket !== undefined) {
      allocation.ticket++
      this.#writeTicket(writer, allocation)
    }
    const bytes = sign(writer, request)
    // Another ticket each time: what is sent again must get the one that it was given.
    if (ticket !== undefined) allocation.replay = replayOf(transaction, bytes, nowMs)
    this.stats.count('refresh', 'success')
    sendTo(client, bytes)
    this.#schedule(allocation)
    this.#state.notify('allocationRefreshed', (events) => events.allocationRefreshed?.(this.view(allocation)))
  }

  /** The families that a Refresh is about and the lifetime that it gets, in seconds, or the code of its refusal. */
  #checkRefresh({
    message,
    allocation,
    identity,
    wallMs,
  }: AllocationRequest): { readonly families: readonly (4 | 6)[]; readonly granted: number } | number {
    const { limits, mobility } = this.#state.settings
    const families = refreshedFamilies(message.attribute(StunAttribute.requestedAddressFamily), allocation)
    if (typeof families === 'number') return families
    const granted = grantLifetime(message, identity.credential, limits, wallMs)
    if (granted === undefined) return 400
    const hasTicket = message.attribute(StunAttribute.mobilityTicket) !== undefined
    if (hasTicket && !this.#isMobile(allocation)) return mobility ? 400 : 405
    return { families, granted }
  }

  /** A Refresh from a five-tuple that has no allocation: from a client that has moved, with its ticket (RFC 8016 §3.2.1). */
  #refreshMoved(request: TurnRequest): void {
    const { message, client, identity } = request
    const allocation = this.#ofTicket(message)
    if (allocation === undefined) return this.#answers.answer(request, 437)
    if (!isOwner(allocation.identity, identity)) return this.#answers.answer(request, 441)
    // Its relayed addresses are those of this listener, and so are the rules about peers.
    if (
      client.listener !== allocation.client.listener &&
      client.listener.options.peers !== allocation.client.listener.options.peers
    ) {
      return this.#answers.answer(request, 437)
    }
    const checked = this.#checkRefresh({ ...request, allocation })
    if (typeof checked === 'number') return this.#answers.answer(request, checked)
    if (allocation.movingTo !== undefined) this.#state.allocations.removeClient(allocation.movingTo)
    allocation.movingTo = client
    this.#state.allocations.addClient(client, allocation)
    this.#refresh({ ...request, allocation })
  }

  /** From the first data on that comes from where the client has moved to, it is served there. */
  #move(allocation: Allocation): void {
    const { movingTo, client: before } = allocation
    if (movingTo === undefined) return
    this.#state.paths.moveClient(allocation, () => {
      allocation.client = movingTo
      allocation.movingTo = undefined
      this.#state.allocations.moved(before, movingTo)
    })
    before.disconnect?.()
  }

  #dropFamilies(allocation: Allocation, rest: Allocation['relays']): void {
    for (const relay of allocation.relays) {
      if (rest.includes(relay)) continue
      for (const permission of [...allocation.permissions.values()]) {
        if (permission.address.includes(':') === (relay.family === 6)) {
          this.#state.paths.endPermission(allocation, permission)
        }
      }
      this.#closeRelay(relay)
    }
    allocation.relays = rest
    allocation.connections?.recheck(({ address }) => relayTo(allocation, address) !== undefined)
  }

  #closeRelay(relay: Allocation['relays'][number]): void {
    this.#state.relays.close(relay)
    // Allocations of this server that talk with it would go on sending to whoever gets the port next.
    for (const path of relay.incoming ?? []) this.#state.paths.end(path)
    relay.incoming = undefined
  }

  /** The allocation that a mobility ticket opens, if it is the one given last. */
  #ofTicket(message: StunMessage): Allocation | undefined {
    if (message.method !== StunMethod.refresh) return undefined
    const value = message.attribute(StunAttribute.mobilityTicket)
    if (value === undefined || value.length === 0) return undefined
    const ticket = this.#state.tickets.open(value)
    const allocation = ticket === undefined ? undefined : this.#state.allocations.ofId(ticket.allocation)
    return allocation?.ticket === ticket?.number ? allocation : undefined
  }

  /** The allocation whose peer connection a ConnectionBind asks for; its own client need not be looked up again. */
  #ofConnection(message: StunMessage): Allocation | undefined {
    if (message.method !== StunMethod.connectionBind) return undefined
    const id = message.u32(StunAttribute.connectionId)
    return id === undefined ? undefined : this.#state.waitingConnections.get(id)?.allocation
  }

  #isMobile({ ticket }: Allocation): boolean {
    return ticket > 0
  }

  #writeTicket(writer: ReturnType<typeof beginSuccess>, { id, ticket }: Allocation): void {
    writer.attribute(
      StunAttribute.mobilityTicket,
      this.#state.tickets.seal({ allocation: id, number: ticket }),
    )
  }

  #sweep(allocation: Allocation, nowMs: number): void {
    if (allocation.expiresAtMs <= nowMs) this.end(allocation, 'expired')
    else this.#wheel.schedule(allocation, sweep(allocation, this.#state.paths, nowMs))
  }

  /** After anything that may have brought a deadline forward. */
  #schedule(allocation: Allocation): void {
    if (!allocation.isGone) this.#wheel.schedule(allocation, nextDeadline(allocation))
  }

  /** Nobody waits for what goes on later: a client whose listener was closed meanwhile cannot be answered any more. */
  #lost(error: unknown): void {
    this.#state.log.warn({ code: errorCode(error), err: error }, 'a request could not be brought to its end')
  }
}

const maxAllocating = 4096
const maxJudging = 1024

/** Whether a message carries data: ChannelData, or a Send indication. */
function isData(bytes: Uint8Array): boolean {
  return isChannelData(bytes[0]) || (bytes[0] === 0x00 && bytes[1] === 0x16)
}

/** 8 bytes that no other allocation has; those of a fleet name their server first. */
function newId({ fleet, random, allocations }: TurnState): string {
  const hex = (bytes: number): string => Buffer.from(random(bytes)).toString('hex')
  if (fleet === undefined) return hex(8)
  for (;;) {
    const id = `${fleet.tag}${hex(4)}`
    if (allocations.ofId(id) === undefined) return id
  }
}

function isSigned({ integrityOffset, integritySha256Offset }: StunMessage): boolean {
  return integrityOffset !== undefined || integritySha256Offset !== undefined
}

function transactionText(message: StunMessage): string {
  return Buffer.from(message.transactionId).toString('latin1')
}

/** A key for one purpose. */
export function deriveKey(secret: Uint8Array, purpose: string, bytes: number): Uint8Array {
  return createHmac('sha256', secret).update(purpose).digest().subarray(0, bytes)
}
