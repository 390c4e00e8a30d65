import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { NetError } from '../../../mechanisms/net/errors.ts'
import { RemotePorts } from './remote-ports.ts'

const opened = async (port: number): Promise<number> => port

function makePorts(allow: { from: number; to: number }[], random = 0) {
  const clock = new ManualClock()
  return { clock, ports: new RemotePorts({ allow, clock, random: () => random }) }
}

describe('remote ports', () => {
  test('one that is asked for must be allowed, free and available', async () => {
    const { ports } = makePorts([{ from: 6000, to: 6001 }])
    await expect(ports.open('a', 6000, undefined, opened)).resolves.toMatchObject({ port: 6000 })
    await expect(ports.open('b', 6000, undefined, opened)).rejects.toThrow('port already used')
    await expect(ports.open('b', 6002, undefined, opened)).rejects.toThrow('port not allowed')
    await expect(
      ports.open('b', 6001, undefined, () => Promise.reject(new NetError('NET_PORT_TAKEN', 'taken'))),
    ).rejects.toThrow('port unavailable')
    await expect(ports.open('b', 6001, undefined, opened)).resolves.toMatchObject({ port: 6001 })
  })

  test.each([
    'NET_PORT_TAKEN',
    'NET_PORT_FORBIDDEN',
    'NET_ADDRESS_UNAVAILABLE',
    'NET_LISTEN_FAILED',
    'DATAPATH_PORT_TAKEN',
    'DATAPATH_PORT_FORBIDDEN',
    'DATAPATH_ADDRESS_UNAVAILABLE',
    'ENOTFOUND',
  ])('%s makes one unavailable, and for 0 it is passed over', async (code) => {
    const { ports } = makePorts([{ from: 6000, to: 6001 }])
    const open = async (port: number): Promise<number> => {
      if (port === 6000) throw Object.assign(new Error('no'), { code })
      return port
    }
    await expect(ports.open('a', 6000, undefined, open)).rejects.toMatchObject({
      code: 'TUNNEL_PORT',
      message: 'port unavailable',
    })
    await expect(ports.open('a', 0, undefined, open)).resolves.toMatchObject({ port: 6001 })
  })

  test.each([-1, 65_536])('%d is none', async (port) => {
    const { ports } = makePorts([])
    await expect(ports.open('a', port, undefined, opened)).rejects.toThrow('port not allowed')
  })

  test('a token may narrow them', async () => {
    const { ports } = makePorts([])
    const within = [{ from: 7000, to: 7000 }]
    await expect(ports.open('a', 6000, within, opened)).rejects.toThrow('port not allowed')
    await expect(ports.open('a', 0, within, opened)).resolves.toMatchObject({ port: 7000 })
  })

  test('0 finds the last free port of a range', async () => {
    const { ports } = makePorts([{ from: 6000, to: 6009 }], 0.5)
    const found = new Set<number>()
    for (let count = 0; count < 10; count++) {
      found.add((await ports.open(`p${count}`, 0, undefined, opened)).port)
    }
    expect(found.size).toBe(10)
    await expect(ports.open('late', 0, undefined, opened)).rejects.toThrow('no available port')
  })

  test('0 goes on past ports that another program has', async () => {
    const { ports } = makePorts([{ from: 6000, to: 6009 }])
    const open = async (port: number): Promise<number> => {
      if (port < 6005) throw new NetError('NET_PORT_TAKEN', 'taken')
      return port
    }
    await expect(ports.open('a', 0, undefined, open)).resolves.toMatchObject({ port: 6005 })
  })

  test('a name gets its port back within a day, and others get it last', async () => {
    const { ports, clock } = makePorts([{ from: 6000, to: 6001 }])
    expect((await ports.open('a', 0, undefined, opened)).port).toBe(6000)
    ports.release('a', 6000)
    expect((await ports.open('b', 0, undefined, opened)).port).toBe(6001)
    expect((await ports.open('a', 0, undefined, opened)).port).toBe(6000)
    ports.release('b', 6001)
    ports.release('a', 6000)
    clock.advance(25 * 3_600_000)
    ports.release('c', 6001)
    expect((await ports.open('d', 0, undefined, opened)).port).toBe(6000)
  })

  test('two who ask for the same port at once do not both get it', async () => {
    const { ports } = makePorts([])
    const both = await Promise.allSettled([
      ports.open('a', 6000, undefined, opened),
      ports.open('b', 6000, undefined, opened),
    ])
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  test('an error that is no matter of ports is passed on', async () => {
    const { ports } = makePorts([])
    const open = (): Promise<never> => Promise.reject(new TypeError('bug'))
    await expect(ports.open('a', 0, undefined, open)).rejects.toThrow('bug')
    await expect(ports.open('a', 6000, undefined, open)).rejects.toThrow('bug')
  })
})
