import fc from 'fast-check'
import { expect, it } from 'vitest'
import { DatapathError } from '../errors.ts'
import { bindPort, bindPortPair } from './port-binder.ts'

const range = fc
  .tuple(fc.integer({ min: 1, max: 65_535 }), fc.nat({ max: 300 }))
  .map(([from, more]) => ({ from, to: Math.min(65_535, from + more) }))

it('tries each port of a range once, and finds the only one that is free', async () => {
  await fc.assert(
    fc.asyncProperty(range, fc.nat(), async ({ from, to }, number) => {
      const free = from + (number % (to - from + 1))
      const tried: number[] = []
      const bind = async (port: number): Promise<number> => await take(port, tried, (one) => one === free)
      expect(await bindPort({ from, to }, bind)).toBe(free)
      expect(new Set(tried).size).toBe(tried.length)
      expect(tried.every((port) => port >= from && port <= to)).toBe(true)
    }),
  )
})

it('has tried all ports of a range when it gives up', async () => {
  await fc.assert(
    fc.asyncProperty(range, async ({ from, to }) => {
      const tried: number[] = []
      const bind = async (port: number): Promise<number> => await take(port, tried, () => false)
      await expect(bindPort({ from, to }, bind)).rejects.toMatchObject({ code: 'DATAPATH_PORTS_EXHAUSTED' })
      expect(tried.sort((one, other) => one - other)).toEqual(
        Array.from({ length: to - from + 1 }, (_, index) => from + index),
      )
    }),
  )
})

it('tries the even ports of a range whose next one is in it too', async () => {
  await fc.assert(
    fc.asyncProperty(range, async ({ from, to }) => {
      const tried: number[] = []
      const bind = async (port: number): Promise<Port> =>
        new Port(await take(port, tried, (one) => one % 2 === 0))
      await expect(bindPortPair({ from, to }, bind)).rejects.toMatchObject({
        code: 'DATAPATH_PORTS_EXHAUSTED',
      })
      const pairs = tried.filter((port) => port % 2 === 0)
      expect(tried).toEqual(pairs.flatMap((port) => [port, port + 1]))
      expect(new Set(pairs)).toEqual(
        new Set(
          Array.from({ length: 400 }, (_, index) => from + index).filter(
            (port) => port % 2 === 0 && port < to,
          ),
        ),
      )
    }),
  )
})

it('begins anywhere in a range', async () => {
  const first = new Set<number>()
  for (let count = 0; count < 500; count++)
    first.add(await bindPort({ from: 10, to: 19 }, async (port) => await Promise.resolve(port)))
  expect(first.size).toBe(10)
})

class Port {
  readonly port: number

  constructor(port: number) {
    this.port = port
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

async function take(port: number, tried: number[], isFree: (port: number) => boolean): Promise<number> {
  tried.push(port)
  if (!isFree(port)) throw new DatapathError('DATAPATH_PORT_TAKEN', `${port}`)
  return await Promise.resolve(port)
}
