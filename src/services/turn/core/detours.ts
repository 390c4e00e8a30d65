import type { Clock, Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import {
  type Arrival,
  COUNTER_STRIDE,
  type Datapath,
  type EndpointId,
  type FlowId,
  type MeterId,
  type Remote,
} from '../../../mechanisms/datapath/index.ts'
import { LinePace, type Logger } from '../../../mechanisms/telemetry/index.ts'
import {
  decodeErrorCode,
  StunAttribute,
  StunClass,
  StunMessage,
  StunMethod,
} from '../../../protocols/stun/index.ts'
import { decodeChannelData, encodeChannelData, isChannelData } from '../../../protocols/turn/index.ts'
import type { TurnFleet } from '../fleet.ts'
import type { TurnLimits } from '../options.ts'
import type { Traffic } from './allocation.ts'
import type { Client } from './client.ts'
import type { ListenerState } from './listener-state.ts'
import { sendTo } from './send-to.ts'
import { SourceCounts } from './source-counts.ts'
import type { Tickets } from './ticket.ts'

export interface DetoursOptions {
  /** Absent: there are no detours. */
  readonly fleet: TurnFleet | undefined
  readonly tickets: Tickets
  readonly datapath: Datapath
  readonly clock: Clock
  readonly log: Logger
  readonly limits: () => Pick<TurnLimits, 'maxPerAddress' | 'packetsPerSecond' | 'bytesPerSecond'>
  /** Told when the last one has ended. */
  readonly onEmpty: () => void
}

/** Why a client that came with another server's ticket was not led there; the labels of a metric. */
export const DETOUR_REFUSALS = ['limit', 'failed'] as const
export type DetourRefusal = (typeof DETOUR_REFUSALS)[number]

/**
 * The ways of clients that have moved here while their allocation lives at another server of the fleet (RFC 8016). Each has a
 * socket of its own towards that server, which sees a client at our address, judges its requests itself and moves the
 * allocation as for any other. We pass on what goes between the two, unchanged, and read only what that server grants.
 *
 * Whoever has a ticket gets one, proved or not, so until the other server has granted a Refresh little is passed and not
 * for long. Then it lives as long as the allocation does. What a client by UDP sends in channels goes through the engine.
 */
export class Detours {
  readonly #options: DetoursOptions
  readonly #pace: LinePace
  /** By five-tuple. */
  readonly #byClient = new Map<string, Detour>()
  readonly #perSource = new SourceCounts()
  readonly #unprovedPerSource = new SourceCounts()
  readonly #unproved = new Set<Detour>()
  readonly #counters = new Float64Array(2 * COUNTER_STRIDE)
  readonly refused: Record<DetourRefusal, number> = { limit: 0, failed: 0 }
  /** Those that were granted, since the start. */
  proved = 0

  constructor(options: DetoursOptions) {
    this.#options = options
    this.#pace = new LinePace(options.clock)
  }

  get size(): number {
    return this.#byClient.size
  }

  has(key: string): boolean {
    return this.#byClient.has(key)
  }

  /** The server to which a ticket leads, where that is another one. */
  serverOf(ticket: Uint8Array): Destination | undefined {
    const { fleet, tickets } = this.#options
    if (fleet === undefined) return undefined
    const allocation = tickets.open(ticket)?.allocation
    const tag = allocation?.slice(0, tagDigits)
    if (allocation === undefined || tag === undefined || tag === fleet.tag) return undefined
    const remote = fleet.addressOf(tag)
    return remote === undefined ? undefined : { allocation, tag, remote }
  }

  /** Leads a client to a server, its Refresh first. Over the bounds it gets no answer. */
  open(request: StunMessage, client: Client, destination: Destination): void {
    if (!this.#mayOpen(client, destination)) {
      this.refused.limit++
      return
    }
    const { packetsPerSecond, bytesPerSecond } = this.#options.limits()
    const { datapath, clock } = this.#options
    const hasRate = packetsPerSecond > 0 || bytesPerSecond > 0
    const detour: Detour = {
      ...destination,
      client,
      meter: hasRate
        ? datapath.openMeter({
            ...(packetsPerSecond > 0 && { packetsPerSecond }),
            ...(bytesPerSecond > 0 && { bytesPerSecond }),
          })
        : undefined,
      endpoint: undefined,
      flows: undefined,
      waiting: Buffer.from(request.bytes),
      messages: 0,
      expiry: clock.after(unprovedMs, () => this.#end(detour)),
      isEnded: false,
    }
    this.#byClient.set(client.key, detour)
    this.#unproved.add(detour)
    this.#perSource.add(client.address)
    this.#unprovedPerSource.add(client.address)
    void this.#connect(detour)
  }

  /** Passes on what a client with a detour sends. False when it is none of the other server's: there is no detour, or it is a Binding or Allocate. */
  pass(bytes: Uint8Array, client: Client): boolean {
    if (this.#byClient.size === 0) return false
    const detour = this.#byClient.get(client.key)
    if (detour === undefined) return false
    const kind = kindOf(bytes)
    if (kind === undefined) return false
    if (this.#unproved.has(detour)) {
      if (kind !== 'refresh' || ++detour.messages > maxUnprovedMessages) return true
      if (detour.endpoint === undefined) detour.waiting = Buffer.from(bytes)
    }
    // What came through a flow was charged by the engine.
    if (detour.flows === undefined && !this.#charge(detour, bytes)) return true
    this.#toServer(detour, bytes)
    return true
  }

  /** The connection of a client is gone, or its five-tuple is another's. */
  endOf(key: string): void {
    const detour = this.#byClient.get(key)
    if (detour !== undefined) this.#end(detour)
  }

  /** Ends those of a listener, or all. */
  endAll(listener?: ListenerState): void {
    for (const detour of [...this.#byClient.values()]) {
      if (listener === undefined || detour.client.listener === listener) this.#end(detour)
    }
  }

  /** A server has gone. */
  endTo(tag: string): void {
    for (const detour of [...this.#byClient.values()]) if (detour.tag === tag) this.#end(detour)
  }

  /** Adds what flows have carried between a listener and clients that have detours, as whole messages. */
  addFlowTraffic(listener: ListenerState, rx: Traffic, tx: Traffic): void {
    for (const detour of this.#byClient.values()) {
      if (detour.client.listener === listener) this.#readFlows(detour, rx, tx)
    }
  }

  #mayOpen(client: Client, { allocation }: Destination): boolean {
    const { maxPerAddress } = this.#options.limits()
    if (this.#byClient.size >= maxDetours || this.#unproved.size >= maxUnproved) return false
    if (maxPerAddress > 0 && this.#perSource.of(client.address) >= maxPerAddress) return false
    if (this.#unprovedPerSource.of(client.address) >= maxUnprovedOfSource) return false
    let ofTicket = 0
    for (const other of this.#unproved) if (other.allocation === allocation) ofTicket++
    return ofTicket < maxUnprovedOfAllocation
  }

  /** Takes it out of those that were not granted yet; false when it is none of them. */
  #isProvedNow(detour: Detour): boolean {
    if (!this.#unproved.delete(detour)) return false
    this.#unprovedPerSource.remove(detour.client.address)
    return true
  }

  /** A client that moves on leaves its ways behind: its server sends nothing there any more, and nobody says so. */
  #endLeftBehind({ allocation }: Detour): void {
    const proved = [...this.#byClient.values()].filter(
      (other) => other.allocation === allocation && !this.#unproved.has(other),
    )
    for (const other of proved.slice(0, -maxProvedOfAllocation)) this.#end(other)
  }

  async #connect(detour: Detour): Promise<void> {
    const { datapath, log } = this.#options
    const { remote } = detour
    try {
      const { id } = await datapath.openEndpoint(
        {
          addresses: [remote.address.includes(':') ? '::' : '0.0.0.0'],
          port: 0,
          remote,
          deliver: true,
        },
        (arrival) => this.#receive(detour, arrival),
      )
      if (detour.isEnded) return datapath.closeEndpoint(id)
      detour.endpoint = id
      const { waiting } = detour
      detour.waiting = undefined
      if (waiting !== undefined) this.#toServer(detour, waiting)
    } catch (error) {
      this.refused.failed++
      this.#end(detour)
      const code = errorCode(error)
      const due = this.#pace.due(code)
      if (due !== undefined) log.warn({ code, err: error, ...due }, 'no way to another TURN server')
    }
  }

  #toServer({ endpoint, remote }: Detour, bytes: Uint8Array): void {
    if (endpoint !== undefined) this.#options.datapath.send(endpoint, remote, bytes)
  }

  /** What the other server sends, besides channels that flows carry. */
  #receive(detour: Detour, { kind, bytes }: Arrival): void {
    // That it cannot be reached at present says nothing: whether it is gone the fleet knows.
    if (detour.isEnded || kind === 'icmp') return
    const { client } = detour
    if (isChannelData(bytes[0])) {
      if (this.#unproved.has(detour) || !this.#charge(detour, bytes)) return
      const framed = client.isStream ? padded(bytes) : bytes
      if (framed !== undefined) sendTo(client, framed)
      return
    }
    const message = StunMessage.decode(bytes)
    if (typeof message === 'string') return
    const isAnswer = message.class === StunClass.success || message.class === StunClass.error
    if (!isAnswer && this.#unproved.has(detour)) return
    if (!isAnswer && detour.flows === undefined && !this.#charge(detour, bytes)) return
    sendTo(client, bytes)
    if (isAnswer) this.#learn(detour, message)
  }

  /** How long the allocation lives, from what its server answers. */
  #learn(detour: Detour, answer: StunMessage): void {
    if (answer.class === StunClass.error) {
      const code = decodeErrorCode(answer.attribute(StunAttribute.errorCode) ?? new Uint8Array(0))?.code
      if (code === allocationMismatch) this.#end(detour)
      return
    }
    if (answer.method !== StunMethod.refresh) return
    const seconds = answer.u32(StunAttribute.lifetime) ?? 0
    if (seconds === 0) {
      this.#end(detour)
      return
    }
    detour.expiry.cancel()
    const lifeMs = Math.min(seconds, maxLifetimeSeconds) * 1000 + slackMs
    detour.expiry = this.#options.clock.after(lifeMs, () => this.#end(detour))
    if (!this.#isProvedNow(detour)) return
    this.#prove(detour)
    this.#endLeftBehind(detour)
  }

  #prove(detour: Detour): void {
    this.proved++
    const { client, endpoint, remote, meter } = detour
    if (client.datagram === undefined || endpoint === undefined) return
    const { datapath, log } = this.#options
    const here = { ...client.datagram, remote: client }
    const there = { endpoint, remote }
    const common = meter === undefined ? {} : { meters: [meter] }
    // STUN comes to us: Binding is answered here, and what the other server grants is to be known.
    const match = { offset: 4, value: magicCookie }
    const flows: FlowId[] = []
    try {
      flows.push(
        datapath.addFlow({ kind: 'forward', from: here, to: there, ...common }),
        datapath.addFlow({ kind: 'forward', from: there, to: here, ...common }),
        datapath.addFlow({ kind: 'deliver', from: { ...here, match }, ...common }),
        datapath.addFlow({ kind: 'deliver', from: { ...there, match }, ...common }),
      )
      detour.flows = flows
    } catch (error) {
      // Its listener was closed meanwhile.
      for (const flow of flows) datapath.removeFlow(flow)
      log.warn({ code: errorCode(error), err: error }, 'no flows to another TURN server')
      this.#end(detour)
    }
  }

  #charge({ meter }: Detour, bytes: Uint8Array): boolean {
    return meter === undefined || this.#options.datapath.charge(meter, bytes.length)
  }

  #readFlows({ flows }: Detour, rx: Traffic, tx: Traffic): void {
    if (flows === undefined) return
    this.#options.datapath.readCounters(flows.slice(0, 2), this.#counters)
    for (const [index, sum] of [rx, tx].entries()) {
      sum.packets += this.#counters[index * COUNTER_STRIDE] as number
      sum.bytes += this.#counters[index * COUNTER_STRIDE + 1] as number
    }
  }

  #end(detour: Detour): void {
    if (detour.isEnded) return
    detour.isEnded = true
    const { client, flows, endpoint, meter, expiry } = detour
    const { datapath, onEmpty } = this.#options
    expiry.cancel()
    const [rx, tx] = [
      { packets: 0, bytes: 0 },
      { packets: 0, bytes: 0 },
    ]
    this.#readFlows(detour, rx, tx)
    const { traffic } = client.listener
    traffic.rxPackets += rx.packets
    traffic.rxBytes += rx.bytes
    traffic.txPackets += tx.packets
    traffic.txBytes += tx.bytes
    for (const flow of flows ?? []) datapath.removeFlow(flow)
    if (endpoint !== undefined) datapath.closeEndpoint(endpoint)
    if (meter !== undefined) datapath.closeMeter(meter)
    this.#isProvedNow(detour)
    this.#byClient.delete(client.key)
    this.#perSource.remove(client.address)
    if (this.#byClient.size === 0) onEmpty()
  }
}

/** Where a ticket leads. */
export interface Destination {
  readonly allocation: string
  readonly tag: string
  readonly remote: Remote
}

interface Detour extends Destination {
  readonly client: Client
  readonly meter: MeterId | undefined
  /** Undefined while it opens. */
  endpoint: EndpointId | undefined
  /** Of a client by UDP, once proved: there and back, then those that deliver STUN. */
  flows: readonly FlowId[] | undefined
  /** The Refresh that came while the endpoint opened. */
  waiting: Buffer | undefined
  /** What it has sent before it was proved, after the first. */
  messages: number
  /** Ends it with its allocation. */
  expiry: Timer
  isEnded: boolean
}

/** What the other server is to judge; undefined: we do. */
function kindOf(bytes: Uint8Array): 'refresh' | 'other' | undefined {
  if (isChannelData(bytes[0])) return 'other'
  if (bytes.length < stunHeaderBytes || bytes[0] !== 0) return undefined
  if (bytes[1] === StunMethod.refresh) return 'refresh'
  return passedTypes.has(bytes[1] as number) ? 'other' : undefined
}

/** CreatePermission, ChannelBind, Connect, and the Send indication, as the second byte of their type. */
const passedTypes: ReadonlySet<number> = new Set([
  StunMethod.createPermission,
  StunMethod.channelBind,
  StunMethod.connect,
  0x10 | StunMethod.send,
])

/** ChannelData as a stream carries it. */
function padded(bytes: Uint8Array): Uint8Array | undefined {
  const decoded = decodeChannelData(bytes)
  return decoded && encodeChannelData(decoded.channel, decoded.data, true)
}

/** Digits of an allocation's id that name its server. */
const tagDigits = 8

/** Each is a socket. */
const maxDetours = 4096
/** Of them such as have not been granted a Refresh: whoever has seen a ticket can cause them. */
const maxUnproved = 256
const maxUnprovedOfAllocation = 4
/** So that one source leaves room for others; each needs a fraction of a second. */
const maxUnprovedOfSource = 32
/** The one before the newest is in use until the client has sent something on the newest. */
const maxProvedOfAllocation = 3
/** Time for a challenge and its answer, some of them lost. */
const unprovedMs = 20_000
/** Requests, with what is sent again. */
const maxUnprovedMessages = 16
/** The allocation ends before its detour does. */
const slackMs = 5000
/** Whatever the other server says. */
const maxLifetimeSeconds = 86_400
const allocationMismatch = 437
const magicCookie = 0x2112a442
const stunHeaderBytes = 20
