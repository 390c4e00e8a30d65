import {
  decodeAddress,
  decodeErrorCode,
  decodeXorAddress,
  StunAttribute,
  type StunAttributeView,
  StunClass,
  StunMessage,
  StunMethod,
  StunWriter,
  type TransportAddress,
  verifyFingerprint,
} from '../../stun/index.ts'
import {
  decodeChannelData,
  encodeChannelData,
  isChannelData,
  maxChannel,
  minChannel,
} from '../channel-data.ts'
import { StreamFramer } from '../stream-framer.ts'
import {
  decodeAddressErrorCode,
  decodeIcmp,
  encodeAddressFamily,
  encodeChannelNumber,
  encodeRequestedTransport,
  peerAddress,
  RelayTransport,
} from '../turn-attributes.ts'
import { LongTermLogin } from './long-term-login.ts'
import {
  type CompleteTurnClientOptions,
  completeTurnClientOptions,
  type TurnClientOptions,
} from './turn-client-options.ts'
import type { TurnClientOutput, TurnFailureCode, TurnOperation } from './turn-client-output.ts'

/**
 * One allocation from the client's side (RFC 8656, RFC 6062), without socket, clock or dice. It answers challenges, repeats
 * what is lost, and renews allocation, permissions and channels before they end. Drain `poll` after every call.
 *
 * @example
 *   const client = new TurnClient({ username, password, isStream: false, random: randomBytes })
 *   client.allocate(nowMs)
 *   for (let out = client.poll(); out !== undefined; out = client.poll())
 *     if (out.kind === 'send') socket.send(out.bytes)
 *   // datagram: client.receive(bytes, nowMs); timer at client.nextDeadlineMs(): client.tick(nowMs)
 */
export class TurnClient {
  readonly #options: CompleteTurnClientOptions
  readonly #login: LongTermLogin
  readonly #framer = new StreamFramer()
  readonly #outputs: TurnClientOutput[] = []
  readonly #transactions = new Map<string, Transaction>()
  /** What is to be renewed, by what it is. */
  readonly #upkeep = new Map<string, Upkeep>()
  /** Of all that were asked for: data can come before the answer does. */
  readonly #peerOfChannel = new Map<number, TransportAddress>()
  /** Of those that the server has confirmed. */
  readonly #channelOfPeer = new Map<string, number>()
  #nextChannel: number = minChannel
  #dropped = 0
  #isBroken = false
  /** From the first request that can make one, until the server says that there is none. */
  #mayBeAllocated = false
  #isReleasing = false

  /**
   * @param login shared with another client; see `forConnection`
   * @throws RangeError for an option out of its range
   */
  constructor(
    options: TurnClientOptions,
    login: LongTermLogin = new LongTermLogin(options.username, options.password),
  ) {
    this.#options = completeTurnClientOptions(options)
    this.#login = login
  }

  /**
   * A client for the stream of a peer's connection, which signs its first request with the challenge that this one had:
   * coturn closes a stream that begins with a bare ConnectionBind.
   */
  forConnection(): TurnClient {
    return new TurnClient(this.#options, this.#login)
  }

  /** What came and was no use: strangers' answers, late ones, malformed ones, data of unknown channels. */
  get dropped(): number {
    return this.#dropped
  }

  /** Asks for the allocation: `allocated` or `failed`. @param attributes further ones, such as EVEN-PORT */
  allocate(nowMs: number, attributes: readonly StunAttributeView[] = []): void {
    const { relayTransport, family, lifetimeSeconds } = this.#options
    this.#isReleasing = false
    this.#request(nowMs, {
      operation: 'allocate',
      method: StunMethod.allocate,
      write: (writer) => {
        writer.attribute(
          StunAttribute.requestedTransport,
          encodeRequestedTransport(RelayTransport[relayTransport]),
        )
        if (family !== undefined)
          writer.attribute(StunAttribute.requestedAddressFamily, encodeAddressFamily(family))
        if (lifetimeSeconds !== undefined) writer.u32(StunAttribute.lifetime, lifetimeSeconds)
        for (const { type, value } of attributes) writer.attribute(type, value)
      },
      succeed: (message, atMs) => this.#allocated(message, atMs),
    })
  }

  /** Renews the allocation now; it happens by itself before it ends. `refreshed` or `failed`, which is the end of it. */
  refresh(nowMs: number, attributes: readonly StunAttributeView[] = []): void {
    const { lifetimeSeconds } = this.#options
    this.#request(nowMs, {
      operation: 'refresh',
      method: StunMethod.refresh,
      write: (writer) => {
        if (lifetimeSeconds !== undefined) writer.u32(StunAttribute.lifetime, lifetimeSeconds)
        for (const { type, value } of attributes) writer.attribute(type, value)
      },
      succeed: (message, atMs) => {
        const granted = message.u32(StunAttribute.lifetime)
        if (granted === undefined) return false
        this.#keepAllocation(atMs, granted)
        this.#outputs.push({ kind: 'refreshed', lifetimeSeconds: granted })
        return true
      },
    })
  }

  /**
   * Deletes the allocation, if the server may have one, and forgets all that was to be renewed: `released` or `failed`. While
   * an allocation is being made its answer is waited for: a Refresh that overtakes it would delete nothing.
   */
  release(nowMs: number): void {
    const pending = [...this.#transactions].filter(
      ([, { request, isSigned }]) => request.operation === 'allocate' && isSigned,
    )
    this.#forget()
    this.#isReleasing = true
    for (const [id, transaction] of pending) this.#transactions.set(id, transaction)
    if (pending.length > 0) return
    if (this.#mayBeAllocated) this.#delete(nowMs)
    else this.#outputs.push({ kind: 'released' })
  }

  #delete(nowMs: number): void {
    this.#request(nowMs, {
      operation: 'release',
      method: StunMethod.refresh,
      write: (writer) => writer.u32(StunAttribute.lifetime, 0),
      succeed: () => {
        this.#released()
        return true
      },
    })
  }

  #released(): void {
    this.#mayBeAllocated = false
    this.#outputs.push({ kind: 'released' })
  }

  /** Lets peers in, and keeps them in: `permitted` or `failed`, for all of them together. Their ports do not count. */
  permit(peers: readonly TransportAddress[], nowMs: number): void {
    this.#request(nowMs, {
      operation: 'permit',
      method: StunMethod.createPermission,
      peers,
      write: (writer) => {
        for (const peer of peers) writer.xorAddress(StunAttribute.xorPeerAddress, peer)
      },
      succeed: (_message, atMs) => {
        this.#keep(`permit ${peers.map(peerKey).join()}`, atMs + permissionRenewalMs, (laterMs) =>
          this.permit(peers, laterMs),
        )
        this.#outputs.push({ kind: 'permitted', peers })
        return true
      },
    })
  }

  /**
   * Binds a channel to a peer, which lets it in as well, and keeps both: `bound` or `failed`. From then on `send` uses it.
   *
   * @param channel the next free one, unless said otherwise
   * @returns the channel
   * @throws RangeError when all 4,096 have been used
   */
  bind(peer: TransportAddress, nowMs: number, channel: number = this.#freeChannel()): number {
    if (!this.#peerOfChannel.has(channel)) this.#peerOfChannel.set(channel, peer)
    this.#request(nowMs, {
      operation: 'bind',
      method: StunMethod.channelBind,
      peers: [peer],
      channel,
      write: (writer) =>
        writer
          .attribute(StunAttribute.channelNumber, encodeChannelNumber(channel))
          .xorAddress(StunAttribute.xorPeerAddress, peer),
      succeed: (_message, atMs) => {
        this.#peerOfChannel.set(channel, peer)
        this.#channelOfPeer.set(peerKey(peer), channel)
        // The permission that came with it ends before the channel does (RFC 8656 §12).
        this.#keep(`bind ${channel}`, atMs + permissionRenewalMs, (laterMs) =>
          this.bind(peer, laterMs, channel),
        )
        this.#outputs.push({ kind: 'bound', channel, peer })
        return true
      },
    })
    return channel
  }

  /**
   * Sends to a peer: by its channel when it has one, else by a Send indication. It is lost unless the peer is let in.
   *
   * @throws RangeError for more than a STUN message holds, 65,535 bytes less some 30
   */
  send(peer: TransportAddress, bytes: Uint8Array): void {
    const channel = this.#channelOfPeer.get(peerKey(peer))
    this.#send(
      channel === undefined
        ? new StunWriter(StunMethod.send, StunClass.indication, this.#options.random(12))
            .xorAddress(StunAttribute.xorPeerAddress, peer)
            .attribute(StunAttribute.data, bytes)
            .finish()
        : encodeChannelData(channel, bytes, this.#options.isStream),
    )
  }

  /** Has the server connect to a peer by TCP (RFC 6062 §4.3): `connected` or `failed`. */
  connect(peer: TransportAddress, nowMs: number): void {
    this.#request(nowMs, {
      operation: 'connect',
      method: StunMethod.connect,
      peers: [peer],
      write: (writer) => writer.xorAddress(StunAttribute.xorPeerAddress, peer),
      succeed: (message) => {
        const connectionId = message.u32(StunAttribute.connectionId)
        if (connectionId === undefined) return false
        this.#outputs.push({ kind: 'connected', connectionId, peer })
        return true
      },
    })
  }

  /**
   * Makes this client's stream, a new one without allocation, that of a peer's connection (RFC 6062 §4.3): `joined` or
   * `failed`. Once joined, the stream's bytes are no more this client's. The client is one that `forConnection` made, or
   * one that has yet to be challenged.
   */
  connectionBind(connectionId: number, nowMs: number): void {
    this.#request(nowMs, {
      operation: 'connection-bind',
      method: StunMethod.connectionBind,
      write: (writer) => writer.u32(StunAttribute.connectionId, connectionId),
      succeed: () => {
        this.#outputs.push({ kind: 'joined', rest: Uint8Array.from(this.#framer.stop()) })
        return true
      },
    })
  }

  /** Takes what the server sent: a datagram, or any piece of the stream. */
  receive(bytes: Uint8Array, nowMs: number): void {
    if (!this.#options.isStream) {
      this.#receive(bytes, nowMs)
      return
    }
    for (const frame of this.#framer.push(bytes)) this.#receive(frame, nowMs)
    if (!this.#framer.isBroken || this.#isBroken) return
    this.#isBroken = true
    this.#forget()
    this.#outputs.push({ kind: 'broken' })
  }

  /** Does what is due. */
  tick(nowMs: number): void {
    for (const [what, { dueAtMs, renew }] of this.#upkeep) {
      if (dueAtMs > nowMs) continue
      this.#upkeep.delete(what)
      renew(nowMs)
    }
    for (const [id, transaction] of this.#transactions) {
      if (transaction.dueAtMs <= nowMs) this.#overdue(id, transaction, nowMs)
    }
  }

  /** When `tick` has something to do next; undefined when nothing is pending. */
  nextDeadlineMs(): number | undefined {
    let next: number | undefined
    for (const { dueAtMs } of this.#upkeep.values()) next = Math.min(next ?? dueAtMs, dueAtMs)
    for (const { dueAtMs } of this.#transactions.values()) next = Math.min(next ?? dueAtMs, dueAtMs)
    return next
  }

  /** What is to be done or told next. */
  poll(): TurnClientOutput | undefined {
    return this.#outputs.shift()
  }

  #request(nowMs: number, request: Request, retries = 0): void {
    const id = Uint8Array.from(this.#options.random(12))
    const writer = new StunWriter(request.method, StunClass.request, id)
    request.write(writer)
    const isSigned = this.#login.isReady
    if (isSigned) this.#login.sign(writer)
    // Without a challenge there is none to be had, except of a server that asks nobody who they are.
    if (isSigned && request.operation === 'allocate') this.#mayBeAllocated = true
    if (this.#options.useFingerprint) writer.fingerprint()
    const { isStream, rtoMs, streamTimeoutMs } = this.#options
    const transaction: Transaction = {
      request,
      bytes: writer.finish(),
      isSigned,
      retries,
      sends: 1,
      waitMs: isStream ? streamTimeoutMs : rtoMs,
      dueAtMs: nowMs + (isStream ? streamTimeoutMs : rtoMs),
      wasForged: false,
    }
    this.#transactions.set(idKey(id), transaction)
    this.#send(transaction.bytes)
  }

  #overdue(id: string, transaction: Transaction, nowMs: number): void {
    const { isStream, rtoMs, maxSends, lastWaitFactor } = this.#options
    if (isStream || transaction.sends >= maxSends) {
      this.#transactions.delete(id)
      this.#fail(transaction.request, transaction.wasForged ? 'integrity' : 'timeout')
      return
    }
    transaction.sends++
    transaction.waitMs *= 2
    transaction.dueAtMs =
      nowMs + (transaction.sends === maxSends ? rtoMs * lastWaitFactor : transaction.waitMs)
    this.#send(transaction.bytes)
  }

  #receive(bytes: Uint8Array, nowMs: number): void {
    if (isChannelData(bytes[0])) {
      const message = decodeChannelData(bytes)
      const peer = message === undefined ? undefined : this.#peerOfChannel.get(message.channel)
      if (message === undefined || peer === undefined) this.#dropped++
      else this.#outputs.push({ kind: 'data', peer, bytes: message.data, channel: message.channel })
      return
    }
    const message = StunMessage.decode(bytes)
    if (typeof message === 'string' || !hasRightFingerprint(message)) this.#dropped++
    else if (message.class === StunClass.indication) this.#indication(message)
    else this.#answer(message, nowMs)
  }

  #indication(message: StunMessage): void {
    const peer = peerAddress(message)
    const data = message.attribute(StunAttribute.data)
    const icmp = message.attribute(StunAttribute.icmp)
    const report = icmp === undefined ? undefined : decodeIcmp(icmp)
    const connectionId = message.u32(StunAttribute.connectionId)
    if (peer === undefined) this.#dropped++
    else if (message.method === StunMethod.data && data !== undefined)
      this.#outputs.push({ kind: 'data', peer, bytes: data })
    else if (message.method === StunMethod.data && report !== undefined)
      this.#outputs.push({ kind: 'icmp', peer, report })
    else if (message.method === StunMethod.connectionAttempt && connectionId !== undefined)
      this.#outputs.push({ kind: 'attempted', connectionId, peer })
    else this.#dropped++
  }

  #answer(message: StunMessage, nowMs: number): void {
    const id = idKey(message.transactionId)
    const transaction = this.#transactions.get(id)
    if (
      transaction === undefined ||
      message.class === StunClass.request ||
      message.method !== transaction.request.method
    ) {
      this.#dropped++
      return
    }
    const { request, isSigned, retries } = transaction
    const error = errorOf(message)
    const isChallenge = error?.code === 401 || error?.code === 438
    const isUnwanted = this.#isReleasing && request.operation === 'allocate'
    if (isSigned && !isChallenge && !this.#isAuthentic(message, error?.code)) {
      this.#dropped++
      transaction.wasForged = true
      // RFC 8489 §9.2.5: over a stream there is nobody else whose answer could still come.
      if (this.#options.isStream) {
        this.#transactions.delete(id)
        this.#fail(request, 'integrity')
      }
      return
    }
    this.#transactions.delete(id)
    if (error === undefined) {
      if (!request.succeed(message, nowMs)) this.#fail(request, 'malformed')
    } else if (isUnwanted) {
      this.#released()
    } else if (isChallenge && retries < maxRetries && (!isSigned || error.code === 438)) {
      if (this.#login.take(message)) this.#request(nowMs, request, retries + 1)
      else this.#fail(request, 'challenge')
    } else if (request.operation === 'release' && error.code === 437) {
      // The first answer was lost, or the server was quicker.
      this.#released()
    } else {
      const alternate = message.attribute(StunAttribute.alternateServer)
      this.#fail(request, error.code, error.reason, alternate && decodeAddress(alternate))
    }
  }

  /**
   * Whether an answer to a signed request can be believed. RFC 8489 §9.2.5 lets none pass that is not signed; but servers
   * in the field leave integrity out of errors, and 39 seconds of silence would be a worse account of them. Being sent
   * elsewhere (300) takes a signature.
   */
  #isAuthentic(message: StunMessage, errorCode: number | undefined): boolean {
    const isBare = message.integrityOffset === undefined && message.integritySha256Offset === undefined
    if (isBare && errorCode !== undefined) return errorCode !== 300
    return this.#login.hasSigned(message)
  }

  #allocated(message: StunMessage, nowMs: number): boolean {
    this.#mayBeAllocated = true
    if (this.#isReleasing) {
      this.#delete(nowMs)
      return true
    }
    const [relayed, additional] = addresses(message, StunAttribute.xorRelayedAddress)
    const [mapped] = addresses(message, StunAttribute.xorMappedAddress)
    const lifetimeSeconds = message.u32(StunAttribute.lifetime)
    if (relayed === undefined || mapped === undefined || lifetimeSeconds === undefined) return false
    const reservationToken = message.attribute(StunAttribute.reservationToken)
    const mobilityTicket = message.attribute(StunAttribute.mobilityTicket)
    const errorCode = message.attribute(StunAttribute.addressErrorCode)
    const addressError = errorCode && decodeAddressErrorCode(errorCode)
    this.#keepAllocation(nowMs, lifetimeSeconds)
    this.#outputs.push({
      kind: 'allocated',
      relayed,
      ...(additional && { additional }),
      ...(addressError && { addressError }),
      mapped,
      lifetimeSeconds,
      ...(reservationToken && { reservationToken: Uint8Array.from(reservationToken) }),
      ...(mobilityTicket && { mobilityTicket: Uint8Array.from(mobilityTicket) }),
    })
    return true
  }

  #keepAllocation(nowMs: number, lifetimeSeconds: number): void {
    const lifetimeMs = lifetimeSeconds * 1000
    this.#keep('allocation', nowMs + Math.max(lifetimeMs - renewalMarginMs, lifetimeMs / 2), (laterMs) =>
      this.refresh(laterMs),
    )
  }

  #keep(what: string, dueAtMs: number, renew: (nowMs: number) => void): void {
    this.#upkeep.set(what, { dueAtMs, renew })
  }

  #fail(request: Request, code: TurnFailureCode, reason = '', alternateServer?: TransportAddress): void {
    const { operation, peers = [], channel } = request
    if (operation === 'refresh') this.#forget()
    const isNone =
      operation === 'allocate' ? typeof code === 'number' : operation === 'refresh' && code === 437
    if (isNone) this.#mayBeAllocated = false
    if (channel !== undefined) for (const peer of peers) this.#unbind(channel, peer)
    this.#outputs.push({
      kind: 'failed',
      operation,
      code,
      reason,
      peers,
      ...(alternateServer && { alternateServer }),
    })
  }

  /** Undoes a binding that could not be made or renewed; not the other one that was in its way. */
  #unbind(channel: number, peer: TransportAddress): void {
    const bound = this.#peerOfChannel.get(channel)
    if (bound === undefined || peerKey(bound) !== peerKey(peer)) return
    this.#peerOfChannel.delete(channel)
    if (this.#channelOfPeer.get(peerKey(peer)) === channel) this.#channelOfPeer.delete(peerKey(peer))
  }

  /** What belonged to an allocation that is no more. */
  #forget(): void {
    this.#transactions.clear()
    this.#upkeep.clear()
    this.#peerOfChannel.clear()
    this.#channelOfPeer.clear()
  }

  #freeChannel(): number {
    if (this.#nextChannel > maxChannel) throw new RangeError('all channel numbers have been used')
    return this.#nextChannel++
  }

  #send(bytes: Uint8Array): void {
    this.#outputs.push({ kind: 'send', bytes })
  }
}

/** What is asked for; written anew, with another transaction id, after each challenge. */
interface Request {
  readonly operation: TurnOperation
  readonly method: number
  readonly peers?: readonly TransportAddress[]
  readonly channel?: number
  /** Adds the attributes; who we are is added later. */
  readonly write: (writer: StunWriter) => void
  /** False when the answer lacks something. */
  readonly succeed: (message: StunMessage, nowMs: number) => boolean
}

interface Transaction {
  readonly request: Request
  readonly bytes: Uint8Array
  readonly isSigned: boolean
  /** How many challenges led to it. */
  readonly retries: number
  sends: number
  waitMs: number
  dueAtMs: number
  /** An answer came that was not signed with our password. */
  wasForged: boolean
}

/** Something to be renewed. */
interface Upkeep {
  readonly dueAtMs: number
  readonly renew: (nowMs: number) => void
}

/** A 401, then some nonces that went stale on the way; a server that always finds another one is not followed further. */
const maxRetries = 4

/** A minute before the 300 seconds of RFC 8656 §9 are over, enough for a request to be repeated to its end. */
const permissionRenewalMs = 240_000
const renewalMarginMs = 60_000

function hasRightFingerprint(message: StunMessage): boolean {
  return message.fingerprintOffset === undefined || verifyFingerprint(message)
}

/** The ERROR-CODE of an error, with 500 for one that has none or a wrong one; undefined for a success. */
function errorOf(message: StunMessage): { readonly code: number; readonly reason: string } | undefined {
  if (message.class !== StunClass.error) return undefined
  const value = message.attribute(StunAttribute.errorCode)
  return (value && decodeErrorCode(value)) ?? { code: 500, reason: 'an error without its code' }
}

function addresses(message: StunMessage, wanted: number): readonly TransportAddress[] {
  const found: TransportAddress[] = []
  for (const { type, value } of message.attributes()) {
    const address = type === wanted ? decodeXorAddress(value, message.transactionId) : undefined
    if (address !== undefined) found.push(address)
  }
  return found
}

function idKey(transactionId: Uint8Array): string {
  return Buffer.from(transactionId).toString('latin1')
}

function peerKey({ address, port }: TransportAddress): string {
  return `${address} ${port}`
}
