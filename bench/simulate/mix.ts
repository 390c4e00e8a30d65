import type { RedisServer } from '../redis-server.ts'
import { BatchClient } from './closed-loop.ts'
import { COMMANDS, type Filled } from './commands.ts'
import { seededRandom } from './random.ts'
import type { Rate } from './rates.ts'
import { encodeCommand } from './resp.ts'

/** What a real server made of all rates at once, as fast as it could. */
export interface MixResult {
  readonly commands: number
  /** In turns, as they come in a fleet. */
  readonly perSecond: number
  /** CPU time of the server. */
  readonly cpuSeconds: number
}

const CONNECTIONS = 64
const WRITES = 60_000

interface Batch {
  readonly rate: Rate
  readonly bytes: Buffer
  readonly commands: number
}

/** Sends batches of all rates, each as often as it is due among the others, from many connections. */
export async function runMix(
  server: RedisServer,
  rates: readonly Rate[],
  filled: Filled,
): Promise<MixResult & { readonly sent: readonly Rate[] }> {
  const batches = batchesOf(rates, filled)
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => BatchClient.open(server.port)))
  let next = 0
  const work = async (client: BatchClient): Promise<void> => {
    for (let batch = batches[next++]; batch !== undefined; batch = batches[next++]) {
      await client.send(batch.bytes, batch.commands)
    }
  }
  const [cpuBefore, startMs] = [server.cpuSeconds(), performance.now()]
  try {
    await Promise.all(clients.map(work))
  } finally {
    for (const client of clients) client.close()
  }
  const seconds = (performance.now() - startMs) / 1000
  const commands = batches.reduce((total, batch) => total + batch.commands, 0)
  return {
    commands,
    perSecond: commands / seconds,
    cpuSeconds: server.cpuSeconds() - cpuBefore,
    // Counted rather than taken from the rates, as they were drawn.
    sent: batches.map(({ rate, commands }) => ({ ...rate, perSecond: commands, together: commands })),
  }
}

function batchesOf(rates: readonly Rate[], filled: Filled): readonly Batch[] {
  const random = seededRandom(8)
  const sizes = rates.map(({ together }) => Math.max(1, Math.round(together)))
  const weights = rates.map(({ perSecond }, at) => perSecond / (sizes[at] ?? 1))
  const all = weights.reduce((total, weight) => total + weight, 0)
  const counts = rates.map(() => 0)
  return Array.from({ length: WRITES }, () => {
    let left = random() * all
    let at = 0
    while (at < rates.length - 1 && left >= (weights[at] ?? 0)) left -= weights[at++] ?? 0
    const rate = rates[at]
    if (rate === undefined) throw new Error('no rates')
    const commands = sizes[at] ?? 1
    const first = counts[at] ?? 0
    counts[at] = first + commands
    // Spread over all that is there.
    const bytes = Array.from({ length: commands }, (_, offset) =>
      encodeCommand(COMMANDS[rate.command](((first + offset) * 7919) % 10_000_019, filled)),
    )
    return { rate, commands, bytes: Buffer.concat(bytes) }
  })
}
