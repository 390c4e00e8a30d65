/**
 * The contract between TypeScript, which decides, and an engine, which moves datagrams. Both engines run
 * the suite in `conformance.testkit.ts`. Design and reasons: docs/life-of-a-packet.md.
 */
import type { Lifecycle } from '../../foundation/lifecycle.ts'

declare const endpointIdBrand: unique symbol
declare const flowIdBrand: unique symbol
declare const meterIdBrand: unique symbol

/** Names one endpoint of one engine; never reused while the engine lives. */
export type EndpointId = number & { readonly [endpointIdBrand]: true }
/** Names one flow of one engine; never reused while the engine lives. 0 is no flow: a stranger. */
export type FlowId = number & { readonly [flowIdBrand]: true }
/** Names one meter of one engine; never reused while the engine lives. */
export type MeterId = number & { readonly [meterIdBrand]: true }

/** The flow id in arrivals that no flow took. */
export const STRANGER: FlowId = 0 as FlowId

/** A peer's transport address: a literal IPv4 or IPv6 address (never a name) and a port. */
export interface Remote {
  readonly address: string
  readonly port: number
}

/** One local address on which an endpoint is bound. */
export interface LocalAddress extends Remote {
  /**
   * Names the address within its endpoint. What arrives says on which local address it did, and what is
   * sent says from which one it leaves, so that a reply comes from the address that was asked.
   */
  readonly local: number
}

/** A port, 0 for any free one, or a range from which a free port is taken at random. */
export type PortChoice = number | { readonly from: number; readonly to: number }

export interface EndpointOptions {
  /**
   * Local addresses to bind. `0.0.0.0` and `::` stand for every address of their family that the machine
   * has, one socket each, followed as interfaces come and go (link-local IPv6 addresses are left out).
   * Addresses of one endpoint share one port.
   */
  readonly addresses: readonly string[]
  readonly port: PortChoice
  /**
   * Takes an even port and keeps the next higher one for a second endpoint, which is `pair` of the result
   * (RFC 8656 §18.5, EVEN-PORT). @defaultValue false
   */
  readonly evenPair?: boolean
  /**
   * Only this peer is heard, and its ICMP errors arrive as records. Needs exactly one address; a wildcard is
   * then the one from which the system reaches the peer, chosen once.
   */
  readonly remote?: Remote
  /**
   * Everything that arrives counts as known: it has the budget of the known, not that of strangers; of an endpoint with a
   * `remote`, what comes from it. @defaultValue false
   */
  readonly deliver?: boolean
  /**
   * Each flow takes only what arrives on the local address that its source names, as where a 5-tuple includes the address
   * that was asked (TURN): one remote may then have flows of its own at each. @defaultValue false: a flow takes what
   * arrives on any
   */
  readonly separateLocals?: boolean
  /** Kernel receive buffer asked for, in bytes; `Endpoint.receiveBufferBytes` says what was got. @defaultValue 16 MiB, of a connected endpoint 1 MiB */
  readonly receiveBufferBytes?: number
  /**
   * Most sockets that share the port, so that as many threads can read; there are never more than the engine has
   * threads, at present or later (`ALL_THREADS`). @defaultValue 1
   */
  readonly threads?: number
  /** Differentiated services code point of all that leaves, 0 to 63. Needs the feature `dscp`. @defaultValue the system's, 0 */
  readonly dscp?: number
  /**
   * ICMP errors for what was sent to anybody arrive as records, with their type and the remote that it was sent to, within
   * the budget of the known. Needs the feature `icmp-errors`.
   * @defaultValue false: only of `remote`, without a type
   */
  readonly icmpErrors?: boolean
}

/** For `EndpointOptions.threads`: one socket for each thread of the engine. */
export const ALL_THREADS = 1024

/** What an engine may be unable to do. What needs that which the engine lacks is refused with DATAPATH_UNSUPPORTED. */
export const DATAPATH_FEATURES = ['dont-fragment', 'dscp', 'icmp-errors', 'tcp-reuse'] as const
export type DatapathFeature = (typeof DATAPATH_FEATURES)[number]

/** What an ICMP error said (RFC 792, RFC 4443). */
export interface IcmpError {
  readonly type: number
  readonly code: number
  /** The next hop's MTU in bytes where the error says it, else 0. */
  readonly mtu: number
}

/** How one datagram is sent. */
export interface SendOptions {
  /** The local address it leaves from. @defaultValue the endpoint's first of that family */
  readonly local?: number
  /** Drop it where it does not fit rather than fragment it. Needs the feature `dont-fragment`. @defaultValue false */
  readonly dontFragment?: boolean
}

/** Called once per datagram or ICMP error that the engine hands to TypeScript. Must not throw. */
export type Receiver = (arrival: Arrival) => void

/** What the engine hands to TypeScript. The object and its bytes are valid during the call only. */
export interface Arrival extends Remote {
  readonly endpoint: EndpointId
  /** The flow that took it (a `deliver` flow, or the copy of a STUN request), or `STRANGER`. It may have been removed since. */
  readonly flow: FlowId
  /** The local address on which it arrived. */
  readonly local: number
  /** `icmp`: what was sent to the peer came back as an error; `bytes` is empty. */
  readonly kind: 'data' | 'icmp'
  /** What the error said; only of an endpoint with `icmpErrors`. */
  readonly icmp: IcmpError | undefined
  /** All of the datagram, up to the 65,507 bytes that IPv4 carries and the 65,527 of IPv6. */
  readonly bytes: Uint8Array
}

/** A bound endpoint. */
export interface Endpoint {
  readonly id: EndpointId
  readonly port: number
  /** Where it is bound at present; changes when a wildcard's interfaces do. */
  readonly locals: readonly LocalAddress[]
  readonly receiveBufferBytes: number
  /** The endpoint on the next port, when `evenPair` was asked for. */
  readonly pair?: Endpoint
}

/**
 * Which datagrams a flow takes. With several flows for a remote, one whose match holds wins; where several hold, one with
 * the offset that the remote had first, of those it has at present.
 */
export interface FlowSource {
  readonly endpoint: EndpointId
  readonly remote: Remote
  /**
   * The local address on which they arrive: needed where the endpoint has `separateLocals`, and not to be given elsewhere
   * (DATAPATH_INVALID). One whose interface went may be named; it may come back.
   */
  readonly local?: number
  /** Takes only datagrams that have this big-endian u32 at this byte offset (an SRT socket id). */
  readonly match?: { readonly offset: number; readonly value: number }
}

/** Where a flow's datagrams go out. */
export interface FlowTarget {
  readonly endpoint: EndpointId
  readonly remote: Remote
  /** The local address they leave from. @defaultValue the endpoint's first of that family */
  readonly local?: number
}

interface FlowCommon {
  readonly from: FlowSource
  /**
   * Shared budgets, up to three; a datagram that any of them refuses is dropped and counted. They are charged with the
   * bytes that arrived, a header among them, of every kind of flow.
   */
  readonly meters?: readonly MeterId[]
}

/** Datagrams go on unchanged. */
export interface ForwardFlow extends FlowCommon {
  readonly kind: 'forward'
  readonly to: FlowTarget
  /**
   * STUN requests (first bytes 00 01) are forwarded *and* handed to the receiver, which can so follow a
   * peer that moves; at most within the budget of the known. @defaultValue false
   */
  readonly copyStunRequests?: boolean
}

/**
 * TURN ChannelData (RFC 8656 §12). `strip`: takes datagrams that begin with the channel number and sends
 * what the length field covers; one whose length field exceeds it is dropped. `add`: puts the four bytes before.
 * The channel number is the match of a flow that strips it; it takes no other.
 */
export interface TurnChannelFlow extends FlowCommon {
  readonly kind: 'turn-channel'
  readonly to: FlowTarget
  readonly channel: number
  readonly header: 'add' | 'strip'
}

/**
 * TURN Send and Data indications (RFC 8656 §11), of clients without a channel. `strip`: takes Send indications to `peer`
 * and sends their data. It takes none that asks for anything else: one with DONT-FRAGMENT or another attribute that must
 * be understood, with one of the two twice, or of another length than it says; these, as all that is no Send indication,
 * are left to the other flows of the remote. Attributes that need not be understood are passed over. `add`: makes Data
 * indications of `peer`, whose transaction ids differ; what is too long for one is dropped as `error`.
 * The peer is the match of a flow that strips; it takes no other.
 */
export interface TurnIndicationFlow extends FlowCommon {
  readonly kind: 'turn-indication'
  readonly to: FlowTarget
  /** As the client names it; without a zone. */
  readonly peer: Remote
  readonly header: 'add' | 'strip'
}

/** Datagrams of a known remote are handed to the endpoint's receiver, apart from strangers', within the budget of the known. */
export interface DeliverFlow extends FlowCommon {
  readonly kind: 'deliver'
}

export type Flow = ForwardFlow | TurnChannelFlow | TurnIndicationFlow | DeliverFlow

/** A shared token bucket. Absent rates do not limit. */
export interface MeterOptions {
  readonly bytesPerSecond?: number
  readonly packetsPerSecond?: number
  /** How much may pass at once after silence, in seconds of the rate. @defaultValue 1 */
  readonly burstSeconds?: number
}

/** Numbers per flow that `readCounters` writes: packets, bytes, drops, last seen, bytes of framing. */
export const COUNTER_STRIDE = 5

/** Reasons for which an engine drops a datagram; the labels of its drop metric. */
export const DROP_REASONS = ['stranger', 'known', 'meter', 'paused', 'queue', 'error', 'malformed'] as const
export type DropReason = (typeof DROP_REASONS)[number]

/** Sizes of batches. */
export interface BatchSizes {
  /** How many were of size 1, 2 to 3, 4 to 7, 8 to 15, 16 to 31, 32 to 63, 64 and more. */
  readonly counts: readonly number[]
  /** All sizes together. */
  readonly sum: number
}

/** What an engine has done since it started. Datagrams and bytes of UDP payload. */
export interface DatapathTotals {
  readonly forwarded: { readonly packets: number; readonly bytes: number }
  /** Handed to receivers, copies of STUN requests included. */
  readonly delivered: { readonly packets: number; readonly bytes: number }
  /** Sent by TypeScript. */
  readonly sent: { readonly packets: number; readonly bytes: number }
  /**
   * Dropped datagrams: `stranger` and `known` were over the budget of their queue, `queue` found the
   * socket's send queue full, `error` was refused by the system, `malformed` had a bad channel length.
   */
  readonly dropped: Readonly<Record<DropReason, number>>
  readonly endpoints: number
  readonly flows: number
  /** Threads that move datagrams, besides JavaScript's. */
  readonly threads: number
  /** How long these threads have worked, not waited, all together. */
  readonly busySeconds: number
  /** How much each system call did. Absent in an engine that does one datagram at a time. */
  readonly batches?: {
    /** Datagrams per receive call. */
    readonly received: BatchSizes
    /** Messages per send call. */
    readonly sent: BatchSizes
    /** Datagrams per message: segments that the system or the interface cuts (UDP GSO). */
    readonly segments: BatchSizes
  }
}

/**
 * Moves datagrams of flows that TypeScript has admitted.
 *
 * Misuse (an unknown id, a second flow for the same source, four meters) throws `DATAPATH_*` errors;
 * what comes from the network never does. Removing or closing twice does nothing.
 */
export interface Datapath extends Lifecycle {
  readonly engine: 'node' | 'native'
  readonly features: ReadonlySet<DatapathFeature>

  /** @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE, DATAPATH_PORTS_EXHAUSTED, DATAPATH_UNSUPPORTED */
  openEndpoint(options: EndpointOptions, receiver: Receiver): Promise<Endpoint>
  /** Closes the sockets and removes the flows that come from it or go out of it. */
  closeEndpoint(endpoint: EndpointId): void

  /**
   * Binds a TCP socket that shares its port with others bound so (`SO_REUSEADDR` and `SO_REUSEPORT`, which Node cannot
   * set), so that one may listen on the port from which others connect (RFC 6062). It does not block and is not inherited.
   * Needs the feature `tcp-reuse`.
   *
   * @param port 0 for any free one
   * @returns its descriptor, which is the caller's to close; see `net/bound-socket.ts`
   * @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE, DATAPATH_UNSUPPORTED
   */
  bindTcp(address: string, port: number): number

  addFlow(flow: Flow): FlowId
  /** Sends what the flow takes to another remote (a client that moved) from now on. */
  aim(flow: FlowId, remote: Remote, local?: number): void
  /** A paused flow still takes its datagrams, and drops them. */
  pause(flow: FlowId, paused: boolean): void
  removeFlow(flow: FlowId): void

  openMeter(options: MeterOptions): MeterId
  /** Removes it from the flows that name it. */
  closeMeter(meter: MeterId): void
  /**
   * Charges a meter with a datagram, or a piece of a stream, that TypeScript passes on itself. False when that is over its
   * budget; nothing is charged then.
   *
   * @throws DATAPATH_UNKNOWN_METER for one that was closed, too
   */
  charge(meter: MeterId, bytes: number): boolean

  /**
   * Sends one datagram; the bytes are copied or sent before it returns. Engines may send at the end of the
   * event loop's turn, many at once. False when it was dropped: the send queue is full, or nothing leads from
   * the endpoint to this remote (no local address of its family, port 0).
   */
  send(endpoint: EndpointId, remote: Remote, bytes: Uint8Array, options?: SendOptions): boolean

  /**
   * Writes `COUNTER_STRIDE` numbers for each flow: datagrams and bytes that it took and passed on, drops,
   * when it was last seen in milliseconds of the engine's clock (0: never), and bytes of framing. The bytes are those that it
   * sent; framing is what a `turn-channel` or `turn-indication` flow has added to them or taken off before: headers,
   * other attributes, padding. An unknown flow gives zeros.
   */
  readCounters(flows: readonly FlowId[], into: Float64Array): void
  totals(): DatapathTotals
}
