import { setImmediate as endOfTurn } from 'node:timers/promises'
import { availableParallelism } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { describeDatapath } from '../conformance.testkit.ts'
import { ALL_THREADS, type Datapath, DROP_REASONS, type Endpoint } from '../contract.ts'
import { UdpPeer, until } from '../udp-peer.testkit.ts'
import type { Addon } from './addon.ts'
import { requireAddon } from './addon.testkit.ts'
import { NativeDatapath, type NativeEngineOptions } from './native-datapath.ts'

const addon = requireAddon()
describeDatapath({ name: 'engine-native', create: (options) => new NativeDatapath(addon, options) })
describeDatapath({
  name: 'engine-native with three threads and a socket for each',
  create: (options) => new NativeDatapath(addon, { ...options, threads: 3 }),
  endpoints: { threads: ALL_THREADS },
})
describeNative()

function describeNative(): void {
  const closing: (() => Promise<void>)[] = []
  const clock = new ManualClock()

  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
    expect(clock.pending).toBe(0)
  })

  async function engine(options: NativeEngineOptions = {}, use: Addon = addon): Promise<NativeDatapath> {
    const datapath = new NativeDatapath(use, options)
    await datapath.start()
    closing.push(() => datapath.close())
    return datapath
  }

  async function peer(): Promise<UdpPeer> {
    const opened = await UdpPeer.open()
    closing.push(() => opened.close())
    return opened
  }

  describe('engine-native', () => {
    it('lives beside others of its kind, whose ids are their own', async () => {
      const [one, two] = [await engine(), await engine({ threads: 2 })]
      const open = async (datapath: Datapath, seen: string[]): Promise<Endpoint> =>
        await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, ({ bytes }) => {
          seen.push(Buffer.from(bytes).toString())
        })
      const [atOne, atTwo]: [string[], string[]] = [[], []]
      const [first, second] = [await open(one, atOne), await open(two, atTwo)]
      expect(first.id).toBe(second.id)
      const client = await peer()
      await client.send('one', { address: '127.0.0.1', port: first.port })
      await client.send('two', { address: '127.0.0.1', port: second.port })
      await until(() => atOne.length === 1 && atTwo.length === 1, 'both')
      await one.close()
      await client.send('still two', { address: '127.0.0.1', port: second.port })
      await until(() => atTwo.length === 2, 'the other')
      expect([atOne, atTwo]).toEqual([['one'], ['two', 'still two']])
      expect([one.totals().threads, two.totals().threads]).toEqual([0, 2])
    })

    describe('with threads "auto"', () => {
      const busyAt = 4 + DROP_REASONS.length + 3 * 8

      /** The addon with threads of which each has worked as long as is said. */
      function feigned(
        workedMs: () => number,
        addThread: Addon['addThread'] = (handle) => addon.addThread(handle),
      ): Addon {
        return {
          ...addon,
          addThread,
          readTotals(handle, into) {
            const threads = addon.readTotals(handle, into)
            into.fill(workedMs() * 1e6, busyAt, busyAt + threads)
            return threads
          },
        }
      }

      it('adds threads while all are busy, up to the cores, and flows go on', async () => {
        let busyMs = 0
        const datapath = await engine(
          { clock, threads: 'auto' },
          feigned(() => busyMs),
        )
        const seen: number[] = []
        const options = { addresses: ['127.0.0.1'], port: 0, threads: ALL_THREADS }
        const [edge, client, origin] = [
          await datapath.openEndpoint(options, () => {}),
          await peer(),
          await peer(),
        ]
        datapath.addFlow({
          kind: 'forward',
          from: { endpoint: edge.id, remote: client },
          to: { endpoint: edge.id, remote: origin },
        })
        for (let second = 0; second < 5 + availableParallelism(); second++) {
          busyMs += second < 3 ? 500 : 1000
          clock.advance(1000)
          await client.send('x', { address: '127.0.0.1', port: edge.port })
          await origin.next()
          seen.push(datapath.totals().threads)
        }
        expect(seen.slice(0, 3)).toEqual([1, 1, 1])
        expect(Math.max(...seen)).toBe(availableParallelism())
        expect(seen).toEqual(seen.toSorted((one, other) => one - other))
      })

      const itWithCores = availableParallelism() > 1 ? it : () => {}
      itWithCores('goes on with those it has when the system gives no more', async () => {
        let attempts = 0
        const emfile = -24
        const addThread: Addon['addThread'] = (handle) =>
          attempts++ === 0 ? addon.addThread(handle) : emfile
        const datapath = await engine(
          { clock, threads: 'auto' },
          feigned(() => clock.nowMs(), addThread),
        )
        expect(() => {
          for (let second = 0; second < 10; second++) clock.advance(1000)
        }).not.toThrow()
        expect(attempts).toBeGreaterThan(1)
        expect(datapath.totals().threads).toBe(1)
      })
    })

    it('keeps trains of one remote together when another cannot be reached', async () => {
      const datapath = await engine()
      const edge = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {})
      const origin = await peer()
      const train = async (address: string): Promise<void> => {
        for (let count = 0; count < 10; count++) {
          datapath.send(edge.id, { address, port: origin.port }, Buffer.alloc(100, count))
        }
        await endOfTurn()
      }
      // From a loopback address there is no way to the outside.
      await train('203.0.113.9')
      expect(datapath.totals().dropped.error).toBe(10)
      const before = datapath.totals().batches?.segments.counts
      await train('127.0.0.1')
      await until(() => origin.received.length === 10, 'all')
      const ofTen = 3
      expect(datapath.totals().batches?.segments.counts[ofTen]).toBe((before?.[ofTen] ?? 0) + 1)
    })

    it('hands over ICMP errors without a type of a connected endpoint that did not ask for more', async () => {
      const datapath = await engine()
      const gone = await peer()
      await gone.close()
      const kinds: unknown[] = []
      const edge = await datapath.openEndpoint(
        { addresses: ['127.0.0.1'], port: 0, remote: gone },
        ({ kind, icmp }) => kinds.push([kind, icmp]),
      )
      for (let sent = 0; sent < 3; sent++) {
        datapath.send(edge.id, gone, Buffer.from('anyone?'))
        await until(() => kinds.length > sent, 'the error')
      }
      expect(kinds).toEqual([
        ['icmp', undefined],
        ['icmp', undefined],
        ['icmp', undefined],
      ])
      expect(datapath.totals().dropped.error).toBe(0)
    })
  })
}
