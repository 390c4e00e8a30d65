import { RedisServer } from '../redis-server.ts'
import { describeMachine } from '../machine.ts'
import { closedLoop, BatchClient } from './closed-loop.ts'
import { COMMAND_NAMES, type CommandName, COMMANDS, type Filled } from './commands.ts'
import { costOf, sum } from './cost.ts'
import { fill } from './fill.ts'
import type { CommandCost, Measured } from './measured.ts'
import { runMix } from './mix.ts'
import type { Rate } from './rates.ts'
import { encodeCommand } from './resp.ts'

/** A fleet's data, of whatever size it will be. */
export function filledWith(sessions: number, perStream: number): Filled {
  return { origins: 5000, streams: Math.ceil(sessions / perStream), sessions, gateways: 200 }
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
export async function measure(
  filled: Filled,
  rates: readonly Rate[],
  say: (line: string) => void,
): Promise<Measured> {
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
    const costs = {
      commands: commands as Record<CommandName, CommandCost>,
      writeUs,
      deliveryUs,
      mixFactor: 1,
    }
    const { sent, ...mix } = await runMix(server, rates, filled)
    const expected = sum(sent, (rate) => costOf(rate, costs).cores)
    say(
      `a mix: ${mix.perSecond.toFixed(0)}/s, ${mix.cpuSeconds.toFixed(3)} s, ${expected.toFixed(3)} s by its parts`,
    )
    return {
      date: new Date().toISOString().slice(0, 10),
      machine: machineText(),
      redis: describeMachine().redis ?? 'unknown',
      filled,
      memory,
      ...costs,
      mix,
      mixFactor: mix.cpuSeconds / expected,
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
