import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { describeDatapath } from '../conformance.testkit.ts'
import { NodeDatapath } from './node-datapath.ts'
import type { EngineOptions } from '../control/engine-options.ts'
import { UdpPeer, until } from '../udp-peer.testkit.ts'

describeDatapath({ name: 'engine-node', create: (options) => new NodeDatapath(options) })

describe('engine-node', () => {
  const closing: (() => Promise<void>)[] = []
  const clock = new ManualClock()

  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
    expect(clock.pending).toBe(0)
  })

  async function engine(options: EngineOptions = {}): Promise<NodeDatapath> {
    const datapath = new NodeDatapath({ clock, ...options })
    await datapath.start()
    closing.push(() => datapath.close())
    return datapath
  }

  async function peer(address?: string, port?: number): Promise<UdpPeer> {
    const opened = await UdpPeer.open(address, port)
    closing.push(() => opened.close())
    return opened
  }

  describe('budgets', () => {
    const one = { packetsPerSecond: 1, burst: 1 }

    it.each([
      ['strangers of an endpoint', { strangersPerEndpoint: one }, false, 'stranger'],
      ['strangers of all endpoints', { strangers: one }, false, 'stranger'],
      ['the known of an endpoint', { knownPerEndpoint: one }, true, 'known'],
      ['the known of all endpoints', { known: one }, true, 'known'],
    ] as const)('limit %s and refill with time', async (_, options, deliver, reason) => {
      const datapath = await engine(options)
      let arrived = 0
      const endpoint = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0, deliver }, () => {
        arrived++
      })
      const client = await peer()
      const to = { address: '127.0.0.1', port: endpoint.port }
      for (const text of ['passes', 'dropped']) await client.send(text, to)
      await until(() => datapath.totals().dropped[reason] === 1, 'the drop')
      expect(arrived).toBe(1)
      clock.advance(1000)
      await client.send('passes', to)
      await until(() => arrived === 2, 'the next')
    })
  })

  it('drops and counts what finds the send queue over its bound', async () => {
    const datapath = await engine({ maxSendQueueBytes: -1 })
    const { id } = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {})
    expect(datapath.send(id, await peer(), Buffer.from('x'))).toBe(false)
    expect(datapath.totals().dropped.queue).toBe(1)
  })
})
