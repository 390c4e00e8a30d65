import type { networkInterfaces } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { describeDatapath } from '../conformance.testkit.ts'
import type { Endpoint } from '../contract.ts'
import { NodeDatapath } from './node-datapath.ts'
import type { EngineOptions } from '../control/engine-options.ts'
import { UdpPeer, until } from '../udp-peer.testkit.ts'

describeDatapath('engine-node', () => new NodeDatapath())

describe('engine-node', () => {
  const closing: (() => Promise<void>)[] = []
  const clock = new ManualClock()
  let addresses: string[] = []
  const listInterfaces: typeof networkInterfaces = () => ({
    lo: addresses.map((address) => ({
      address,
      netmask: '',
      mac: '',
      internal: true,
      cidr: null,
      ...(address.includes(':') ? { family: 'IPv6', scopeid: 0 } : { family: 'IPv4' }),
    })),
  })

  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
    expect(clock.pending).toBe(0)
  })

  async function engine(options: EngineOptions = {}): Promise<NodeDatapath> {
    const datapath = new NodeDatapath({ clock, listInterfaces, ...options })
    await datapath.start()
    closing.push(() => datapath.close())
    return datapath
  }

  async function peer(address?: string, port?: number): Promise<UdpPeer> {
    const opened = await UdpPeer.open(address, port)
    closing.push(() => opened.close())
    return opened
  }

  describe('wildcard endpoints', () => {
    it('follow addresses that come and go', async () => {
      addresses = ['127.0.0.1', '::1', 'fe80::1']
      const datapath = await engine({ interfacePollMs: 1000 })
      const endpoint = await wildcard(datapath)
      const bound = (): string[] => endpoint.locals.map(({ address }) => address)
      expect(bound()).toEqual(['127.0.0.1', '::1'])
      const [first] = endpoint.locals
      addresses = ['::1', '127.0.0.5', 'fe80::1']
      clock.advance(999)
      expect(bound()).toEqual(['127.0.0.1', '::1'])
      clock.advance(1)
      await until(() => bound().includes('127.0.0.5'), 'the new address')
      expect(bound()).toEqual(['::1', '127.0.0.5'])
      expect(endpoint.locals.every(({ port }) => port === endpoint.port)).toBe(true)
      addresses = ['127.0.0.1']
      clock.advance(1000)
      await until(() => bound()[0] === '127.0.0.1', 'the first to come back')
      expect(endpoint.locals).toEqual([first])
    })

    it('lead a flow out of another address when its own went, and back', async () => {
      addresses = ['127.0.0.1', '127.0.0.5']
      const datapath = await engine({ interfacePollMs: 1000 })
      const [endpoint, client, origin] = [await wildcard(datapath), await peer('127.0.0.9'), await peer()]
      datapath.addFlow({
        kind: 'forward',
        from: { endpoint: endpoint.id, remote: client },
        to: { endpoint: endpoint.id, remote: origin },
      })
      const leavesFrom = async (): Promise<string> => {
        await client.send('x', { address: '127.0.0.5', port: endpoint.port })
        return (await origin.next()).from.address
      }
      expect(await leavesFrom()).toBe('127.0.0.1')
      addresses = ['127.0.0.5']
      clock.advance(1000)
      await until(() => endpoint.locals.length === 1, 'the address to go')
      expect(await leavesFrom()).toBe('127.0.0.5')
    })

    it('try a port again that another has on a new address', async () => {
      addresses = ['127.0.0.1']
      const datapath = await engine({ interfacePollMs: 1000 })
      const endpoint = await wildcard(datapath)
      const blocker = await UdpPeer.open('127.0.0.5', endpoint.port)
      addresses = ['127.0.0.1', '127.0.0.5', '203.0.113.9']
      clock.advance(1000)
      await blocker.send('x', blocker)
      expect(endpoint.locals.length).toBe(1)
      await blocker.close()
      clock.advance(1000)
      await until(() => endpoint.locals.length === 2, 'the address')
    })

    it('stay as they are while the system does not list its interfaces', async () => {
      addresses = ['127.0.0.1']
      let isFailing = false
      const lister: typeof networkInterfaces = () => {
        if (isFailing) throw new Error('EMFILE')
        return listInterfaces()
      }
      const datapath = await engine({ interfacePollMs: 1000, listInterfaces: lister })
      const endpoint = await wildcard(datapath)
      isFailing = true
      addresses = ['127.0.0.5']
      clock.advance(1000)
      expect(endpoint.locals).toMatchObject([{ address: '127.0.0.1' }])
      isFailing = false
      await until(() => {
        clock.advance(1000)
        return endpoint.locals[0]?.address === '127.0.0.5'
      }, 'the new address')
    })

    it('leave no socket when they are closed while they follow', async () => {
      addresses = ['127.0.0.1']
      const datapath = await engine({ interfacePollMs: 1000 })
      const endpoint = await wildcard(datapath)
      addresses = ['127.0.0.1', '127.0.0.5', '127.0.0.6']
      clock.advance(1000)
      await datapath.close()
      expect(process.getActiveResourcesInfo()).not.toContain('UDPWRAP')
      for (const address of addresses) await (await UdpPeer.open(address, endpoint.port)).close()
    })

    it('are refused where the machine has no address', async () => {
      addresses = ['fe80::1']
      await expect(wildcard(await engine())).rejects.toMatchObject({ code: 'DATAPATH_ADDRESS_UNAVAILABLE' })
    })
  })

  it('goes on sending, and counts, while the system refuses', async () => {
    const datapath = await engine()
    const [edge, client] = [
      await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {}),
      await peer(),
    ]
    // From a loopback address there is no way to the outside.
    const flow = datapath.addFlow({
      kind: 'forward',
      from: { endpoint: edge.id, remote: client },
      to: { endpoint: edge.id, remote: { address: '203.0.113.9', port: 9 } },
    })
    for (let sent = 0; sent < 3; sent++) await client.send('x', { address: '127.0.0.1', port: edge.port })
    await until(() => datapath.totals().dropped.error === 3, 'three errors')
    datapath.aim(flow, client)
    for (let sent = 1; sent < 40; sent++) {
      await client.send('y', { address: '127.0.0.1', port: edge.port })
      await until(() => client.received.length === sent, 'the datagram')
    }
    expect(datapath.totals().forwarded).toEqual({ packets: 39, bytes: 39 })
  })

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

    it('forward a STUN request whose copy is over the budget', async () => {
      const datapath = await engine({ known: one })
      let copies = 0
      const edge = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {
        copies++
      })
      const [client, origin] = [await peer(), await peer()]
      datapath.addFlow({
        kind: 'forward',
        from: { endpoint: edge.id, remote: client },
        to: { endpoint: edge.id, remote: origin },
        copyStunRequests: true,
      })
      for (let sent = 0; sent < 3; sent++) {
        await client.send(Buffer.from([0, 1]), { address: '127.0.0.1', port: edge.port })
        await origin.next()
      }
      expect(copies).toBe(1)
      expect(datapath.totals().dropped.known).toBe(2)
    })
  })

  it('drops and counts what finds the send queue over its bound', async () => {
    const datapath = await engine({ maxSendQueueBytes: -1 })
    const { id } = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {})
    expect(datapath.send(id, await peer(), Buffer.from('x'))).toBe(false)
    expect(datapath.totals().dropped.queue).toBe(1)
  })

  it('goes on when a receiver throws', async () => {
    const errors: unknown[] = []
    const datapath = await engine({ onReceiverError: (error) => errors.push(error) })
    const endpoint = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, () => {
      throw new Error('a bug')
    })
    const client = await peer()
    for (let sent = 0; sent < 2; sent++) await client.send('x', { address: '127.0.0.1', port: endpoint.port })
    await until(() => errors.length === 2, 'both errors')
  })
})

function wildcard(datapath: NodeDatapath): Promise<Endpoint> {
  return datapath.openEndpoint({ addresses: ['0.0.0.0', '::'], port: 0 }, () => {})
}
