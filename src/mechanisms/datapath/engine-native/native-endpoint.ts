import type { EndpointId, EndpointOptions, Receiver, Remote } from '../contract.ts'
import { bindError } from '../control/bind-error.ts'
import { BoundEndpoint, type LocalSocket, type SocketOptions } from '../control/bound-endpoint.ts'
import { type Family, familyOf } from '../control/ip-address.ts'
import type { InterfaceLister } from '../control/local-addresses.ts'
import type { Addon, EngineHandle } from './addon.ts'
import { endpointCommand, localAddressCommand } from './addon-records.ts'
import { packedAddressBytes, unpackAddress, unpackPort } from './packed-address.ts'
import { systemError } from './system-error.ts'

/** An endpoint of the native engine: its sockets are the addon's. */
export class NativeEndpoint extends BoundEndpoint<NativeSocket> {
  readonly #addon: Addon
  readonly #engine: EngineHandle
  readonly #options: Pick<EndpointOptions, 'threads' | 'deliver' | 'dscp' | 'icmpErrors'>

  constructor(
    id: EndpointId,
    options: EndpointOptions,
    receiver: Receiver,
    addon: Addon,
    engine: EngineHandle,
  ) {
    super(id, options, receiver)
    this.#addon = addon
    this.#engine = engine
    this.#options = options
  }

  override async bind(port: number, listInterfaces: InterfaceLister): Promise<void> {
    const { threads = 1, deliver = false } = this.#options
    const { separatesLocals, remote } = this
    const command = endpointCommand(this.id, { threads, isDeliver: deliver, separatesLocals, remote })
    this.#addon.addEndpoint(this.#engine, command)
    try {
      await super.bind(port, listInterfaces)
    } catch (error) {
      this.#addon.removeEndpoint(this.#engine, this.id)
      throw error
    }
  }

  override async close(): Promise<void> {
    const wasOpen = this.isOpen
    await super.close()
    if (wasOpen) this.#addon.removeEndpoint(this.#engine, this.id)
  }

  protected override openSocket({
    address,
    port,
    local,
    receiveBufferBytes,
  }: SocketOptions): Promise<NativeSocket> {
    const { dscp, icmpErrors = false } = this.#options
    const where = { address, port }
    const options = { receiveBufferBytes, dscp, icmpErrors }
    const bound = new Uint8Array(packedAddressBytes)
    const command = localAddressCommand(this.id, local, where, options)
    const result = this.#addon.bind(this.#engine, command, bound)
    if (result < 0) return Promise.reject(bindError(where, this.remote, systemError(result)))
    const view = new DataView(bound.buffer)
    const socket = { address: unpackAddress(view, 0), port: unpackPort(view, 0) }
    return Promise.resolve(
      new NativeSocket(socket, local, result, () => this.#addon.unbind(this.#engine, this.id, local)),
    )
  }
}

/** A local address of an endpoint; with several threads the addon has a socket for each. */
export class NativeSocket implements LocalSocket {
  readonly address: string
  readonly port: number
  readonly local: number
  readonly family: Family
  readonly receiveBufferBytes: number
  isOpen = true
  readonly #unbind: () => void

  constructor({ address, port }: Remote, local: number, receiveBufferBytes: number, unbind: () => void) {
    this.address = address
    this.port = port
    this.local = local
    this.family = familyOf(address)
    this.receiveBufferBytes = receiveBufferBytes
    this.#unbind = unbind
  }

  close(): Promise<void> {
    if (this.isOpen) {
      this.isOpen = false
      this.#unbind()
    }
    return Promise.resolve()
  }
}
