import { afterEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import fc from 'fast-check'
import type { ByteStream } from '../../foundation/byte-stream.ts'
import { memoryStreamPair } from '../../mechanisms/streams/memory-stream.testkit.ts'
import {
  cfbCodec,
  cfbKey,
  encodeClientHello,
  encodeMessage,
  type FrpMessage,
  helloFrame,
  type UdpPacket,
} from '../../protocols/frp/index.ts'
import { MessageChannel } from './message-channel.ts'

const open: ByteStream[] = []
afterEach(() => {
  for (const stream of open.splice(0)) stream.destroy()
})

/** A channel, the stream at its other end, and what the channel told. */
function channelOf(version: 'v1' | 'v2' = 'v1', options: Parameters<typeof memoryStreamPair>[0] = {}) {
  const [near, far] = memoryStreamPair(options)
  open.push(near, far)
  const channel = new MessageChannel(near, version)
  const told: FrpMessage[] = []
  const closes: (Error | undefined)[] = []
  channel.onMessage = (message) => void told.push(message)
  channel.onClose = (error) => void closes.push(error)
  return { channel, near, far, told, closes }
}

function read(stream: ByteStream): { bytes: () => Buffer; pieces: number[]; closes: (Error | undefined)[] } {
  const chunks: Buffer[] = []
  const closes: (Error | undefined)[] = []
  stream.attach({
    onBytes: (bytes) => chunks.push(Buffer.from(bytes)) > 0,
    onEnd: () => undefined,
    onDrain: () => undefined,
    onClose: (error) => void closes.push(error),
  })
  stream.resume()
  return {
    bytes: () => Buffer.concat(chunks),
    get pieces() {
      return chunks.map((chunk) => chunk.length)
    },
    closes,
  }
}

const ping = encodeMessage('v1', 'Ping', { timestamp: 5 })
const packet: UdpPacket = { content: Buffer.alloc(1000, 7), remote: { IP: '1.2.3.4', Port: 5, Zone: '' } }

describe('MessageChannel', () => {
  it('tells nothing before it is resumed, then everything, however it is cut', async () => {
    const { channel, far, told } = channelOf('v1', { chunkBytes: 3 })
    far.write(Buffer.concat([ping, ping]))
    await settle()
    expect(told).toEqual([])
    channel.resume()
    await eventually(() => expect(told.map(({ name }) => name)).toEqual(['Ping', 'Ping']))
  })

  it('a pause within a message holds back those that came with it', async () => {
    const { channel, far, told } = channelOf()
    channel.onMessage = (message) => {
      told.push(message)
      channel.pause()
    }
    channel.resume()
    far.write(Buffer.concat([ping, ping, ping]))
    await settle()
    expect(told).toHaveLength(1)
    channel.resume()
    expect(told).toHaveLength(2)
  })

  it('secured within a message, it decodes what came behind it in the same piece', async () => {
    const codecs = [1, 2].map((iv) => cfbCodec(cfbKey('secret'), new Uint8Array(16).fill(iv)))
    const { channel, far, told } = channelOf()
    channel.onMessage = (message) => {
      told.push(message)
      if (message.name === 'LoginResp') channel.secure(codecs[0] ?? fail())
    }
    channel.resume()
    const peer = codecs[1] ?? fail()
    far.write(Buffer.concat([encodeMessage('v1', 'LoginResp', { run_id: 'r' }), peer.encode(ping)]))
    await eventually(() => expect(told.map(({ name }) => name)).toEqual(['LoginResp', 'Ping']))
    const answer = read(far)
    channel.send('Pong', {})
    await eventually(() => expect(answer.bytes().length).toBeGreaterThan(16))
    expect(Buffer.from(peer.decode(answer.bytes()))).toEqual(encodeMessage('v1', 'Pong', {}))
  })

  it('left within a message, it puts back what came behind it and tells nothing more', async () => {
    const { channel, near, far, told, closes } = channelOf()
    channel.onMessage = (message) => {
      told.push(message)
      channel.detach()
    }
    channel.resume()
    far.write(
      Buffer.concat([encodeMessage('v1', 'StartWorkConn', { proxy_name: 'p' }), Buffer.from('hello')]),
    )
    await settle()
    const rest = read(near)
    await eventually(() => expect(rest.bytes().toString()).toBe('hello'))
    expect(told).toHaveLength(1)
    near.destroy()
    await settle()
    expect(closes).toEqual([])
  })

  it.each([1, 2, 7, 9, 65_536])(
    'reads a hello before the first message in pieces of %i',
    async (chunkBytes) => {
      const { channel, far, told } = channelOf('v2', { chunkBytes })
      const payload = encodeClientHello({
        transport: 'tcp',
        tls: true,
        tcpMux: true,
        codecs: ['json'],
        algorithms: ['aes-256-gcm'],
        clientRandom: new Uint8Array(32),
        udpPacketCodecs: [],
      })
      const hellos: Buffer[] = []
      channel.expectHello('client', (hello) => void hellos.push(hello))
      channel.resume()
      far.write(Buffer.concat([helloFrame('client', payload), encodeMessage('v2', 'Login', { user: 'u' })]))
      await eventually(() => expect(told.map(({ name }) => name)).toEqual(['Login']))
      expect(hellos).toEqual([payload])
    },
  )

  it.each([1, 65_536])('needs no hello where a message comes first, in pieces of %i', async (chunkBytes) => {
    const { channel, far, told } = channelOf('v2', { chunkBytes })
    channel.expectHello('client', fail)
    channel.resume()
    far.write(encodeMessage('v2', 'NewWorkConn', { run_id: 'r' }))
    await eventually(() => expect(told.map(({ name }) => name)).toEqual(['NewWorkConn']))
  })

  it('ends with a reason at what is no message, and tells nothing after it', async () => {
    const { channel, far, told, closes } = channelOf()
    const peer = read(far)
    channel.resume()
    far.write(Buffer.concat([ping, Buffer.from('GET / HTTP/1.1\r\n\r\n'), ping]))
    await eventually(() => expect(closes).toHaveLength(1))
    expect(told).toHaveLength(1)
    expect(closes[0]).toMatchObject({ code: 'TUNNEL_PROTOCOL', cause: { code: 'FRP_MESSAGE_TYPE' } })
    expect(channel.isOver).toBe(true)
    await eventually(() => expect(peer.closes).toHaveLength(1))
  })

  it('takes the end of the peer for the end of all', async () => {
    const { channel, far, closes } = channelOf()
    channel.resume()
    far.end()
    await eventually(() => expect(closes).toEqual([undefined]))
  })

  it('destroyed within a message, it tells none of those that came with it', async () => {
    const { channel, far, told, closes } = channelOf()
    channel.onMessage = (message) => {
      told.push(message)
      channel.destroy()
    }
    channel.resume()
    far.write(Buffer.concat([ping, ping]))
    await eventually(() => expect(closes).toHaveLength(1))
    expect(told).toHaveLength(1)
  })

  it('sends the datagrams of a turn in one piece, and a message behind them', async () => {
    const { channel, far } = channelOf()
    const peer = read(far)
    for (let i = 0; i < 10; i++) channel.sendDatagram(packet)
    expect(peer.pieces).toEqual([])
    channel.send('Ping', {})
    await settle()
    expect(peer.pieces).toHaveLength(2)
    for (let i = 0; i < 3; i++) channel.sendDatagram(packet)
    await settle()
    expect(peer.pieces).toHaveLength(3)
  })

  it('sends messages that may wait in one piece, before one that may not', async () => {
    const { channel, far, told } = channelOf()
    const peer = read(far)
    for (let i = 0; i < 3; i++) channel.sendSoon('ReqWorkConn', {})
    await settle()
    expect(peer.pieces).toHaveLength(1)
    channel.sendSoon('ReqWorkConn', {})
    channel.send('Ping', {})
    await settle()
    expect(peer.pieces).toHaveLength(3)
    const reader = channelOf()
    reader.channel.resume()
    reader.far.write(peer.bytes())
    await eventually(() => expect(reader.told).toHaveLength(5))
    expect(reader.told.map(({ name }) => name)).toEqual([...Array<string>(4).fill('ReqWorkConn'), 'Ping'])
    expect(told).toEqual([])
  })

  it('cuts a peer that leaves messages that may wait unread', async () => {
    const { channel, closes } = channelOf()
    channel.resume()
    for (let i = 0; i < 300; i++) channel.sendSoon('NewProxy', { proxy_name: 'x'.repeat(5000) })
    await settle()
    for (let i = 0; i < 300; i++) channel.sendSoon('NewProxy', { proxy_name: 'x'.repeat(5000) })
    await eventually(() => expect(closes).toHaveLength(1))
    expect(closes[0]).toMatchObject({ code: 'TUNNEL_CLOSED' })
  })

  it('drops datagrams when the peer does not read, still sends messages, and cuts at its bound', async () => {
    const { channel, near, closes } = channelOf()
    channel.resume()
    let dropped = 0
    for (let i = 0; i < 2000; i++) {
      if (!channel.sendDatagram(packet)) dropped++
      if (i % 50 === 0) await settle()
    }
    expect(dropped).toBeGreaterThan(1000)
    expect(channel.send('Ping', {})).toBe(false)
    await settle()
    expect(closes).toEqual([])
    expect(near.bytesWritten).toBeLessThan(700_000)
    for (let i = 0; i < 200; i++) channel.send('NewProxy', { proxy_name: 'x'.repeat(5000) })
    await eventually(() => expect(closes).toHaveLength(1))
    expect(closes[0]).toMatchObject({ code: 'TUNNEL_CLOSED' })
  })

  it('says when a peer reads again', async () => {
    const { channel, far } = channelOf('v1', { windowBytes: 100 })
    const onDrain = vi.fn()
    channel.onDrain = onDrain
    expect(channel.send('NewProxy', { proxy_name: 'x'.repeat(500) })).toBe(false)
    read(far)
    await eventually(() => expect(onDrain).toHaveBeenCalledOnce())
    expect(channel.send('Ping', {})).toBe(true)
  })

  it('survives any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('v1' as const, 'v2' as const),
        fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }),
        async (version, pieces) => {
          const { channel, far } = channelOf(version)
          channel.expectHello('client', () => undefined)
          channel.resume()
          for (const piece of pieces) far.write(piece)
          await settle()
          channel.destroy()
        },
      ),
      { numRuns: 100 },
    )
  })
})

/** Until what memory streams have under way has arrived. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
}

function fail(): never {
  throw new Error('not expected')
}
