import { RedisServer } from '../redis-server.ts'
import { describeMachine } from '../machine.ts'
import { closedLoop, BatchClient } from './closed-loop.ts'
import { COMMAND_NAMES, type CommandName, COMMANDS, type Filled } from './commands.ts'
import { fill, type MemoryCosts } from './fill.ts'
import { encodeCommand } from './resp.ts'

/** What a redis-server on a machine takes. */
export interface Measured {
  readonly date: string
  readonly machine: string
  readonly redis: string
  readonly filled: Filled
  readonly memory: MemoryCosts
  /** Of a command among others in one write. */
  readonly commands: Readonly<Record<CommandName, CommandCost>>
  /** CPU time for a write of its own: what comes on top for each batch, however long. */
  readonly writeUs: number
  /** CPU time for one more subscriber of a channel when something is published there. */
  readonly deliveryUs: number
}

export interface CommandCost {
  readonly cpuUs: number
  readonly requestBytes: number
  readonly replyBytes: number
}

/** A fleet with so many sessions, two of each stream. */
export function filledWith(sessions: number): Filled {
  return { origins: 5000, streams: sessions / 2, sessions, gateways: 200 }
}

const BATCH = 32
const CONNECTIONS = 8
/** What else the machine does can only add. */
const REPEATS = 3
/** Those that take long each are measured with fewer. */
const COUNTS: Readonly<Partial<Record<CommandName, number>>> = {
  listGet: 1024,
  fleetRenew: 2048,
  publish: 2048,
  listChange: 256,
}

/** Some ten seconds. */
export async function measure(filled: Filled, say: (line: string) => void): Promise<Measured> {
  const server = await RedisServer.start()
  try {
    say(`redis-server on port ${server.port}: filling`)
    const memory = await fill(server, filled)
    const run = (name: CommandName, batch: number, commands: number, first = 0): Promise<CommandCost> => {
      const of = COMMANDS[name]
      return closedLoop(server, (index) => encodeCommand(of(first + index, filled)), {
        commands,
        batch,
        connections: CONNECTIONS,
      })
    }
    const commands: Partial<Record<CommandName, CommandCost>> = {}
    for (const name of COMMAND_NAMES) {
      const costs: CommandCost[] = []
      const count = COUNTS[name] ?? 16_384
      // Each with others, as what is new is not new again.
      for (let repeat = 0; repeat < REPEATS; repeat++) {
        costs.push(await run(name, BATCH, count, repeat * count))
      }
      const { cpuUs, requestBytes, replyBytes } = least(costs)
      commands[name] = { cpuUs, requestBytes, replyBytes }
      say(`${name}: ${cpuUs.toFixed(2)} us, ${requestBytes.toFixed(0)} B in, ${replyBytes.toFixed(0)} B out`)
    }
    const alone = least([await run('expire', 1, 16_384), await run('expire', 1, 16_384)])
    const writeUs = ((alone.cpuUs - (commands.expire?.cpuUs ?? 0)) * BATCH) / (BATCH - 1)
    say(`a write of its own: ${writeUs.toFixed(2)} us`)
    const deliveryUs = await deliveryCost(server, filled, commands.publish?.cpuUs ?? 0)
    say(`a delivery: ${deliveryUs.toFixed(2)} us`)
    return {
      date: new Date().toISOString().slice(0, 10),
      machine: machineText(),
      redis: describeMachine().redis ?? 'unknown',
      filled,
      memory,
      commands: commands as Record<CommandName, CommandCost>,
      writeUs,
      deliveryUs,
    }
  } finally {
    await server.stop()
  }
}

function least(costs: readonly CommandCost[]): CommandCost {
  return costs.reduce((best, cost) => (cost.cpuUs < best.cpuUs ? cost : best))
}

async function deliveryCost(server: RedisServer, filled: Filled, withoutUs: number): Promise<number> {
  const subscribers = await Promise.all(Array.from({ length: 200 }, () => BatchClient.open(server.port)))
  try {
    const subscribe = encodeCommand(['SUBSCRIBE', 'sluice-bus'])
    await Promise.all(subscribers.map((subscriber) => subscriber.send(subscribe, 1)))
    const { cpuUs } = await closedLoop(server, (index) => encodeCommand(COMMANDS.publish(index, filled)), {
      commands: 2048,
      batch: 1,
      connections: 1,
    })
    return (cpuUs - withoutUs) / subscribers.length
  } finally {
    for (const subscriber of subscribers) subscriber.close()
  }
}

function machineText(): string {
  const { cpus, cpuModel, memoryBytes, kernel, node } = describeMachine()
  return `${cpus} × ${cpuModel}, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, ${kernel}, Node ${node}`
}
