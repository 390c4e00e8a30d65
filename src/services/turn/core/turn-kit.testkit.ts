import { createHash } from 'node:crypto'
import { expect, onTestFinished } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import type { DatapathFeature } from '../../../mechanisms/datapath/index.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import type { TransportAddress } from '../../../protocols/stun/index.ts'
import type { CredentialSource } from '../credentials/contract.ts'
import { StaticUsers } from '../credentials/static-users.ts'
import type { AllocationEnd, TurnEvents } from '../events.ts'
import type { TurnFleet } from '../fleet.ts'
import { UdpListener } from '../listeners/udp-listener.ts'
import { defaultLimits, type Redirect, type TurnLimits, type TurnListenerOptions } from '../options.ts'
import { admitAll } from '../peers/fixed-policies.ts'
import { type AllocationQuota, MemoryQuota, type QuotaRequest } from '../quota.ts'
import { Allocations } from './allocations.ts'
import { DataPlane } from './data-plane.ts'
import { Detours } from './detours.ts'
import { FakeDatapath } from './fake-datapath.testkit.ts'
import type { ListenerState, ResolvedRelay } from './listener-state.ts'
import { Meters } from './meters.ts'
import type { Security } from './nonces.ts'
import { notifier } from './notify.ts'
import { PeerGate } from './peer-gate.ts'
import { PeerPaths } from './peer-paths.ts'
import { RelayPool } from './relay-pool.ts'
import { Reservations } from './reservations.ts'
import {
  passwords,
  serverAddress,
  StreamClient,
  type TestClient,
  UdpTestClient,
} from './test-client.testkit.ts'
import { Tickets } from './ticket.ts'
import { TurnCore } from './turn-core.ts'
import type { TurnState } from './turn-state.ts'

export interface KitOptions {
  readonly limits?: Partial<TurnLimits>
  readonly realm?: string
  readonly credentials?: CredentialSource
  readonly quota?: AllocationQuota
  readonly security?: Security
  readonly mobility?: boolean
  readonly redirect?: Redirect
  readonly events?: TurnEvents
  readonly features?: readonly DatapathFeature[]
  /** @defaultValue 10.0.0.1 and 2001:db8:1::1, advertised as they are */
  readonly relays?: readonly ResolvedRelay[]
  readonly listener?: Partial<TurnListenerOptions>
  /** Addresses of the machine. */
  readonly interfaces?: readonly string[]
  readonly openTcpRelay?: TurnState['openTcpRelay']
  readonly fleet?: TurnFleet
}

export const relay4: ResolvedRelay = {
  family: 4,
  address: '10.0.0.1',
  advertised: '10.0.0.1',
  from: 49_152,
  to: 65_535,
}
export const relay6: ResolvedRelay = {
  family: 6,
  address: '2001:db8:1::1',
  advertised: '2001:db8:1::1',
  from: 49_152,
  to: 65_535,
}
/** A TURN core with a listener by UDP, on a datapath in memory and a clock that is moved by hand. */
export class TurnKit {
  readonly clock: ManualClock = new ManualClock()
  readonly datapath: FakeDatapath
  readonly quota: CountingQuota
  readonly listener: ListenerState
  readonly state: TurnState
  readonly data: DataPlane
  readonly core: TurnCore
  readonly udp: UdpListener
  /** Allocations that have ended, and why. */
  readonly ended: AllocationEnd[] = []

  /** A server that is open; when the test is over nothing may be left of what clients had. */
  static async open(options: KitOptions = {}): Promise<TurnKit> {
    const kit = new TurnKit(options)
    await kit.udp.start()
    onTestFinished(() => kit.expectNothingLeft())
    return kit
  }

  private constructor(options: KitOptions) {
    const { clock } = this
    const limits = { ...defaultLimits, ...options.limits }
    const relays = options.relays ?? [relay4, relay6]
    const random = pseudoRandom()
    this.datapath = new FakeDatapath({
      clock,
      ...(options.features !== undefined && { features: options.features }),
      ...(options.interfaces !== undefined && { interfaces: options.interfaces }),
    })
    this.quota = new CountingQuota(options.quota ?? new MemoryQuota(limits.maxPerUser))
    this.listener = {
      options: {
        name: 'udp',
        transport: 'udp',
        listen: { port: 3478 },
        relays,
        peers: admitAll,
        ...options.listener,
      },
      relays,
      traffic: { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0, clients: 0 },
    }
    const allocations = new Allocations()
    const relayPool = new RelayPool({
      datapath: this.datapath,
      clock,
      receiver: (arrival) => this.core.receiveFromPeer(arrival),
      random,
    })
    relayPool.setAddresses(relays)
    const gate = new PeerGate({
      relays: relayPool,
      localAddresses: () => new Set(options.interfaces ?? [serverAddress, '127.0.0.1']),
    })
    gate.setOwnPorts([{ protocol: 'udp', port: 3478 }])
    const tickets = new Tickets(random(32), random)
    const detours = new Detours({
      fleet: options.fleet,
      tickets,
      datapath: this.datapath,
      clock,
      log: silentLogger(),
      limits: () => this.state.settings.limits,
      onEmpty: () => undefined,
    })
    const notify = notifier(() => this.state.settings.events, silentLogger())
    this.state = {
      settings: {
        realm: options.realm ?? 'sluice',
        credentials:
          options.credentials ??
          new StaticUsers(Object.entries(passwords).map(([username, password]) => ({ username, password }))),
        quota: this.quota,
        limits,
        mobility: options.mobility ?? true,
        security: options.security ?? 'none',
        redirect: options.redirect,
        events: {
          ...options.events,
          allocationDeleted: (info, end) => {
            this.ended.push(end)
            options.events?.allocationDeleted?.(info, end)
          },
        },
      },
      datapath: this.datapath,
      clock,
      log: silentLogger(),
      random,
      allocations,
      allocating: new Map(),
      relays: relayPool,
      reservations: new Reservations(relayPool, clock, random),
      gate,
      paths: new PeerPaths({ datapath: this.datapath, allocations, relays: relayPool, gate, notify }),
      notify,
      tickets,
      fleet: options.fleet,
      detours,
      meters: new Meters(this.datapath, limits),
      waitingConnections: new Map(),
      isDraining: false,
      openTcpRelay: options.openTcpRelay ?? (() => Promise.resolve([])),
    }
    this.data = new DataPlane({ ...this.state })
    this.core = new TurnCore(this.state, this.data, new Uint8Array(32).fill(5))
    this.udp = new UdpListener(this.listener, this.core, allocations, this.datapath)
  }

  /** A client by UDP. */
  client(options: { address?: string; port?: number; local?: number; user?: string } = {}): UdpTestClient {
    const { address = '192.0.2.10', port = 40_000, local = 0, user = 'alice' } = options
    return new UdpTestClient(this, { address, port, local, user })
  }

  /** A client by TCP whose connection is pretended. */
  streamClient(options: { address?: string; port?: number; user?: string } = {}): StreamClient {
    const { address = '192.0.2.20', port = 50_000, user = 'alice' } = options
    return new StreamClient(this, { address, port, user })
  }

  /** Two clients, or more, of different users and ports. */
  async allocated(options: Parameters<TurnKit['client']>[0] = {}): Promise<AllocatedClient> {
    const client = this.client(options)
    return { client, relayed: await client.allocate() }
  }

  /** A peer that keeps what it gets. */
  peer(address: string, port: number): TestPeer {
    return new TestPeer(this, { address, port })
  }

  /** Ends all allocations and reservations. */
  endAll(): void {
    for (const allocation of [...this.state.allocations.all()]) this.core.end(allocation, 'closed')
    this.state.reservations.endAll()
    this.state.detours.endAll()
  }

  /** What is held for clients. */
  held(): Readonly<Record<string, number>> {
    const { allocations, allocating, waitingConnections } = this.state
    const { datapath } = this
    let owners = 0
    for (let id = 0; id <= datapath.lastId; id++) {
      if (allocations.ofFlow(id as Parameters<Allocations['ofFlow']>[0]) !== undefined) owners++
    }
    return {
      allocations: allocations.size,
      allocating: allocating.size,
      waiting: waitingConnections.size,
      endpoints: datapath.endpoints.size - 1,
      flows: datapath.flows.size,
      flowOwners: owners,
      meters: datapath.meters.size,
      timers: this.clock.pending,
      quota: this.quota.outstanding,
    }
  }

  expectNothingLeft(): void {
    this.endAll()
    expect(this.held()).toEqual(nothing)
  }
}

export interface AllocatedClient {
  readonly client: TestClient
  readonly relayed: TransportAddress
}

/** Whoever a client talks with. */
export class TestPeer implements TransportAddress {
  readonly address: string
  readonly port: number
  readonly inbox: { readonly from: TransportAddress; readonly data: string }[] = []
  readonly #kit: TurnKit

  constructor(kit: TurnKit, { address, port }: TransportAddress) {
    this.#kit = kit
    this.address = address
    this.port = port
    kit.datapath.peers.set(`${address} ${port}`, ({ from, bytes }) =>
      this.inbox.push({ from, data: bytes.toString('latin1') }),
    )
  }

  get heard(): readonly string[] {
    return this.inbox.map(({ data }) => data)
  }

  send(to: TransportAddress, data: string | Uint8Array): void {
    const endpoint = this.#kit.datapath.endpointAt(to.address, to.port)
    if (endpoint !== undefined) this.#kit.datapath.receive(endpoint.id, this, Buffer.from(data))
  }
}

/** Knows what has been taken and not given back. */
export class CountingQuota implements AllocationQuota {
  outstanding = 0
  readonly #quota: AllocationQuota

  constructor(quota: AllocationQuota) {
    this.#quota = quota
  }

  take(request: QuotaRequest): boolean | Promise<boolean> {
    const taken = this.#quota.take(request)
    if (typeof taken !== 'boolean') {
      return taken.then((isTaken) => {
        if (isTaken) this.outstanding++
        return isTaken
      })
    }
    if (taken) this.outstanding++
    return taken
  }

  give(request: QuotaRequest): void {
    this.outstanding--
    this.#quota.give(request)
  }
}

/** Bytes that differ from call to call, and are the same in every run. */
export function pseudoRandom(): (bytes: number) => Uint8Array {
  let count = 0
  return (bytes) => {
    const made: Buffer[] = []
    for (let length = 0; length < bytes; length += 32) {
      made.push(createHash('sha256').update(`${count++}`).digest())
    }
    return Uint8Array.from(Buffer.concat(made).subarray(0, bytes))
  }
}

const nothing = {
  allocations: 0,
  allocating: 0,
  waiting: 0,
  endpoints: 0,
  flows: 0,
  flowOwners: 0,
  meters: 0,
  timers: 0,
  quota: 0,
}
