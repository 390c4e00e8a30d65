import { randomInt } from 'node:crypto'
import { errorCode } from '../../../foundation/errors.ts'
import type { PortChoice } from '../contract.ts'
import { DatapathError } from '../errors.ts'

/** Binds all of an endpoint's addresses on one port, 0 for any; rejects with DATAPATH_PORT_TAKEN. */
export interface BoundPort {
  readonly port: number
  close(): Promise<void>
}

/**
 * Binds a port by the choice given: the very port, any free one, or one of a range at random.
 *
 * @throws DATAPATH_INVALID, DATAPATH_PORT_TAKEN, DATAPATH_PORTS_EXHAUSTED, and what `bind` throws
 */
export async function bindPort<T>(choice: PortChoice, bind: (port: number) => Promise<T>): Promise<T> {
  if (choice === 0) return attempt(anyPort(), bind, 'no free port is free on every address')
  if (typeof choice === 'number') return bind(checkedPort(choice))
  const ports = portsInRandomOrder(checkedPort(choice.from), checkedPort(choice.to), 1)
  return attempt(ports, bind, `no port from ${choice.from} to ${choice.to} is free`)
}

/**
 * As `bindPort`, for an even port and the next higher one.
 *
 * @throws DATAPATH_INVALID, DATAPATH_PORT_TAKEN, DATAPATH_PORTS_EXHAUSTED, and what `bind` throws
 */
export async function bindPortPair<T extends BoundPort>(
  choice: PortChoice,
  bind: (port: number) => Promise<T>,
): Promise<readonly [even: T, odd: T]> {
  const both = async (port: number): Promise<readonly [T, T]> => {
    const first = await bind(port)
    try {
      const second = await bind(first.port ^ 1)
      return first.port < second.port ? [first, second] : [second, first]
    } catch (error) {
      await first.close()
      throw error
    }
  }
  if (choice === 0) return attempt(anyPort(), both, 'no even port with its next is free')
  if (typeof choice === 'number') {
    if (choice % 2 !== 0)
      throw new DatapathError('DATAPATH_INVALID', `port ${choice}: a pair begins at an even port`)
    return both(checkedPort(choice))
  }
  const from = checkedPort(choice.from) + (choice.from % 2)
  const ports = portsInRandomOrder(from, checkedPort(choice.to) - 1, 2)
  return attempt(ports, both, `no even port with its next is free from ${choice.from} to ${choice.to}`)
}

async function attempt<T>(
  ports: Iterable<number>,
  bind: (port: number) => Promise<T>,
  failure: string,
): Promise<T> {
  let cause: unknown
  for (const port of ports) {
    try {
      return await bind(port)
    } catch (error) {
      if (errorCode(error) !== 'DATAPATH_PORT_TAKEN') throw error
      cause = error
    }
  }
  throw new DatapathError('DATAPATH_PORTS_EXHAUSTED', failure, cause)
}

/** The system names a port that is free on the first address; it may be taken on another. */
function* anyPort(): Iterable<number> {
  for (let attempts = 64; attempts > 0; attempts--) yield 0
}

/** All ports of the range once, in an order that outsiders cannot guess (RFC 6056). */
function* portsInRandomOrder(from: number, to: number, step: 1 | 2): Iterable<number> {
  // A shuffled list of which only what was moved is kept: ranges are long, and the first port is free as a rule.
  const moved = new Map<number, number>()
  for (let left = Math.floor((to - from) / step) + 1; left > 0; left--) {
    const at = randomInt(left)
    yield from + step * (moved.get(at) ?? at)
    moved.set(at, moved.get(left - 1) ?? left - 1)
  }
}

function checkedPort(port: number): number {
  if (Number.isInteger(port) && port > 0 && port <= 65_535) return port
  throw new DatapathError('DATAPATH_INVALID', `port ${port}: must be from 1 to 65535`)
}
