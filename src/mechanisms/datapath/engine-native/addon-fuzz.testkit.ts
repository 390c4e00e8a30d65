/**
 * Calls every function of the addon with values of all kinds, sound commands and changed ones, as a process of its own, since
 * what it looks for are crashes. Arguments: a seed, and for how many calls. Prints how the calls ended, by function.
 */
import { closeSync } from 'node:fs'
import { type Addon, loadAddon } from './addon.ts'
import { Outbox } from './outbox.ts'
import {
  addressCommand,
  aimCommand,
  endpointCommand,
  flowCommand,
  localAddressCommand,
} from './addon-records.ts'
import type { EndpointId, FlowId, MeterId } from '../contract.ts'

const [seed = 1, calls = 10_000] = process.argv.slice(2).map(Number)
const loaded = loadAddon()
if (!('addon' in loaded)) throw new Error(loaded.reason)
const { addon } = loaded

const listening = addon.bindTcp(addressCommand({ address: '127.0.0.1', port: 0 }))

/** Not quite random, and the same for the same seed (xorshift). */
let state = (seed * 2_654_435_761) >>> 0 || 1
function random(below: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % below
}

function one<T>(...choices: readonly T[]): T {
  return choices[random(choices.length)] as T
}

/** Engines that are open. */
const engines: number[] = []
/** Joiners that are open. */
const joiners: number[] = []
const ends = new Map<string, Record<'done' | 'thrown', number>>()
const enginesAtMost = 3

const id = (): number => random(7)
const loopback = () => ({
  address: one('127.0.0.1', '127.0.0.1', '127.0.0.2', '::1'),
  port: one(0, 0, 9, 40_000 + random(20)),
})

/** Bytes that make sense, most of the time. */
const records: Readonly<Record<string, () => Uint8Array>> = {
  endpoint: () =>
    endpointCommand(id() as EndpointId, {
      threads: one(1, 2, 1000),
      isDeliver: random(2) === 0,
      separatesLocals: random(3) === 0,
      remote: random(3) === 0 ? { ...loopback(), port: 40_000 + random(20) } : undefined,
    }),
  local: () =>
    localAddressCommand(id() as EndpointId, random(3), loopback(), {
      receiveBufferBytes: one(0, 1, 65_536, 0xffff_ffff),
      dscp: one(undefined, 0, 46, 63),
      icmpErrors: random(2) === 0,
    }),
  address: () => addressCommand(loopback()),
  flow: () => {
    const [from, to] = [{ id: id() as EndpointId }, { id: id() as EndpointId }]
    const remote = { ...loopback(), port: 40_000 + random(20) }
    const source = {
      endpoint: from.id,
      remote,
      ...(random(3) === 0 && { local: random(3) }),
      ...(random(3) === 0 && { match: { offset: random(20), value: random(10) } }),
    }
    const target = {
      endpoint: to,
      ...remote,
      port: 40_000 + random(20),
      family: 4 as const,
      local: one(undefined, 0, 1),
    }
    const [flow, meters] = [{ id: id() as FlowId, from, remote }, [1, 2, 3].slice(random(4)) as MeterId[]]
    const there = { endpoint: to.id, remote: target }
    return flowCommand(
      one(
        { ...flow, flow: { kind: 'deliver', from: source }, target: undefined, meters },
        {
          ...flow,
          flow: { kind: 'forward', from: source, to: there, copyStunRequests: true },
          target,
          meters,
        },
        {
          ...flow,
          flow: {
            kind: 'turn-channel',
            from: source,
            to: there,
            channel: 0x4000,
            header: one('add', 'strip'),
          },
          target,
          meters,
        },
        {
          ...flow,
          flow: {
            kind: 'turn-indication',
            from: source,
            to: there,
            peer: { ...loopback(), port: 40_000 + random(20) },
            header: one('add', 'strip'),
          },
          target,
          meters,
        },
      ),
    )
  },
  aim: () =>
    aimCommand({ endpoint: undefined, ...loopback(), family: 4, local: one(undefined, 0, 1, 0xffff_fffe) }),
  datagrams: () => {
    let packed = new Uint8Array(0)
    const outbox = new Outbox((datagrams, length) => {
      packed = datagrams.slice(0, length)
    })
    for (let count = random(20); count > 0; count--) {
      const to = { ...loopback(), port: 40_000 + random(20) }
      const bytes = Buffer.alloc(one(0, 1, 1200, 1200, 1200, 9000, 65_507, 65_535), one(0, 1, 0x40))
      outbox.add(id() as EndpointId, to, bytes, {
        local: one(0, 1, 2 ** 32 - 1),
        dontFragment: random(4) === 0,
      })
    }
    outbox.flush()
    return packed
  },
}

/** A record of that kind, or with some bytes changed or cut off. Addresses stay on loopback. */
function bytesOf(kind: string): Uint8Array {
  const bytes = Uint8Array.from(records[kind]?.() ?? [])
  if (random(3) > 0) return bytes
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const at = random(Math.max(1, bytes.length))
    // In the room of an address only its first byte, the family, may change.
    if (!isInAddress(kind, at) && at < bytes.length) bytes[at] = one(0, 1, 0x7f, 0x80, 0xff, random(256))
  }
  return random(3) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes
}

function isInAddress(kind: string, at: number): boolean {
  const starts =
    { endpoint: [16], local: [24], address: [0], flow: [16, 96, 120], aim: [8], datagrams: [24] }[kind] ?? []
  return kind === 'datagrams' ? at >= 24 : starts.some((start) => at > start && at < start + 24)
}

/** Values that nobody should give. */
function rubbish(): unknown {
  const shared = new Uint8Array(new SharedArrayBuffer(64))
  const detached = new Uint8Array(64)
  structuredClone(detached.buffer, { transfer: [detached.buffer] })
  const throwing = {
    valueOf: () => {
      throw new Error('valueOf was called')
    },
  }
  return one<() => unknown>(
    () => undefined,
    () => null,
    () =>
      one(
        Number.NaN,
        -0,
        -1,
        0.5,
        1e300,
        Number.POSITIVE_INFINITY,
        2 ** 53,
        2 ** 53 - 1,
        2 ** 32,
        2 ** 32 - 1,
      ),
    () => random(100),
    () => 10n ** BigInt(random(30)),
    () => 'x'.repeat(random(10)),
    () => Symbol('nothing'),
    () => ({}),
    () => throwing,
    () => new Proxy({}, { get: () => throwing }),
    () => () => {},
    () => shared,
    () => detached,
    () => new Uint8Array(random(200)).fill(random(256)),
    () => new Uint8Array(random(200)).map(() => random(256) & random(256) & 7),
    () => new Float64Array(random(200)).map(() => random(8)),
    () => new DataView(new ArrayBuffer(random(64))),
    () => new ArrayBuffer(random(64)),
    () => new Float32Array(16),
    () => new BigUint64Array(16),
    () => new Uint8ClampedArray(64),
  )()
}

const room = new Uint8Array(256 * 1024)
const handle = (): number =>
  engines.length === 0 || random(20) === 0 ? id() : (engines[random(engines.length)] ?? 0)
const joiner = (): number =>
  joiners.length === 0 || random(20) === 0 ? id() : (joiners[random(joiners.length)] ?? 0)
/** Of a TCP socket that listens, or none. */
const descriptor = (): number => one(listening, listening, -1, 0, 1e6, 2 ** 31)
const numbers = (length: number): Float64Array =>
  new Float64Array(length).map(() => one(0, 1, 2, 3, -1, Number.NaN, 1e17))
const ring = (): void => {
  for (const engine of engines) attempt('take', [engine, room])
  for (const joiner of joiners) attempt('takeJoinEvents', [joiner, new Float64Array(30)])
}

const sound: Readonly<Record<keyof Addon, () => unknown[]>> = {
  open: () => [
    Float64Array.of(1, ...Array.from({ length: 8 }, () => one(0, 1, 1e6, Infinity)), one(0, 1e6, 1e12)),
    ring,
  ],
  close: () => [handle()],
  addThread: () => [handle()],
  addEndpoint: () => [handle(), bytesOf('endpoint')],
  removeEndpoint: () => [handle(), id()],
  bind: () => [handle(), bytesOf('local'), new Uint8Array(24)],
  unbind: () => [handle(), id(), random(3)],
  bindTcp: () => [bytesOf('address')],
  addFlow: () => [handle(), bytesOf('flow')],
  aimFlow: () => [handle(), id(), bytesOf('aim')],
  pauseFlow: () => [handle(), id(), random(2)],
  removeFlow: () => [handle(), id()],
  addMeter: () => [
    handle(),
    1 + random(3),
    one(-1, 0, 1, 1e9, Infinity),
    one(-1, 0, 1, 1e9),
    one(0, 1, 1e300),
  ],
  removeMeter: () => [handle(), 1 + random(3)],
  charge: () => [handle(), 1 + random(3), one(0, 1, 1200, 2 ** 53 - 1)],
  send: () => {
    const datagrams = bytesOf('datagrams')
    return [handle(), datagrams, one(datagrams.length, datagrams.length, random(1 + datagrams.length), 1e9)]
  },
  take: () => [handle(), room],
  failure: () => [handle()],
  readCounters: () => {
    const flows = numbers(random(6))
    // In one case the numbers are written over the names.
    return [handle(), flows, one(new Float64Array(random(30)), flows, flows.subarray(0, 1))]
  },
  readTotals: () => [handle(), new Float64Array(random(200))],
  crash: () => [handle()],
  openJoiner: () => [one(0, 1, 5, 1e6), ring],
  closeJoiner: () => [joiner()],
  join: () => [joiner(), id(), descriptor(), descriptor(), random(2), random(2)],
  removeJoin: () => [joiner(), id()],
  takeJoinEvents: () => [joiner(), new Float64Array(random(40))],
  readJoin: () => [joiner(), id(), new Float64Array(random(6))],
  crashJoiner: () => [joiner()],
}

function attempt(name: keyof Addon, values: unknown[]): unknown {
  const end = ends.get(name) ?? { done: 0, thrown: 0 }
  ends.set(name, end)
  try {
    const result = (addon[name] as (...values: unknown[]) => unknown)(...values)
    end.done++
    return result
  } catch {
    end.thrown++
    return undefined
  }
}

/** How seldom something is done: what ends, what has no end, what would end everything. */
const rarity: Partial<Record<keyof Addon, number>> = {
  close: 60,
  removeEndpoint: 6,
  addThread: 50,
  crash: 2000,
  openJoiner: 10,
  closeJoiner: 60,
  crashJoiner: 2000,
}

function call(name: keyof Addon): void {
  if (name === 'open' && engines.length >= enginesAtMost) return
  if (name === 'openJoiner' && joiners.length >= enginesAtMost) return
  if (random(rarity[name] ?? 1) > 0) return
  const values = sound[name]()
  if (random(5) === 0 && values.length > 0) values[random(values.length)] = rubbish()
  if (random(20) === 0) {
    const others = [rubbish(), rubbish()].slice(random(3))
    values.splice(random(values.length + 1), random(3), ...others)
  }
  const result = attempt(name, values)
  if (name === 'bindTcp' && typeof result === 'number' && result >= 0) closeSync(result)
  if (name === 'close' || name === 'closeJoiner') {
    const open = name === 'close' ? engines : joiners
    const at = open.indexOf(values[0] as number)
    if (at >= 0) open.splice(at, 1)
  }
  if (name === 'openJoiner' && typeof result === 'number' && result > 0) joiners.push(result)
  if (name === 'open' && typeof result === 'number') {
    engines.push(result)
    attempt('addThread', [result])
  }
}

const names = Object.keys(sound) as (keyof Addon)[]
call('open')
for (let count = 0; count < calls; count++) {
  call(names[random(names.length)] as keyof Addon)
  if (count % 50 === 0) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}
// Those that still live can still be used, and all can be closed.
for (const engine of engines) attempt('close', [engine])
for (const joiner of joiners) attempt('closeJoiner', [joiner])
console.log(JSON.stringify(Object.fromEntries(ends)))
