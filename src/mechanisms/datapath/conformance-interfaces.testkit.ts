import type { networkInterfaces } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { DatapathFixture, type Subject } from './conformance-setup.testkit.ts'
import type { Endpoint } from './contract.ts'
import { UdpPeer, until } from './udp-peer.testkit.ts'

/** Wildcard endpoints on a machine whose addresses come and go. */
export function describeInterfaces(subject: Subject): void {
  const clock = new ManualClock()
  let addresses: readonly string[] = []
  let isFailing = false
  const listInterfaces = (): ReturnType<typeof networkInterfaces> => {
    if (isFailing) throw new Error('EMFILE')
    return interfaceList(addresses)
  }

  // Registered first, so that it looks when the fixture has closed the engine.
  afterEach(() => {
    expect(clock.pending).toBe(0)
  })

  const fixture = new DatapathFixture(subject, { clock, listInterfaces, interfacePollMs: 1000 })

  beforeEach(() => {
    isFailing = false
  })

  const wildcard = async (): Promise<Endpoint> => await fixture.open({ addresses: ['0.0.0.0', '::'] })

  describe('wildcard endpoints', () => {
    it('follow addresses that come and go', async () => {
      addresses = ['127.0.0.1', '::1', 'fe80::1']
      const endpoint = await wildcard()
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
      const { engine } = fixture
      const [endpoint, client, origin] = [
        await wildcard(),
        await fixture.peer('127.0.0.9'),
        await fixture.peer(),
      ]
      engine.addFlow({
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
      addresses = ['127.0.0.1', '127.0.0.5']
      clock.advance(1000)
      await until(() => endpoint.locals.length === 2, 'the address to come back')
      expect(await leavesFrom()).toBe('127.0.0.5')
    })

    it('drop and count what would leave from an address that went, and still hand over STUN requests', async () => {
      addresses = ['127.0.0.1', '127.0.0.5']
      const { engine } = fixture
      const [endpoint, client, origin] = [await wildcard(), await fixture.peer(), await fixture.peer()]
      const gone = endpoint.locals.find(({ address }) => address === '127.0.0.5')?.local as number
      const flow = engine.addFlow({
        kind: 'forward',
        from: { endpoint: endpoint.id, remote: client },
        to: { endpoint: endpoint.id, remote: origin, local: gone },
        copyStunRequests: true,
      })
      addresses = ['127.0.0.1']
      clock.advance(1000)
      await until(() => endpoint.locals.length === 1, 'the address to go')
      expect(engine.send(endpoint.id, origin, Buffer.from('x'), { local: gone })).toBe(false)
      expect(engine.totals().dropped.error).toBe(1)
      const request = Buffer.from([0, 1, 2, 3])
      await client.send(request, { address: '127.0.0.1', port: endpoint.port })
      expect(await fixture.nextArrival()).toMatchObject({ flow, text: request.toString('latin1') })
      expect(fixture.counters(flow)).toMatchObject({ packets: 0, drops: 1 })
      expect(engine.totals().dropped.error).toBe(2)
      addresses = ['127.0.0.5', '127.0.0.1']
      clock.advance(1000)
      await until(() => endpoint.locals.length === 2, 'the address to come back')
      await client.send('through', { address: '127.0.0.1', port: endpoint.port })
      expect(await origin.next()).toMatchObject({ text: 'through', from: { address: '127.0.0.5' } })
    })

    it('keep the flows of an address that goes and comes back', async () => {
      addresses = ['127.0.0.1', '127.0.0.5']
      const { engine } = fixture
      const endpoint = await fixture.open({ addresses: ['0.0.0.0'], separateLocals: true })
      const client = await fixture.peer()
      const remote = { endpoint: endpoint.id, remote: client }
      const second = endpoint.locals.find(({ address }) => address === '127.0.0.5')?.local as number
      const flow = engine.addFlow({ kind: 'deliver', from: { ...remote, local: second } })
      addresses = ['127.0.0.1']
      clock.advance(1000)
      await until(() => endpoint.locals.length === 1, 'the address to go')
      // One may be named while it is away.
      const match = { offset: 0, value: 0x61626364 }
      const matching = engine.addFlow({ kind: 'deliver', from: { ...remote, local: second, match } })
      await client.send('abcd', { address: '127.0.0.1', port: endpoint.port })
      expect(await fixture.nextArrival()).toMatchObject({ flow: 0 })
      addresses = ['127.0.0.7', '127.0.0.5']
      clock.advance(1000)
      await until(() => endpoint.locals.length === 2, 'the address to come back')
      for (const [text, id] of [
        ['abcd', matching],
        ['other', flow],
      ] as const) {
        await client.send(text, { address: '127.0.0.5', port: endpoint.port })
        expect(await fixture.nextArrival()).toMatchObject({ flow: id, local: second })
      }
      await client.send('other', { address: '127.0.0.7', port: endpoint.port })
      expect(await fixture.nextArrival()).toMatchObject({ flow: 0 })
    })

    it('try a port again that another has on a new address', async () => {
      addresses = ['127.0.0.1']
      const endpoint = await wildcard()
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
      const endpoint = await wildcard()
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
      const endpoint = await wildcard()
      addresses = ['127.0.0.1', '127.0.0.5', '127.0.0.6']
      clock.advance(1000)
      await fixture.engine.close()
      expect(process.getActiveResourcesInfo()).not.toContain('UDPWRAP')
      for (const address of addresses) await (await UdpPeer.open(address, endpoint.port)).close()
    })

    it('are refused where the machine has no address', async () => {
      addresses = ['fe80::1']
      await expect(wildcard()).rejects.toMatchObject({ code: 'DATAPATH_ADDRESS_UNAVAILABLE' })
    })
  })
}

function interfaceList(addresses: readonly string[]): ReturnType<typeof networkInterfaces> {
  return {
    lo: addresses.map((address) => ({
      ...{ address, netmask: '', mac: '', internal: true, cidr: null },
      ...(address.includes(':') ? { family: 'IPv6', scopeid: 0 } : { family: 'IPv4' }),
    })),
  }
}
