import { describe, expect, test, vi } from 'vitest'
import { StreamDuplex } from '../../../mechanisms/streams/index.ts'
import { memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { privilegeKey, type NewVisitorConn } from '../../../protocols/frp/index.ts'
import { MessageChannel } from '../message-channel.ts'
import { Talk } from './frp-client.testkit.ts'
import { login, start } from './loopback.testkit.ts'
import type { Backend } from './backend.ts'
import { SecretProxies, serveVisitor } from './secret-proxies.ts'

const form = { version: 'v1', codec: 'json' } as const
const backend: Backend = {
  proxyName: 's',
  serve: () => undefined,
  connect: () => Promise.reject(new Error('no')),
}

function visitor(fields: Partial<NewVisitorConn> = {}): NewVisitorConn {
  return {
    run_id: '',
    proxy_name: 's',
    sign_key: privilegeKey('key', 5),
    timestamp: 5,
    use_encryption: false,
    use_compression: false,
    ...fields,
  }
}

describe('secret proxies', () => {
  test('let in who has the key and is named, or all', () => {
    const proxies = new SecretProxies()
    const proxy = { type: 'stcp', secretKey: 'key', allowUsers: ['a'], form, backend } as const
    const remove = proxies.add('s', proxy)
    expect(proxies.check(visitor(), 'a')).toBe(proxy)
    expect(() => proxies.check(visitor(), 'b')).toThrow('user [b] not allowed')
    expect(() => proxies.check(visitor({ timestamp: 6 }), 'a')).toThrow('auth failed')
    proxies.add('all', { ...proxy, allowUsers: ['*'] })
    expect(proxies.check(visitor({ proxy_name: 'all' }), 'b').allowUsers).toEqual(['*'])
    remove()
    expect(() => proxies.check(visitor(), 'a')).toThrow("custom listener for [s] doesn't exist")
  })

  test('one that was replaced is not taken out by the one before', () => {
    const proxies = new SecretProxies()
    const proxy = { type: 'stcp', secretKey: 'key', allowUsers: ['*'], form, backend } as const
    const removeFirst = proxies.add('s', proxy)
    const second = { ...proxy }
    proxies.add('s', second)
    removeFirst()
    expect(proxies.check(visitor(), '')).toBe(second)
  })

  test.each([true, false])('tell their backend whether the visitor stays half-open: %s', (halfClose) => {
    const serve = vi.fn<Backend['serve']>()
    const proxy = {
      type: 'stcp',
      secretKey: 'key',
      allowUsers: [],
      form,
      backend: { ...backend, serve },
    } as const
    const address = { remoteAddress: '192.0.2.1', remotePort: 1 }
    const [stream] = memoryStreamPair()
    serveVisitor(proxy, visitor(), { ...form, halfClose }, stream, address)
    expect(serve).toHaveBeenCalledWith(stream, address, halfClose)
  })

  test('pass bytes of a stcp visitor of another wire version as they are', async () => {
    const served = await start()
    const client = await login(served, { version: 'v2' })
    client.serve((stream) => {
      const duplex = new StreamDuplex(stream)
      duplex.on('data', (bytes: Buffer) => duplex.end(bytes))
    })
    await client.register({ proxy_name: 's', proxy_type: 'stcp', sk: 'key' })
    const stream = await (await login(served)).visit('s', 'key')
    if (typeof stream === 'string') throw new Error(stream)
    const duplex = new StreamDuplex(stream)
    duplex.end(Buffer.from([0x75, 0, 255]))
    const parts: Buffer[] = []
    for await (const bytes of duplex) parts.push(bytes as Buffer)
    expect(Buffer.concat(parts)).toEqual(Buffer.from([0x75, 0, 255]))
  })

  test.each([
    ['v1', 'json', 'v2', 'binary-v1'],
    ['v2', 'binary-v1', 'v1', 'json'],
    ['v2', 'json', 'v2', 'binary-v1'],
    ['v1', 'json', 'v1', 'json'],
  ] as const)(
    'translate datagrams of a sudp visitor (%s %s to %s %s)',
    async (version, udpPacketCodec, ownVersion, ownCodec) => {
      const served = await start()
      const client = await login(served, { version: ownVersion, udpPacketCodec: ownCodec })
      const seen: string[] = []
      client.serve((stream) => {
        const channel = new MessageChannel(stream, ownVersion, { udpPacketCodec: ownCodec })
        channel.onMessage = (message) => {
          seen.push(message.name)
          if (message.name === 'UDPPacket') channel.sendDatagram(message.body)
        }
        channel.send('Ping', {})
        channel.resume()
      })
      await client.register({ proxy_name: 's', proxy_type: 'sudp', sk: 'key' })
      const other = await login(served, { version, udpPacketCodec })
      const stream = await other.visit('s', 'key')
      if (typeof stream === 'string') throw new Error(stream)
      const talk = new Talk(new MessageChannel(stream, version, { udpPacketCodec }))
      talk.channel.resume()
      await talk.next('Ping')
      const remote = { IP: '192.0.2.1', Port: 7, Zone: '' }
      talk.channel.sendDatagram({ content: Buffer.from('hello'), remote })
      const packet = await talk.next('UDPPacket')
      expect(packet.remote).toEqual(remote)
      expect(seen.at(-1)).toBe('UDPPacket')
    },
  )
})
