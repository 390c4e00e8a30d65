import { createSocket, type Socket } from 'node:dgram'
import { errorCode } from '../../../foundation/errors.ts'
import type { Remote } from '../contract.ts'
import { bindError } from '../control/bind-error.ts'
import type { LocalSocket, SocketOptions } from '../control/bound-endpoint.ts'
import { canonicalAddress, type Family, familyOf } from '../control/ip-address.ts'

/** Called once per datagram sent: with the error of one that the system refused, else with its length. */
export type SendDone = (error: Error | null, bytes: number) => void

/** Where a socket's datagrams and errors go. Bytes belong to the receiver: node allocates for each datagram. */
export interface SocketListener {
  onDatagram(socket: DatagramSocket, bytes: Uint8Array, from: Remote): void
  onSocketError(socket: DatagramSocket, error: Error): void
}

export interface BindOptions extends SocketOptions {
  /** The only peer, which the socket is then connected to. */
  readonly remote: Remote | undefined
  readonly maxSendQueueBytes: number
}

/**
 * One bound UDP socket of node:dgram with what costs time or surprises taken out: literal addresses are not
 * looked up in a later tick, the send queue is bounded, a connected socket retries the one send that only
 * told of an earlier ICMP error.
 */
export class DatagramSocket implements LocalSocket {
  readonly address: string
  readonly port: number
  readonly local: number
  readonly family: Family
  readonly receiveBufferBytes: number
  /** It has one peer only, and learns of its ICMP errors. */
  readonly isConnected: boolean
  isOpen = true
  readonly #socket: Socket
  readonly #listener: SocketListener
  readonly #maxSendQueueBytes: number
  #sendsUntilSample = 0
  readonly #closed: Promise<void>

  /** @throws DATAPATH_PORT_TAKEN, DATAPATH_ADDRESS_UNAVAILABLE, DATAPATH_SYSTEM */
  static async bind(options: BindOptions, listener: SocketListener): Promise<DatagramSocket> {
    const type = familyOf(options.address) === 4 ? 'udp4' : 'udp6'
    const socket = createSocket({ type, ipv6Only: type === 'udp6', lookup: literalLookup })
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.once('listening', () => {
          if (options.remote === undefined) {
            resolve()
            return
          }
          // Without a callback of its own, as that would be given the error too.
          socket.once('connect', resolve)
          socket.connect(options.remote.port, options.remote.address)
        })
        // What came before connecting may be another's; it waits in the kernel and is checked on arrival.
        socket.bind({ address: options.address, port: options.port, exclusive: true })
      })
      socket.removeAllListeners('error')
      return new DatagramSocket(socket, options, listener)
    } catch (cause) {
      socket.on('error', ignore)
      socket.close()
      throw bindError(options, options.remote, cause)
    }
  }

  private constructor(socket: Socket, options: BindOptions, listener: SocketListener) {
    this.#socket = socket
    this.#listener = listener
    const bound = socket.address()
    // Connecting gives a wildcard the address that leads to the peer.
    this.address = canonicalAddress(bound.address)
    this.port = bound.port
    this.local = options.local
    this.family = familyOf(options.address)
    this.isConnected = options.remote !== undefined
    this.#maxSendQueueBytes = options.maxSendQueueBytes
    raiseReceiveBuffer(socket, options.receiveBufferBytes)
    this.receiveBufferBytes = socket.getRecvBufferSize()
    socket.on('message', (bytes, from) => listener.onDatagram(this, bytes, from))
    socket.on('error', (error) => listener.onSocketError(this, error))
    this.#closed = new Promise((resolve) => {
      socket.once('close', resolve)
    })
  }

  /**
   * Sends one datagram, given whole or in parts, without copying it: the bytes must not change afterwards.
   * False when the send queue is full; `done` is then not called. Without `done`, errors stay unknown.
   */
  send(
    bytes: Uint8Array | readonly Uint8Array[],
    port: number,
    address: string,
    done: SendDone | undefined,
  ): boolean {
    if (this.#sendsUntilSample-- <= 0 && !this.#sampleQueue()) return false
    if (!this.isConnected) {
      this.#socket.send(bytes, port, address, done)
      return true
    }
    this.#socket.send(bytes, (error, sent) => {
      if (error === null || !this.isOpen || !isIcmpError(error)) {
        done?.(error, sent)
        return
      }
      // The error belongs to an earlier datagram, and this one was not sent.
      this.#listener.onSocketError(this, error)
      if (this.isOpen) this.#socket.send(bytes, done)
      else done?.(error, sent)
    })
    return true
  }

  /** Resolves when the descriptor is closed. */
  close(): Promise<void> {
    if (this.isOpen) {
      this.isOpen = false
      this.#socket.removeAllListeners('message')
      this.#socket.close()
    }
    return this.#closed
  }

  /** Asking for the queue's size costs a call into C++, so it is asked for now and then while it is empty. */
  #sampleQueue(): boolean {
    const queuedBytes = this.#socket.getSendQueueSize()
    this.#sendsUntilSample = queuedBytes === 0 ? sampleEvery : 0
    return queuedBytes <= this.#maxSendQueueBytes
  }
}

/** Whether an error of a connected socket came as an ICMP message: nobody there, or no way there. */
export function isIcmpError(error: unknown): boolean {
  return icmpCodes.has(errorCode(error))
}

const icmpCodes: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH'])

const sampleEvery = 32

/** node:dgram asks for an address of any text; all of ours are literal, so the answer is there at once. */
function literalLookup(
  address: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, address, 0)
}

function ignore(): void {}

function raiseReceiveBuffer(socket: Socket, wantedBytes: number): void {
  for (let bytes = wantedBytes; bytes > socket.getRecvBufferSize(); bytes >>>= 1) {
    try {
      socket.setRecvBufferSize(bytes)
      return
    } catch {
      // Some systems refuse what is over their limit instead of giving the limit.
    }
  }
}
