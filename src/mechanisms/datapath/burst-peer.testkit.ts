import type { Datapath, Endpoint, Remote } from './contract.ts'
import type { Addon } from './engine-native/addon.ts'
import { NativeDatapath } from './engine-native/native-datapath.ts'

/**
 * A peer that sends many datagrams in one system call and joins those of one length into trains (UDP GSO), as media servers
 * do and node:dgram cannot; for that it is an engine itself. So a receiver finds them all at once, on loopback the trains whole.
 */
export class BurstPeer implements Remote {
  readonly address: string
  readonly port: number
  readonly received: { readonly bytes: Buffer; readonly from: Remote }[]
  readonly #engine: Datapath
  readonly #endpoint: Endpoint

  static async open(addon: Addon, address = '127.0.0.1'): Promise<BurstPeer> {
    const unlimited = { packetsPerSecond: 1e9, burst: 1e9 }
    const engine = new NativeDatapath(addon, { known: unlimited, knownPerEndpoint: unlimited })
    await engine.start()
    const received: BurstPeer['received'] = []
    const options = { addresses: [address], port: 0, deliver: true }
    const endpoint = await engine.openEndpoint(options, ({ bytes, address, port }) => {
      received.push({ bytes: Buffer.from(bytes), from: { address, port } })
    })
    return new BurstPeer(engine, endpoint, address, received)
  }

  private constructor(
    engine: Datapath,
    endpoint: Endpoint,
    address: string,
    received: BurstPeer['received'],
  ) {
    this.#engine = engine
    this.#endpoint = endpoint
    this.address = address
    this.port = endpoint.port
    this.received = received
  }

  /** Resolves when all are with the system. */
  async burst(datagrams: readonly Uint8Array[], to: Remote): Promise<void> {
    for (const bytes of datagrams) this.#engine.send(this.#endpoint.id, to, bytes)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }

  async close(): Promise<void> {
    await this.#engine.close()
  }
}
