import type { Socket } from 'node:net'
import type { Timer } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import { sourceOf } from '../../../foundation/source-of.ts'
import {
  ConnectionCap,
  type ConnectionInfo,
  formatListenAddress,
  TcpListener,
} from '../../../mechanisms/net/index.ts'
import { LinePace } from '../../../mechanisms/telemetry/index.ts'
import { StunMessage } from '../../../protocols/stun/index.ts'
import type { Elsewhere } from './elsewhere.ts'
import { FrameReader, framed } from './frame-reader.ts'
import type { MediaPlane } from './media-plane.ts'
import type { CompleteWebRtcOptions } from './options.ts'
import type { TcpLocal } from './public-addresses.ts'
import type { Session, TcpPath } from './session.ts'
import type { SessionTable } from './session-table.ts'
import type { StrangerReason } from './stranger-reason.ts'
import { proofOf, type StunProof } from './stun-proof.ts'

/** Most bytes of the first frame, which must be a STUN request. */
const maxProofBytes = 1500
/** Most bytes of any frame: what its length can say. */
const maxFrameBytes = 65_535

/** Why a connection was cut before it proved a session; the labels of its metric. */
export type UnprovenReason = StrangerReason | 'too-long' | 'timeout' | 'too-many'

interface Unproven {
  readonly address: string
  readonly timer: Timer
}

/**
 * ICE over TCP (RFC 6544), for clients whose UDP is barred. A connection must begin with a frame (RFC 4571) that is a
 * STUN request made with the password of a session, within bounds on time, bytes and number; from then on its frames go
 * to the session's origin as datagrams, and back. While its session is looked for elsewhere it is not read.
 */
export class IceTcp {
  readonly unprovenCut: Partial<Record<UnprovenReason, number>> = {}
  /** Datagrams for clients that were dropped because too much waited on their connections. */
  dropped = 0
  readonly #options: CompleteWebRtcOptions
  readonly #sessions: SessionTable
  readonly #media: MediaPlane
  readonly #ask: Elsewhere['ask']
  readonly #listeners: readonly TcpListener[]
  readonly #faults: LinePace
  readonly #unproven = new Map<Socket, Unproven>()
  readonly #unprovenPerAddress = new Map<string, number>()

  constructor(
    options: CompleteWebRtcOptions,
    sessions: SessionTable,
    media: MediaPlane,
    ask: Elsewhere['ask'],
  ) {
    this.#options = options
    this.#faults = new LinePace(options.clock)
    this.#sessions = sessions
    this.#media = media
    this.#ask = ask
    const { maxTcpConnections: maxConnections, maxTcpConnectionsPerAddress: maxConnectionsPerAddress } =
      options
    const cap = new ConnectionCap({ maxConnections, maxConnectionsPerAddress })
    this.#listeners = options.tcpListen.map(
      (listen) =>
        new TcpListener({
          listen,
          cap,
          proxyProtocolFrom: options.tcpProxyProtocolFrom,
          clock: options.clock,
          onConnection: (socket, info) => this.#onConnection(socket, info),
          onAcceptError: (error) => this.#onAcceptError(error),
        }),
    )
  }

  /** @throws what `TcpListener.start` throws; then none is open */
  async start(): Promise<void> {
    try {
      for (const listener of this.#listeners) await listener.start()
    } catch (error) {
      await this.close()
      throw error
    }
    const listen = this.locals.map(({ host, port }) =>
      formatListenAddress(host === undefined ? { port } : { host, port }),
    )
    if (listen.length > 0) this.#options.logger.info({ listen }, 'ICE-TCP listening')
  }

  async close(): Promise<void> {
    for (const { timer } of this.#unproven.values()) timer.cancel()
    await Promise.all(this.#listeners.map((listener) => listener.close()))
  }

  /** Where it listens at present. */
  get locals(): readonly TcpLocal[] {
    return this.#listeners.flatMap(({ port }, i) =>
      port === undefined ? [] : [{ host: this.#options.tcpListen[i]?.host, port }],
    )
  }

  /** Connections that have not proved a session yet. */
  get unproven(): number {
    return this.#unproven.size
  }

  #onConnection(socket: Socket, { remoteAddress }: ConnectionInfo): void {
    if (!this.#wait(socket, sourceOf(remoteAddress))) return
    const reader = new FrameReader()
    let path: TcpPath | undefined
    /** What came in one piece with a request whose session is being asked for. */
    let held: Buffer[] | undefined
    const settle = (session: Session | undefined, request: Uint8Array): void => {
      if (socket.destroyed) return
      path = this.#prove(socket, remoteAddress, request, session)
      for (const frame of held ?? []) if (path !== undefined) this.#media.receiveTcp(path, frame)
      held = undefined
      socket.resume()
    }
    const onFrame = (frame: Uint8Array): void => {
      if (socket.destroyed) return
      if (path !== undefined) this.#media.receiveTcp(path, frame)
      else if (held !== undefined) held.push(Buffer.from(frame))
      else if (proofOf(frame, this.#sessions) !== 'unknown-session') settle(undefined, frame)
      else {
        const refusal = this.#ask(frame, { transport: 'tcp', address: remoteAddress }, (request, outcome) => {
          if (socket.destroyed) return
          if (outcome.kind === 'dropped') this.#cut(socket, outcome.reason)
          else {
            this.#guarded(socket, () =>
              settle(outcome.kind === 'bound' ? outcome.session : undefined, request),
            )
          }
        })
        if (refusal !== undefined) this.#cut(socket, refusal)
        else {
          held = []
          socket.pause()
        }
      }
    }
    const maxBytes = (): number => (path === undefined ? maxProofBytes : maxFrameBytes)
    socket.on('data', (chunk) => {
      this.#guarded(socket, () => {
        if (!reader.push(chunk, maxBytes, onFrame)) this.#cut(socket, 'too-long')
      })
    })
    // Whoever ends its side has no more to say, and ICE needs both.
    socket.once('end', () => socket.destroy())
    socket.once('close', () => {
      this.#stopWaiting(socket)
      if (path !== undefined) this.#media.forgetTcp(path)
    })
  }

  #guarded(socket: Socket, act: () => void): void {
    try {
      act()
    } catch (error) {
      // The datapath refused a flow; the others go on.
      const code = errorCode(error)
      const due = this.#faults.due(code)
      if (due !== undefined) {
        const fields = { code, err: error, ...due }
        this.#options.logger.error(fields, 'an ICE-TCP frame could not be handled')
      }
      socket.destroy()
    }
  }

  /** For instance for want of descriptors, with each connection that comes. */
  #onAcceptError(error: Error): void {
    const code = errorCode(error)
    const due = this.#faults.due(code)
    if (due !== undefined) {
      this.#options.logger.warn({ code, ...due }, 'an ICE-TCP connection could not be accepted')
    }
  }

  /**
   * Undefined when the frame proves nothing; then the connection is cut.
   *
   * @param boundTo a session that nobody can prove and that is this connection's
   */
  #prove(
    socket: Socket,
    address: string,
    frame: Uint8Array,
    boundTo: Session | undefined,
  ): TcpPath | undefined {
    const proof = boundTo === undefined ? proofOf(frame, this.#sessions) : boundProof(boundTo, frame)
    if (typeof proof === 'string') {
      this.#cut(socket, proof)
      return undefined
    }
    this.#stopWaiting(socket)
    let isCorked = false
    const path: TcpPath = {
      kind: 'tcp',
      session: proof.session,
      address,
      seenAtMs: this.#options.clock.nowMs(),
      send: (bytes) => {
        if (socket.writableLength > this.#options.maxTcpQueuedBytes) {
          this.dropped++
          return false
        }
        // What comes in one turn of the event loop leaves in one write.
        if (!isCorked) {
          isCorked = true
          socket.cork()
          setImmediate(() => {
            isCorked = false
            socket.uncork()
          })
        }
        socket.write(framed(bytes))
        return true
      },
      close: () => socket.destroy(),
    }
    this.#media.admitTcp(path, frame, proof.message, boundTo !== undefined)
    return path
  }

  /** Gives a connection its time to prove a session; false when there are too many of its address. */
  #wait(socket: Socket, address: string): boolean {
    const { clock, tcpProofTimeoutMs, maxTcpUnproven, maxTcpUnprovenPerAddress } = this.#options
    const ofAddress = this.#unprovenPerAddress.get(address) ?? 0
    if (ofAddress >= maxTcpUnprovenPerAddress) {
      this.#cut(socket, 'too-many')
      return false
    }
    const [oldest] = this.#unproven.keys()
    if (oldest !== undefined && this.#unproven.size >= maxTcpUnproven) this.#cut(oldest, 'too-many')
    const timer = clock.after(tcpProofTimeoutMs, () => this.#cut(socket, 'timeout'))
    this.#unproven.set(socket, { address, timer })
    this.#unprovenPerAddress.set(address, ofAddress + 1)
    return true
  }

  #stopWaiting(socket: Socket): void {
    const waiting = this.#unproven.get(socket)
    if (waiting === undefined) return
    waiting.timer.cancel()
    this.#unproven.delete(socket)
    const left = (this.#unprovenPerAddress.get(waiting.address) ?? 0) - 1
    if (left > 0) this.#unprovenPerAddress.set(waiting.address, left)
    else this.#unprovenPerAddress.delete(waiting.address)
  }

  #cut(socket: Socket, reason: UnprovenReason): void {
    this.unprovenCut[reason] = (this.unprovenCut[reason] ?? 0) + 1
    this.#stopWaiting(socket)
    socket.destroy()
  }
}

/** Of a session that waits for its first address. */
function boundProof(session: Session, frame: Uint8Array): StunProof | 'unverified' {
  const message = StunMessage.decode(frame)
  return typeof message === 'string' || session.ended !== undefined ? 'unverified' : { session, message }
}
