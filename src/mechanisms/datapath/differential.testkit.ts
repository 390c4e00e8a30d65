import { createHash } from 'node:crypto'
import type { networkInterfaces } from 'node:os'
import fc from 'fast-check'
import { expect } from 'vitest'
import { errorCode } from '../../foundation/errors.ts'
import { ManualClock } from '../../foundation/clock.ts'
import {
  ALL_THREADS,
  COUNTER_STRIDE,
  type Datapath,
  type Endpoint,
  type EndpointId,
  type Flow,
  type FlowId,
  type MeterId,
  type Remote,
} from './contract.ts'
import type { EngineOptions } from './control/engine-options.ts'
import { BurstPeer } from './burst-peer.testkit.ts'
import type { Addon } from './engine-native/addon.ts'
import { StunAttribute, StunClass, StunMethod, StunWriter } from '../../protocols/stun/index.ts'
import { UdpPeer, until } from './udp-peer.testkit.ts'

/**
 * One thing that is done to an engine. Numbers choose among what is there at that moment, so that any step makes sense at
 * any time and a failing conversation can be made shorter.
 */
export type Step =
  | {
      readonly do: 'open'
      readonly addresses: readonly string[]
      readonly isDeliver: boolean
      readonly isPair: boolean
      readonly isShared: boolean
      readonly isSeparate: boolean
      /** Takes the port of an endpoint that was closed. */
      readonly isReopened: boolean
      readonly remote: number | undefined
    }
  | { readonly do: 'close'; readonly endpoint: number }
  | {
      readonly do: 'flow'
      readonly kind: 'forward' | 'copy' | 'add' | 'strip' | 'add-indication' | 'strip-indication' | 'deliver'
      readonly from: number
      readonly remote: number
      /** Chooses among the local addresses of an endpoint that separates them, unless it is not to fit. */
      readonly fromLocal: number
      /** Of a family that the endpoint has; of a connected one, its peer. Else any, to be refused. */
      readonly isFitting: boolean
      readonly match: { readonly offset: number; readonly value: number } | undefined
      readonly channel: number
      /** Which of `namedPeers` indications name. */
      readonly named: number
      readonly to: number
      readonly target: number
      readonly local: number | undefined
      readonly meters: readonly number[]
    }
  | { readonly do: 'remove'; readonly flow: number }
  | {
      readonly do: 'aim'
      readonly flow: number
      readonly target: number
      readonly isFitting: boolean
      readonly local: number | undefined
    }
  | { readonly do: 'pause'; readonly flow: number; readonly paused: boolean }
  | { readonly do: 'meter'; readonly bytes: number | undefined; readonly packets: number | undefined }
  | { readonly do: 'close-meter'; readonly meter: number }
  | { readonly do: 'charge'; readonly meter: number; readonly bytes: number }
  | { readonly do: 'interfaces'; readonly addresses: readonly string[] }
  | {
      readonly do: 'send'
      readonly endpoint: number
      readonly target: number
      readonly isFitting: boolean
      readonly local: number | undefined
      readonly datagrams: readonly Datagram[]
    }
  | {
      readonly do: 'traffic'
      /** Sent as the remote of this flow, else by this peer to this endpoint. */
      readonly flow: number | undefined
      readonly peer: number
      readonly endpoint: number
      readonly local: number
      /** To the local address that the flow names, if it does. */
      readonly isFitting: boolean
      readonly datagrams: readonly Datagram[]
    }

/** How a datagram begins, how long it is, and what the rest is made from; or that of the data of a Send indication. */
interface Datagram {
  readonly indication: { readonly named: number; readonly form: 'plain' | 'odd' | 'cut' } | undefined
  readonly head: readonly number[]
  readonly length: number
  readonly seed: number
}

/** Budgets without a refill, so that what is dropped depends on nothing but what was sent. */
const differentialOptions: EngineOptions = {
  interfacePollMs: 1000,
  strangersPerEndpoint: { packetsPerSecond: 0, burst: 12 },
  strangers: { packetsPerSecond: 0, burst: 40 },
  knownPerEndpoint: { packetsPerSecond: 0, burst: 30 },
  known: { packetsPerSecond: 0, burst: 80 },
}

/** What makes an engine of a kind; the clock and the interfaces are the conversation's. */
export interface Subject {
  readonly name: string
  readonly create: (options: EngineOptions) => Datapath
}

/** Conversations of some length that change much and send much. */
export function conversations(maxSteps: number): fc.Arbitrary<readonly Step[]> {
  const opening = fc.array(fc.oneof(open, flow), { maxLength: 12, size: 'max' })
  const rest = fc.array(fc.oneof(...steps), { maxLength: maxSteps, size: 'max' })
  return fc.tuple(opening, rest).map(([first, others]) => [...first, ...others])
}

/** Leads each engine through the same steps and compares after each one all that can be seen from outside. */
export async function converse(
  addon: Addon,
  subjects: readonly Subject[],
  steps: readonly Step[],
): Promise<void> {
  // Ports must not be a matter of luck: what is free for one engine is free for all.
  const claim = await claimPorts()
  const worlds = await Promise.all(
    subjects.map(
      async (subject, at) => await World.open(addon, subject, claim.port + 1 + at * portsPerWorld),
    ),
  )
  try {
    for (const [index, step] of steps.entries()) {
      const sent = await Promise.all(worlds.map(async (world) => await world.perform(step)))
      const observe = (): Observation[] => worlds.map((world, at) => world.observe(sent[at] ?? 0))
      await until(() => isAgreed(observe()), 'the engines to agree', 2000).catch(() => {
        const seen = observe().map(({ missing, all }, at) => `${worlds[at]?.name}: ${missing} ${all}`)
        expect.fail(`step ${index}, ${JSON.stringify(step)}:\n${seen.join('\n')}`)
      })
      for (const world of worlds) world.forget()
    }
    // What came too late, or twice, is there by now.
    for (let turn = 0; turn < 5; turn++) await until(() => true, 'a turn')
    expect(isAgreed(worlds.map((world) => world.observe(0)))).toBe(true)
  } finally {
    await Promise.all(worlds.map(async (world) => await world.close()))
    await claim.close()
  }
}

/** Ports below those that the system gives out by itself, for one conversation; those who ask for others' look elsewhere. */
async function claimPorts(): Promise<UdpPeer> {
  for (let port = 10_000; ; port += claimedPorts) {
    const claim = await UdpPeer.open('127.9.9.9', port).catch((error: unknown) => {
      if (port + 2 * claimedPorts > 32_000) throw error
    })
    if (claim !== undefined) return claim
  }
}

const portsPerWorld = 250
const claimedPorts = 1000

/** What is to be seen of an engine, as text that can be compared. */
interface Observation {
  /** How many datagrams are somewhere on their way. */
  readonly missing: number
  readonly all: string
}

function isAgreed(observations: readonly Observation[]): boolean {
  return (
    observations.every(({ missing }) => missing === 0) &&
    new Set(observations.map(({ all }) => all)).size === 1
  )
}

/** With the place that it has among those that were ever opened. */
type OpenEndpoint = Endpoint & {
  readonly place: number
  readonly isSeparate: boolean
  readonly remote?: Remote
}

/** One engine with peers of its own. */
class World {
  readonly name: string
  readonly #engine: Datapath
  readonly #clock: ManualClock
  readonly #peers: readonly (UdpPeer | BurstPeer)[]
  #interfaces: readonly string[]
  readonly #endpoints: OpenEndpoint[] = []
  readonly #closed: Endpoint[] = []
  readonly #flows: {
    readonly id: FlowId
    readonly from: Endpoint
    readonly to?: EndpointId
    readonly peer: number
    /** Of a source that names one. */
    readonly local: number | undefined
  }[] = []
  readonly #allFlows: FlowId[] = []
  readonly #meters: MeterId[] = []
  /** Places of endpoints by id, and by where their datagrams come from. */
  readonly #places = new Map<EndpointId, number>()
  readonly #sources = new Map<string, string>()
  #opened = 0
  #nextPort: number
  /** What came of the step, and what was handed over, by endpoint and flow. */
  #outcome: unknown
  readonly #arrivals = new Map<string, string[]>()
  #accounted = 0
  #passedOn = 0
  #counters: Float64Array = new Float64Array(0)

  static async open(addon: Addon, { name, create }: Subject, firstPort: number): Promise<World> {
    const first = await UdpPeer.open()
    const peers = [
      first,
      await UdpPeer.open(),
      // Another address, the same port.
      await UdpPeer.open('127.0.0.2', first.port),
      await UdpPeer.open('::1'),
      await BurstPeer.open(addon),
      await BurstPeer.open(addon, '::1'),
    ]
    const world = new World(name, create, peers, firstPort)
    await world.#engine.start()
    return world
  }

  private constructor(
    name: string,
    create: Subject['create'],
    peers: readonly (UdpPeer | BurstPeer)[],
    firstPort: number,
  ) {
    this.name = name
    this.#nextPort = firstPort + (firstPort % 2)
    this.#peers = peers
    this.#interfaces = ['127.0.0.1', '::1']
    this.#clock = new ManualClock()
    // At 0 a flow could not be told from one that never was seen.
    this.#clock.advance(1)
    const listInterfaces = (): ReturnType<typeof networkInterfaces> => interfaceList(this.#interfaces)
    this.#engine = create({ ...differentialOptions, clock: this.#clock, listInterfaces })
  }

  async close(): Promise<void> {
    await Promise.all(this.#peers.map(async (peer) => await peer.close()))
    await this.#engine.close()
  }

  /** Does a step; says how many datagrams have to be accounted for after it. */
  async perform(step: Step): Promise<number> {
    this.#accounted = accountedFor(this.#engine)
    this.#outcome = undefined
    if (step.do === 'traffic') return await this.#traffic(step)
    try {
      this.#outcome = await this.#change(step)
    } catch (error) {
      this.#outcome = errorCode(error) ?? error
    }
    return step.do === 'send' && Array.isArray(this.#outcome) ? step.datagrams.length : 0
  }

  /** All that is to be seen of the engine, and whether so many datagrams are accounted for. */
  observe(sent: number): Observation {
    const counters = this.#readCounters()
    const isOneFlow = this.#countChanged(counters) <= 1
    const { forwarded, delivered, sent: own, dropped, endpoints, flows } = this.#engine.totals()
    // All that leaves goes to a peer.
    const passedOn = forwarded.packets + own.packets - this.#passedOn
    const received = this.#peers.reduce((sum, peer) => sum + peer.received.length, 0)
    const accounted = accountedFor(this.#engine) - this.#accounted
    const all = JSON.stringify({
      outcome: this.#outcome,
      // What several flows lead to one place may come in any order.
      received: this.#peers.map((peer) => {
        const seen = peer.received.map(({ bytes, from }) => `${this.#nameOf(from)} ${digest(bytes)}`)
        return isOneFlow ? seen : seen.sort()
      }),
      arrivals: [...this.#arrivals].sort(([one], [other]) => one.localeCompare(other)),
      totals: { forwarded, delivered, own, dropped, endpoints, flows },
      counters: [...counters].map((value, at) => (at % COUNTER_STRIDE === 3 ? Math.sign(value) : value)),
      locals: this.#endpoints.map(({ place, locals }) => [
        place,
        locals.map(({ address, local }) => [address, local]),
      ]),
    })
    return { missing: Math.max(0, sent - accounted) + Math.abs(passedOn - received), all }
  }

  /** Begins anew with what peers and receivers see. */
  forget(): void {
    this.#arrivals.clear()
    this.#counters = this.#readCounters()
    const { forwarded, sent } = this.#engine.totals()
    this.#passedOn = forwarded.packets + sent.packets
    for (const peer of this.#peers) peer.received.length = 0
  }

  async #change(step: Exclude<Step, { readonly do: 'traffic' }>): Promise<unknown> {
    const engine = this.#engine
    switch (step.do) {
      case 'open':
        return await this.#open(step)
      case 'close': {
        const endpoint = take(this.#endpoints, step.endpoint)
        if (endpoint === undefined) return undefined
        engine.closeEndpoint(endpoint.id)
        this.#closed.push(endpoint)
        const kept = this.#flows.filter(({ from, to }) => from !== endpoint && to !== endpoint.id)
        this.#flows.splice(0, Infinity, ...kept)
        // node:dgram closes in a later turn.
        await until(() => true, 'a turn')
        return undefined
      }
      case 'flow':
        return this.#addFlow(step)
      case 'remove': {
        const flow = take(this.#flows, step.flow)
        if (flow !== undefined) engine.removeFlow(flow.id)
        return undefined
      }
      case 'aim': {
        const flow = pick(this.#flows, step.flow)
        if (flow === undefined) return undefined
        const to = this.#endpoints.find(({ id }) => id === flow.to)
        engine.aim(flow.id, this.#peer(this.#fitting(step, step.target, to)), step.local)
        return undefined
      }
      case 'pause': {
        const flow = pick(this.#flows, step.flow)
        if (flow !== undefined) engine.pause(flow.id, step.paused)
        return undefined
      }
      case 'meter': {
        const perSecond = 2 ** -30
        const burst = step.packets ?? step.bytes ?? 1
        this.#meters.push(
          engine.openMeter({
            ...(step.packets !== undefined && { packetsPerSecond: perSecond }),
            ...(step.bytes !== undefined && { bytesPerSecond: perSecond }),
            burstSeconds: burst / perSecond,
          }),
        )
        return undefined
      }
      case 'close-meter': {
        const meter = take(this.#meters, step.meter)
        if (meter !== undefined) engine.closeMeter(meter)
        return undefined
      }
      case 'charge': {
        const meter = pick(this.#meters, step.meter)
        return meter === undefined ? undefined : engine.charge(meter, step.bytes)
      }
      case 'interfaces':
        this.#interfaces = step.addresses
        this.#clock.advance(1000)
        // node:dgram binds in later turns.
        for (let turn = 0; turn < 8; turn++) await until(() => true, 'a turn')
        this.#learnSources()
        return undefined
      case 'send': {
        const endpoint = pick(this.#endpoints, step.endpoint)
        if (endpoint === undefined) return undefined
        const remote = this.#peer(this.#fitting(step, step.target, endpoint))
        const options = step.local === undefined ? {} : { local: step.local }
        return step.datagrams.map((datagram) => engine.send(endpoint.id, remote, bytesOf(datagram), options))
      }
    }
    return undefined
  }

  async #open(step: Extract<Step, { readonly do: 'open' }>): Promise<unknown> {
    if (this.#endpoints.length >= maxEndpoints) return undefined
    const place = this.#opened++
    const remote = step.remote === undefined ? undefined : this.#peer(step.remote)
    const again = step.isReopened ? this.#closed.pop() : undefined
    const port = again?.port ?? this.#nextPort
    if (again === undefined) this.#nextPort += 2
    const opened = await this.#engine.openEndpoint(
      {
        addresses: step.addresses,
        port,
        deliver: step.isDeliver,
        evenPair: step.isPair && again === undefined,
        threads: step.isShared ? ALL_THREADS : 1,
        separateLocals: step.isSeparate,
        // Room for a burst also where the default is the system's.
        receiveBufferBytes: 4 << 20,
        ...(remote !== undefined && { remote }),
      },
      ({ endpoint, flow, local, kind, address, port, bytes }) => {
        const key = `${this.#places.get(endpoint)} ${this.#allFlows.indexOf(flow)}`
        const peer = this.#peers.findIndex((peer) => peer.address === address && peer.port === port)
        const arrivals = this.#arrivals.get(key) ?? []
        this.#arrivals.set(key, arrivals)
        arrivals.push(`${kind} ${local} ${peer} ${digest(bytes)}`)
      },
    )
    for (const endpoint of [opened, opened.pair]) {
      if (endpoint === undefined) continue
      const at = endpoint === opened ? place : place + pairPlaces
      this.#places.set(endpoint.id, at)
      const { isSeparate } = step
      this.#endpoints.push(
        Object.assign(endpoint, { place: at, isSeparate, ...(remote !== undefined && { remote }) }),
      )
    }
    this.#learnSources()
    return opened.locals.map(({ address, local }) => [address, local])
  }

  #addFlow(step: Extract<Step, { readonly do: 'flow' }>): void {
    const [from, to] = [pick(this.#endpoints, step.from), pick(this.#endpoints, step.to)]
    if (from === undefined || to === undefined) return
    const peer = this.#fitting(step, step.remote, from)
    const local = this.#sourceLocal(step, from, peer)
    const source = {
      endpoint: from.id,
      remote: this.#peer(peer),
      ...(local !== undefined && { local }),
      ...(step.match !== undefined && { match: step.match }),
    }
    const target = {
      endpoint: to.id,
      remote: this.#peer(this.#fitting(step, step.target, to)),
      ...(step.local !== undefined && { local: step.local }),
    }
    const meters = step.meters.flatMap((meter) => pick(this.#meters, meter) ?? [])
    const id = this.#engine.addFlow(flowOf(step, { from: source, meters }, target))
    this.#flows.push({ id, from, peer, local, ...(step.kind !== 'deliver' && { to: to.id }) })
    this.#allFlows.push(id)
  }

  /** All from one peer to one address: then even the order of what comes out is the same. */
  async #traffic(step: Extract<Step, { readonly do: 'traffic' }>): Promise<number> {
    const flow = step.flow === undefined ? undefined : pick(this.#flows, step.flow)
    const endpoint = this.#endpoints.find((one) => one === flow?.from) ?? pick(this.#endpoints, step.endpoint)
    if (endpoint === undefined) return 0
    const peer = this.#peer(flow?.peer ?? step.peer)
    const isIPv6 = peer.address.includes(':')
    const locals = endpoint.locals.filter(({ address }) => address.includes(':') === isIPv6)
    // Mostly where the flow takes it.
    const ofFlow = step.isFitting ? locals.find(({ local }) => local === flow?.local) : undefined
    const local = ofFlow ?? pick(locals, step.local)
    if (local === undefined) return 0
    await peer.burst(step.datagrams.map(bytesOf), local)
    const { remote } = endpoint
    // A connected socket does not get what others send.
    const isHeard = remote === undefined || (remote.address === peer.address && remote.port === peer.port)
    return isHeard ? step.datagrams.length : 0
  }

  /** The local address that a source names: mostly if, and only if, the endpoint wants one. */
  #sourceLocal(
    { fromLocal, isFitting }: Extract<Step, { readonly do: 'flow' }>,
    endpoint: OpenEndpoint,
    peer: number,
  ): number | undefined {
    if (!isFitting) return fromLocal === 0 ? undefined : fromLocal
    if (!endpoint.isSeparate) return undefined
    const isIPv6 = this.#peer(peer).address.includes(':')
    const locals = endpoint.locals.filter(({ address }) => address.includes(':') === isIPv6)
    return pick(locals, fromLocal)?.local
  }

  #fitting({ isFitting }: { readonly isFitting: boolean }, peer: number, endpoint?: OpenEndpoint): number {
    if (!isFitting || endpoint === undefined) return peer
    if (endpoint.remote !== undefined) return this.#peers.findIndex((one) => one === endpoint.remote)
    const families = new Set(endpoint.locals.map(({ address }) => address.includes(':')))
    const fitting = [...this.#peers.keys()].filter((at) => families.has(this.#peer(at).address.includes(':')))
    return pick(fitting, peer) ?? peer
  }

  #peer(at: number): UdpPeer | BurstPeer {
    return this.#peers[at % this.#peers.length] as UdpPeer | BurstPeer
  }

  #learnSources(): void {
    for (const { place, locals } of this.#endpoints) {
      for (const { address, port, local } of locals)
        this.#sources.set(`${address} ${port}`, `${place}/${local}`)
    }
  }

  #nameOf({ address, port }: Remote): string {
    return this.#sources.get(`${address} ${port}`) ?? 'somebody'
  }

  #readCounters(): Float64Array {
    const into = new Float64Array(this.#allFlows.length * COUNTER_STRIDE)
    this.#engine.readCounters(this.#allFlows, into)
    return into
  }

  #countChanged(counters: Float64Array): number {
    return this.#allFlows.filter((_, flow) => {
      const at = flow * COUNTER_STRIDE
      return counters[at] !== (this.#counters[at] ?? 0)
    }).length
  }
}

const maxEndpoints = 6
const namedPeers: readonly Remote[] = [
  { address: '192.0.2.1', port: 7 },
  { address: '192.0.2.1', port: 8 },
  { address: '2001:db8::1', port: 7 },
]
/** Between an endpoint's place and its pair's. */
const pairPlaces = 1000

const peerNumber = fc.nat({ max: 5 })
const few = fc.nat({ max: 7 })
const mostly = fc.nat({ max: 7 }).map((number) => number > 0)
const local = fc.nat({ max: 15 }).map((number) => (number < 4 ? number : undefined))
const channel = fc.constantFrom(0x4000, 0x4001, 0x0001)
const match = fc.record({ offset: fc.constantFrom(0, 4, 12), value: fc.constantFrom(0, 5, 0x4001_0008) })
const addresses = fc.constantFrom(
  ['127.0.0.1'],
  ['127.0.0.1'],
  ['::1'],
  ['127.0.0.1', '127.0.0.2', '::1'],
  ['0.0.0.0'],
  ['0.0.0.0', '::'],
)

const datagram: fc.Arbitrary<Datagram> = fc.record({
  indication: sometimes(
    fc.record({ named: fc.nat({ max: 2 }), form: fc.constantFrom('plain', 'plain', 'plain', 'odd', 'cut') }),
  ),
  head: fc.constantFrom(
    [],
    // STUN requests, channels with lengths that fit and that do not, values that flows match.
    [0x00, 0x01],
    [0x40, 0x00, 0x00, 0x00],
    [0x40, 0x01, 0x00, 0x08],
    [0x40, 0x01, 0x04, 0xb0],
    [0, 0, 0, 0, 0, 0, 0, 5],
    [0x80, 96, 1, 2, 0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 5],
  ),
  length: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(1200, 1200, 1204, 100) },
    { weight: 3, arbitrary: fc.nat({ max: 20 }) },
    { weight: 1, arbitrary: fc.constantFrom(0, 1472, 9000, 65_500, 65_503, 65_504, 65_507) },
  ),
  seed: fc.nat({ max: 255 }),
})

/** In one case of three. */
function sometimes<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 1, arbitrary }, { weight: 2, arbitrary: fc.constant(undefined) })
}

const open: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('open'),
  addresses,
  isDeliver: fc.nat({ max: 4 }).map((number) => number === 4),
  isPair: fc.boolean(),
  isShared: fc.boolean(),
  isSeparate: fc.nat({ max: 2 }).map((number) => number === 0),
  isReopened: fc.boolean(),
  remote: sometimes(peerNumber),
})

const flow: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('flow'),
  kind: fc.constantFrom(
    ...(['forward', 'copy', 'add', 'strip', 'add-indication', 'strip-indication', 'deliver'] as const),
    // Several beside each other.
    'strip-indication',
  ),
  from: few,
  remote: peerNumber,
  fromLocal: few,
  isFitting: mostly,
  match: sometimes(match),
  channel,
  named: fc.nat({ max: 2 }),
  to: few,
  target: peerNumber,
  local,
  meters: fc.array(few, { maxLength: 4 }),
})

const steps: readonly fc.WeightedArbitrary<Step>[] = [
  { weight: 2, arbitrary: open },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close'), endpoint: few }) },
  { weight: 5, arbitrary: flow },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove'), flow: few }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('aim'), flow: few, target: peerNumber, isFitting: mostly, local }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pause'), flow: few, paused: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('meter'),
      bytes: fc.option(fc.constantFrom(0, 1, 3000, 70_000), { nil: undefined }),
      packets: fc.option(fc.constantFrom(0, 1, 4, 10), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close-meter'), meter: few }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('charge'),
      meter: few,
      bytes: fc.constantFrom(0, 1, 1000, 69_000, 1e6),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('interfaces'),
      addresses: fc.subarray(['127.0.0.1', '127.0.0.2', '127.0.0.3', '::1']),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('send'),
      endpoint: few,
      target: peerNumber,
      isFitting: mostly,
      local,
      datagrams: fc.array(datagram, { maxLength: 12 }),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('traffic'),
      flow: fc.option(few, { nil: undefined, freq: 4 }),
      peer: peerNumber,
      endpoint: few,
      local: few,
      isFitting: mostly,
      datagrams: fc.array(datagram, { minLength: 1, maxLength: 24 }),
    }),
  },
]

function flowOf(
  { kind, channel, named }: Extract<Step, { readonly do: 'flow' }>,
  common: Pick<Flow, 'from' | 'meters'>,
  to: Extract<Flow, { readonly kind: 'forward' }>['to'],
): Flow {
  if (kind === 'deliver') return { ...common, kind }
  if (kind === 'add' || kind === 'strip')
    return { ...common, kind: 'turn-channel', to, channel, header: kind }
  if (kind === 'add-indication' || kind === 'strip-indication') {
    const peer = namedPeers[named] as Remote
    return {
      ...common,
      kind: 'turn-indication',
      to,
      peer,
      header: kind === 'add-indication' ? 'add' : 'strip',
    }
  }
  return { ...common, kind: 'forward', to, copyStunRequests: kind === 'copy' }
}

/** Datagrams of whose fate the engine has said something. */
function accountedFor(engine: Datapath): number {
  const { forwarded, delivered, sent, dropped } = engine.totals()
  const drops = Object.values(dropped).reduce((sum, count) => sum + count, 0)
  return forwarded.packets + delivered.packets + sent.packets + drops
}

function bytesOf({ indication, head, length, seed }: Datagram): Buffer {
  const bytes = Buffer.alloc(indication === undefined ? length : Math.min(length, 65_400))
  for (let at = 0; at < bytes.length; at++) bytes[at] = head[at] ?? (seed * 31 + at * 7) & 0xff
  if (indication === undefined) return bytes
  const { named, form } = indication
  const id = Buffer.alloc(12, seed)
  const writer = new StunWriter(StunMethod.send, StunClass.indication, id)
  if (form === 'odd') writer.attribute(StunAttribute.dontFragment, new Uint8Array(0))
  writer.xorAddress(StunAttribute.xorPeerAddress, namedPeers[named] as Remote)
  writer.attribute(StunAttribute.data, bytes)
  const message = writer.finish()
  return form === 'cut' ? message.subarray(0, -4) : message
}

/** A datagram without what engines choose at random: the transaction id of a Data indication, and what it masks. */
function withoutTransaction(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 36 || bytes[0] !== 0 || bytes[1] !== 0x17) return bytes
  const plain = Uint8Array.from(bytes)
  plain.fill(0, 8, 20)
  // Of an IPv6 address all but the beginning.
  if (bytes[25] === 2)
    for (let at = 0; at < 12; at++) plain[32 + at] = (bytes[32 + at] ?? 0) ^ (bytes[8 + at] ?? 0)
  return plain
}

function digest(arrived: Uint8Array): string {
  const bytes = withoutTransaction(arrived)
  return `${bytes.length}:${createHash('sha1').update(bytes).digest('base64').slice(0, 8)}`
}

function pick<T>(list: readonly T[], at: number): T | undefined {
  return list[at % list.length]
}

function take<T>(list: T[], at: number): T | undefined {
  return list.splice(at % list.length, 1)[0]
}

function interfaceList(addresses: readonly string[]): ReturnType<typeof networkInterfaces> {
  return {
    lo: addresses.map((address) => ({
      ...{ address, netmask: '', mac: '', internal: true, cidr: null },
      ...(address.includes(':') ? { family: 'IPv6', scopeid: 0 } : { family: 'IPv4' }),
    })),
  }
}
