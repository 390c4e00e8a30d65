import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { StunAttribute } from '../../protocols/stun/index.ts'
import { encodeEvenPort } from '../../protocols/turn/index.ts'
import { admitAll, StaticUsers, TurnServer } from './index.ts'
import { TestTurnClient } from './turn-client.testkit.ts'

const closers: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function start(): Promise<TurnServer> {
  const server = new TurnServer({
    listeners: [
      {
        name: 'udp',
        transport: 'udp',
        listen: { host: '127.0.0.1', port: 0 },
        relays: [{ address: '127.0.0.1' }],
        peers: admitAll,
      },
    ],
    credentials: new StaticUsers([{ username: 'alice', password: 'wonderland' }]),
    engine: 'native',
    threads: 3,
  })
  closers.push(() => server.close())
  await server.start()
  return server
}

async function join(server: TurnServer): Promise<TestTurnClient> {
  const port = server.ports.get('udp') ?? 0
  const client = await TestTurnClient.open({ port, username: 'alice', password: 'wonderland' })
  closers.push(() => client[Symbol.asyncDispose]())
  return client
}

// The system spreads clients over three sockets by their ports: of twelve, all on one is one in 177,000.
describe('a listener with a socket for each of three threads', () => {
  it('serves clients wherever their datagrams arrive', async () => {
    const server = await start()
    const peer = createSocket('udp4', (bytes, { address, port }) => peer.send(bytes, port, address))
    peer.bind(0, '127.0.0.1')
    await once(peer, 'listening')
    closers.push(async () => {
      peer.close()
      await once(peer, 'close')
    })
    for (let i = 0; i < 12; i++) {
      const client = await join(server)
      await client.allocate()
      const to = { address: '127.0.0.1', port: peer.address().port }
      await client.permit(to)
      await client.echo(to, `indication ${i}`)
      await client.bind(to)
      await client.echo(to, `channel ${i}`)
    }
    expect(server.allocationCount).toBe(12)
  })

  it('redeems reservations whichever socket asks for them', async () => {
    const server = await start()
    for (let i = 0; i < 12; i++) {
      const first = await join(server)
      const even = { type: StunAttribute.evenPort, value: encodeEvenPort(true) }
      const { relayed, reservationToken } = await first.allocate([even])
      const second = await join(server)
      const token = { type: StunAttribute.reservationToken, value: reservationToken ?? new Uint8Array(8) }
      expect((await second.allocate([token])).relayed.port).toBe(relayed.port + 1)
    }
  })
})
