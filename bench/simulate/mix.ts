import type { RedisServer } from '../redis-server.ts'
import { BatchClient } from './closed-loop.ts'
import { COMMANDS, type Filled } from './commands.ts'
import type { Rate } from './rates.ts'
import { encodeCommand } from './resp.ts'

/** What a real server made of all rates at once. */
export interface MixResult {
  /** Commands per second that were asked for, and that were answered. */
  readonly asked: number
  readonly answered: number
  /** Part of one core that the server used. */
  readonly cores: number
  /** How long a pick by itself took meanwhile, there and back, in milliseconds. */
  readonly pickP50Ms: number
  readonly pickP99Ms: number
}

const SECONDS = 4
const CONNECTIONS = 200
const STEP_MS = 5
/** Different commands of a kind that are written beforehand and then sent in turn. */
const POOL = 4000

/** Sends the rates to a filled server, at the times at which they are due and from many connections. */
export async function runMix(
  server: RedisServer,
  rates: readonly Rate[],
  filled: Filled,
): Promise<MixResult> {
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => BatchClient.open(server.port)))
  const probe = await BatchClient.open(server.port)
  const sources = rates.map((rate) => new Source(rate, filled))
  const pick = (index: number): Buffer => encodeCommand(COMMANDS.pick(1_000_000 + index, filled))
  const waits: number[] = []
  const over = new AbortController()
  const probing = (async () => {
    for (let index = 0; !over.signal.aborted; index++) {
      const sentMs = performance.now()
      await probe.send(pick(index), 1)
      waits.push(performance.now() - sentMs)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  })()
  let answered = 0
  let next = 0
  const under: Promise<void>[] = []
  const [cpuBefore, startMs] = [server.cpuSeconds(), performance.now()]
  try {
    for (let nowMs = startMs; nowMs < startMs + SECONDS * 1000; nowMs = performance.now()) {
      for (const source of sources) {
        for (const { bytes, commands } of source.due((nowMs - startMs) / 1000)) {
          const client = freeOf(clients, next)
          if (client === undefined) continue
          next = client.index + 1
          under.push(
            client.client.send(bytes, commands).then(() => {
              answered += commands
            }),
          )
        }
      }
      await new Promise((resolve) => setTimeout(resolve, STEP_MS))
    }
    const seconds = (performance.now() - startMs) / 1000
    const cores = (server.cpuSeconds() - cpuBefore) / seconds
    await Promise.all(under)
    over.abort()
    await probing
    const sorted = waits.toSorted((a, b) => a - b)
    const quantile = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? Number.NaN
    return {
      asked: rates.reduce((total, { perSecond }) => total + perSecond, 0),
      answered: answered / seconds,
      cores,
      pickP50Ms: quantile(0.5),
      pickP99Ms: quantile(0.99),
    }
  } finally {
    over.abort()
    for (const client of [...clients, probe]) client.close()
  }
}

/** The next connection that has its answers. */
function freeOf(
  clients: readonly BatchClient[],
  from: number,
): { readonly client: BatchClient; readonly index: number } | undefined {
  for (let step = 0; step < clients.length; step++) {
    const index = (from + step) % clients.length
    const client = clients[index]
    if (client?.isFree === true) return { client, index }
  }
  return undefined
}

/** One rate as batches that are due. */
class Source {
  readonly #batches: readonly { readonly bytes: Buffer; readonly commands: number }[]
  readonly #perSecond: number
  #sent = 0

  constructor({ command, perSecond, together }: Rate, filled: Filled) {
    const commands = Math.max(1, Math.round(together))
    const count = Math.ceil(Math.min(POOL, perSecond * SECONDS) / commands)
    this.#batches = Array.from({ length: count }, (_, at) => ({
      commands,
      bytes: Buffer.concat(
        Array.from({ length: commands }, (_, offset) =>
          // Spread over all that is there, as in a fleet.
          encodeCommand(COMMANDS[command](((at * commands + offset) * 7919) % 10_000_019, filled)),
        ),
      ),
    }))
    this.#perSecond = perSecond / commands
  }

  *due(seconds: number): Generator<{ readonly bytes: Buffer; readonly commands: number }> {
    for (; this.#sent < this.#perSecond * seconds; this.#sent++) {
      const batch = this.#batches[this.#sent % this.#batches.length]
      if (batch !== undefined) yield batch
    }
  }
}
