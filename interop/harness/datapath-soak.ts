/**
 * Sessions that come and go on the native engine under traffic, for as long as wanted:
 *
 *   npx tsx interop/harness/datapath-soak.ts --minutes 10
 *
 * At the end every datagram that was sent must be one that arrived, was counted, or was dropped for a known reason; no endpoint,
 * flow, meter or descriptor may be left. Prints a line every half minute and a summary as JSON; exits with 1 on a mismatch.
 */
import { readdirSync } from 'node:fs'
import { setTimeout as after } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import {
  COUNTER_STRIDE,
  createDatapath,
  type Datapath,
  type Endpoint,
  type FlowId,
} from '../../src/mechanisms/datapath/index.ts'
import { UdpPeer, until } from '../../src/mechanisms/datapath/udp-peer.testkit.ts'

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, sessions: { type: 'string', default: '60' } },
})
const endMs = performance.now() + Number(values.minutes) * 60_000
const liveSessions = Number(values.sessions)

/** Datagrams and bytes, as they were sent, arrived, and were counted by flows. */
const sent = { packets: 0, bytes: 0 }
const arrived = { packets: 0, bytes: 0 }
const counted = { packets: 0, bytes: 0, drops: 0 }
let strangers = 0
let sessions = 0
const problems: string[] = []

const datapath = createDatapath({
  engine: 'native',
  threads: 2,
  onDeath: (error) => problems.push(error.message),
})
const descriptors = readdirSync('/proc/self/fd').length
await datapath.start()
const edge = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0, threads: 2 }, () => {})

const progress = setInterval(() => {
  process.stderr.write(`${JSON.stringify({ sessions, sent: sent.packets, ...memory() })}\n`)
}, 30_000)
const memoryAtStart = memory()
await Promise.all([...Array.from({ length: liveSessions }, (_, lane) => runLane(lane)), floodWithJunk()])
clearInterval(progress)

datapath.closeEndpoint(edge.id)
const totals = datapath.totals()
check('endpoints', totals.endpoints, 0)
check('flows', totals.flows, 0)
check('datagrams that arrived', arrived.packets, sent.packets)
check('bytes that arrived', arrived.bytes, sent.bytes)
check('datagrams that flows have counted', counted.packets, sent.packets)
check('bytes that flows have counted', counted.bytes, sent.bytes)
check('drops that flows have counted', counted.drops, 0)
check('datagrams forwarded', totals.forwarded.packets, sent.packets)
check('bytes forwarded', totals.forwarded.bytes, sent.bytes)
check('strangers', totals.delivered.packets + totals.dropped.stranger, strangers)
const { stranger: _, ...others } = totals.dropped
for (const [reason, count] of Object.entries(others)) check(`dropped, ${reason}`, count, 0)
await datapath.close()
check('descriptors', readdirSync('/proc/self/fd').length, descriptors)
const summary = { sessions, sent, strangers, totals, memoryAtStart, memoryAtEnd: memory(), problems }
process.stdout.write(`${JSON.stringify(summary, undefined, 2)}\n`)
process.exitCode = problems.length === 0 ? 0 : 1

/** One session after the other. */
async function runLane(lane: number): Promise<void> {
  for (let round = 0; performance.now() < endMs && problems.length === 0; round++) {
    await runSession(datapath, edge, lane + round).catch((error: unknown) => problems.push(String(error)))
    sessions++
  }
}

/** A viewer and an origin that talk through the engine for some rounds; the viewer moves half-way. */
async function runSession(datapath: Datapath, edge: Endpoint, seed: number): Promise<void> {
  const [viewer, moved, origin] = [await UdpPeer.open(), await UdpPeer.open(), await UdpPeer.open()]
  const inner = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0, remote: origin }, () => {})
  const meter = datapath.openMeter({ packetsPerSecond: 1e9, bytesPerSecond: 1e12 })
  const far = { endpoint: inner.id, remote: origin }
  const up = [viewer, moved].map((remote) =>
    datapath.addFlow({ kind: 'forward', from: { endpoint: edge.id, remote }, to: far, meters: [meter] }),
  )
  const down = datapath.addFlow({ kind: 'forward', from: far, to: { endpoint: edge.id, remote: viewer } })
  const flows: readonly FlowId[] = [...up, down]
  try {
    for (let round = 0; round < 20; round++) {
      const at = round < 10 ? viewer : moved
      if (round === 10) datapath.aim(down, moved)
      await exchange(at, edge.port, inner.port, origin, seed + round)
      await exchange(origin, inner.port, edge.port, at, seed + round)
    }
  } finally {
    const numbers = new Float64Array(flows.length * COUNTER_STRIDE)
    datapath.readCounters(flows, numbers)
    for (let index = 0; index < flows.length; index++) {
      const [packets = 0, bytes = 0, drops = 0] = numbers.subarray(index * COUNTER_STRIDE)
      counted.packets += packets
      counted.bytes += bytes
      counted.drops += drops
    }
    for (const flow of up) datapath.removeFlow(flow)
    datapath.closeMeter(meter)
    datapath.closeEndpoint(inner.id)
    await Promise.all([viewer, moved, origin].map((peer) => peer.close()))
  }
}

/** Sends a burst to a port of the engine and takes it as it leaves by another, whole and in order. */
async function exchange(
  from: UdpPeer,
  into: number,
  outOf: number,
  at: UdpPeer,
  seed: number,
): Promise<void> {
  const lengths = Array.from({ length: 1 + (seed % 9) }, (_, index) => (seed * 31 + index * 997) % 1400)
  for (const [index, length] of lengths.entries()) {
    sent.packets++
    sent.bytes += length
    await from.send(Buffer.alloc(length, seed + index), { address: '127.0.0.1', port: into })
  }
  // Another program may send to the port, thinking that it is still its own peer's.
  const burst = () => at.received.filter((datagram) => datagram.from.port === outOf)
  await until(() => burst().length >= lengths.length, `a burst of ${lengths.length}`, 20_000)
  for (const [index, { bytes }] of burst().entries()) {
    arrived.packets++
    arrived.bytes += bytes.length
    if (!bytes.equals(Buffer.alloc(lengths[index] ?? 0, seed + index)))
      throw new Error('a datagram has changed')
  }
  at.received.length = 0
}

/** Junk from addresses that are no session's. */
async function floodWithJunk(): Promise<void> {
  while (performance.now() < endMs && problems.length === 0) {
    const stranger = await UdpPeer.open()
    for (let count = 0; count < 200; count++) {
      strangers++
      await stranger.send('junk', { address: '127.0.0.1', port: edge.port })
    }
    await stranger.close()
    await after(20)
  }
}

function check(what: string, found: number, expected: number): void {
  if (found !== expected) problems.push(`${what}: ${found}, expected ${expected}`)
}

function memory(): { readonly rssMB: number; readonly heapMB: number } {
  const { rss, heapUsed } = process.memoryUsage()
  return { rssMB: Math.round(rss / 1e6), heapMB: Math.round(heapUsed / 1e6) }
}
