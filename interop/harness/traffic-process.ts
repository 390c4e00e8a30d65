/**
 * A process that sends datagrams fast, by a native engine of its own, and counts what comes back. It reads commands, a line of JSON
 * each, and answers with a line each:
 *
 *   {"open": 20}                             opens so many clients and an origin: {"clients": [ports], "origin": port}
 *   {"send": 60000, "rate": 20000, "to": P}  sends from the clients in turn to port P: {"sent": N, "seconds": S}
 *   {"arrived": true}                        {"arrived": N}, datagrams that the origin got
 */
import { createInterface } from 'node:readline'
import { setTimeout as after } from 'node:timers/promises'
import { createDatapath, type Endpoint } from '../../src/mechanisms/datapath/index.ts'

interface Command {
  readonly open?: number
  readonly send?: number
  readonly rate?: number
  readonly to?: number
  readonly arrived?: boolean
}

const unlimited = { packetsPerSecond: 1e9, burst: 1e9 }
const datapath = createDatapath({ engine: 'native', known: unlimited, knownPerEndpoint: unlimited })
await datapath.start()
const clients: Endpoint[] = []
let arrived = 0

for await (const line of createInterface({ input: process.stdin })) {
  const { open, send, rate = 0, to = 0 } = JSON.parse(line) as Command
  const answer =
    open !== undefined
      ? await openEnds(open)
      : send !== undefined
        ? await sendPaced(send, rate, to)
        : { arrived }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}

async function openEnds(count: number): Promise<object> {
  const options = { addresses: ['127.0.0.1'], port: 0, deliver: true }
  while (clients.length < count) clients.push(await datapath.openEndpoint(options, () => {}))
  const origin = await datapath.openEndpoint(options, () => {
    arrived++
  })
  return { clients: clients.map(({ port }) => port), origin: origin.port }
}

async function sendPaced(total: number, rate: number, port: number): Promise<object> {
  const startMs = performance.now()
  const remote = { address: '127.0.0.1', port }
  // Each longer than the one before, so that no two of them travel as one message.
  const datagrams = Array.from({ length: 100 }, (_, index) => Buffer.alloc(100 + index, index))
  let sent = 0
  while (sent < total) {
    const due = Math.min(total, Math.floor(((performance.now() - startMs) / 1000) * rate))
    for (; sent < due; sent++) {
      const client = clients[sent % clients.length]
      const bytes = datagrams[Math.floor(sent / clients.length) % datagrams.length]
      if (client !== undefined && bytes !== undefined) datapath.send(client.id, remote, bytes)
    }
    await after(1)
  }
  return { sent, seconds: (performance.now() - startMs) / 1000 }
}
