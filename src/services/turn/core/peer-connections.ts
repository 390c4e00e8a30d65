import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../../foundation/clock.ts'
import { plainAddress } from '../../../mechanisms/net/index.ts'
import {
  StunAttribute,
  StunClass,
  StunMethod,
  StunWriter,
  type TransportAddress,
} from '../../../protocols/stun/index.ts'
import { peerAddress } from '../../../protocols/turn/index.ts'
import type { Allocation, PeerConnection, PeerConnectionTable } from './allocation.ts'
import { type Identity, isOwner } from './authenticator.ts'
import { type JoinedSockets, joinSockets } from './join-sockets.ts'
import { mayMeet } from './new-peers.ts'
import type { Outcome } from './outcome.ts'
import { relayTo } from './peer-paths.ts'
import type { AllocationRequest, TurnRequest } from './request.ts'
import { sendTo } from './send-to.ts'
import type { TurnState } from './turn-state.ts'

/** A connection from the moment that it is dialled or accepted. */
interface Entry {
  readonly id: number
  readonly peer: TransportAddress
  readonly socket: Socket
  /** Waits for the dial first, then for the client's ConnectionBind. */
  deadline: Timer
  joined: JoinedSockets | undefined
}

/** The TCP connections of one allocation. */
export class PeerConnections implements PeerConnectionTable {
  readonly #allocation: Allocation
  readonly #state: TurnState
  readonly #entries = new Map<string, Entry>()

  constructor(allocation: Allocation, state: TurnState) {
    this.#allocation = allocation
    this.#state = state
    for (const { tcp } of allocation.relays) tcp?.onConnection((socket) => this.#accept(socket))
  }

  list(): readonly PeerConnection[] {
    return [...this.#entries.values()].map(({ peer, joined }) => ({
      peer,
      sent: { packets: 0, bytes: joined?.bytesToPeer ?? 0 },
      received: { packets: 0, bytes: joined?.bytesFromPeer ?? 0 },
    }))
  }

  /** Dials a peer from the relayed address; `onSettled` gets the answer, at once or later. */
  connect(peer: TransportAddress, onSettled: (outcome: Outcome) => void): void {
    const key = keyOf(peer)
    if (this.#entries.has(key)) return onSettled(446)
    const { clock, relays, settings } = this.#state
    if (this.#entries.size >= settings.limits.maxPeerConnections) return onSettled(508)
    // Connecting needs no permission, so it is bounded here.
    if (!mayMeet(this.#allocation, 1, clock.nowMs(), settings.limits)) return onSettled(508)
    let isSettled = false
    const settle = (outcome: Outcome): void => {
      if (!isSettled) onSettled(outcome)
      isSettled = true
    }
    const tcp = relayTo(this.#allocation, peer.address)?.tcp
    if (tcp === undefined) return settle(443)
    let socket: Socket
    try {
      // Another relay of this server may be bound elsewhere than it is advertised.
      socket = tcp.dial(relays.find(peer, 'tcp')?.bound ?? peer)
    } catch {
      return settle(447)
    }
    const entry = this.#add(peer, socket, () => settle(447))
    socket.once('connect', () => {
      this.#await(entry)
      settle((writer) => writer.u32(StunAttribute.connectionId, entry.id))
    })
    // An error, the deadline and the end of the allocation all show as this.
    socket.once('close', () => settle(447))
  }

  /** Joins a client's own connection with a peer's. */
  #join(entry: Entry, client: Socket): void {
    entry.deadline.cancel()
    this.#state.waitingConnections.delete(entry.id)
    const { limits } = this.#state.settings
    const isLimited = limits.bytesPerSecond + limits.userBytesPerSecond + limits.totalBytesPerSecond > 0
    const allocation = this.#allocation
    const { ids } = allocation.meters
    // Its meters go with the allocation.
    const charge = (bytes: number): boolean =>
      allocation.isGone || ids.every((id) => this.#state.datapath.charge(id, bytes))
    entry.joined = joinSockets(client, entry.socket, {
      clock: this.#state.clock,
      ...(isLimited && { charge }),
    })
  }

  /** Ends connections with peers that may no longer be reached. */
  recheck(admits: (peer: TransportAddress) => boolean): void {
    for (const { peer, socket } of [...this.#entries.values()]) if (!admits(peer)) socket.destroy()
  }

  /** Ends them all; the relay itself is closed by whoever opened it. */
  close(): void {
    for (const entry of [...this.#entries.values()]) {
      // Now, while the allocation's numbers are still looked at; the sockets close later.
      this.#count(entry)
      entry.socket.destroy()
    }
  }

  /** A peer has called: only with a permission, and the client is told of it (RFC 6062 §5.3). */
  #accept(socket: Socket): void {
    const allocation = this.#allocation
    const { clock, gate, relays, settings } = this.#state
    const source = { address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 }
    const peer = relays.find(source, 'tcp')?.relayed ?? source
    const permission = allocation.permissions.get(peer.address)
    const isAdmitted =
      permission !== undefined &&
      permission.expiresAtMs > clock.nowMs() &&
      gate.admitsAddress(allocation.client.listener, peer.address, 'tcp') &&
      !this.#entries.has(keyOf(peer)) &&
      this.#entries.size < settings.limits.maxPeerConnections
    if (!isAdmitted) {
      socket.destroy()
      return
    }
    const entry = this.#add(peer, socket, () => undefined)
    this.#await(entry)
    const transactionId = Uint8Array.from(this.#state.random(12))
    sendTo(
      allocation.client,
      new StunWriter(StunMethod.connectionAttempt, StunClass.indication, transactionId)
        .xorAddress(StunAttribute.xorPeerAddress, peer)
        .u32(StunAttribute.connectionId, entry.id)
        .finish(),
    )
  }

  #add(peer: TransportAddress, socket: Socket, onLate: () => void): Entry {
    const { clock, waitingConnections, random } = this.#state
    let id: number
    do {
      id = Buffer.from(random(4)).readUInt32BE()
    } while (waitingConnections.has(id))
    const entry: Entry = {
      id,
      peer,
      socket,
      deadline: deadline(clock, () => {
        onLate()
        socket.destroy()
      }),
      joined: undefined,
    }
    const key = keyOf(peer)
    this.#entries.set(key, entry)
    socket.on('error', ignore)
    socket.once('close', () => {
      entry.deadline.cancel()
      waitingConnections.delete(id)
      if (this.#entries.get(key) === entry) this.#entries.delete(key)
      this.#count(entry)
    })
    return entry
  }

  /** Adds what a connection has carried to the allocation's numbers, once. */
  #count(entry: Entry): void {
    this.#allocation.sent.bytes += entry.joined?.bytesToPeer ?? 0
    this.#allocation.received.bytes += entry.joined?.bytesFromPeer ?? 0
    entry.joined = undefined
  }

  /** What the peer sends meanwhile waits in the system: nothing is read before somebody takes it. */
  #await(entry: Entry): void {
    entry.socket.pause()
    entry.deadline.cancel()
    entry.deadline = deadline(this.#state.clock, () => entry.socket.destroy())
    this.#state.waitingConnections.set(entry.id, {
      allocation: this.#allocation,
      take: (client) => {
        if (client === undefined) entry.socket.destroy()
        else this.#join(entry, client)
      },
    })
  }
}

/** Connect (RFC 6062 §5.2). */
export function connect(
  { message, allocation, client }: AllocationRequest,
  state: TurnState,
  onSettled: (outcome: Outcome) => void,
): void {
  if (allocation.connections === undefined) return onSettled(437)
  const peer = peerAddress(message)
  if (peer === undefined) return onSettled(400)
  if (relayTo(allocation, peer.address) === undefined) return onSettled(443)
  if (!state.gate.admits(client.listener, peer, 'tcp')) return onSettled(403)
  allocation.connections.connect(peer, onSettled)
}

/** ConnectionBind (RFC 6062 §5.4): after its success the client's connection carries the peer's bytes and nothing else. */
export function connectionBind(
  { message, client, identity }: TurnRequest,
  state: TurnState,
  onSettled: (outcome: Outcome) => void,
): void {
  const id = message.u32(StunAttribute.connectionId)
  const waiting = id === undefined ? undefined : state.waitingConnections.get(id)
  const isTheirs =
    waiting !== undefined &&
    isOwner(waiting.allocation.identity, identity) &&
    // An id of four bytes can be guessed; whoever holds any token is not the client for that.
    (identity.credential.isToken !== true || isSameKey(waiting.allocation.identity, identity)) &&
    state.allocations.ofClient(client.key) === undefined
  if (waiting === undefined || !isTheirs || client.takeOver === undefined) return onSettled(400)
  onSettled((writer) => void writer)
  waiting.take(client.takeOver())
}

function isSameKey({ key: one }: Identity, { key: other }: Identity): boolean {
  return Buffer.compare(one, other) === 0
}

/** RFC 6062 §5.2 and §5.4: 30 s to connect, and as long for the client to come for it. */
const patienceMs = 30_000

function deadline(clock: Clock, callback: () => void): Timer {
  return clock.after(patienceMs, callback)
}

function keyOf({ address, port }: TransportAddress): string {
  return `${address} ${port}`
}

/** Its `close` follows. */
function ignore(): void {}
