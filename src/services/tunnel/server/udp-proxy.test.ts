import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import type { Datapath, Receiver, Remote, SendOptions } from '../../../mechanisms/datapath/index.ts'
import { memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { createLogger } from '../../../mechanisms/telemetry/index.ts'
import { encodeMessage } from '../../../protocols/frp/index.ts'
import { MessageChannel } from '../message-channel.ts'
import { Talk } from './frp-client.testkit.ts'
import { atEnd, login, start } from './loopback.testkit.ts'
import { UdpProxy } from './udp-proxy.ts'
import { WorkPool } from './work-pool.ts'

/** A proxy whose port is a fake, under a clock that is moved by hand. */
async function make() {
  const clock = new ManualClock()
  let requests = 0
  const pool = new WorkPool({ size: 0, waitMs: () => 10_000, clock, request: () => requests++ })
  const sent: { readonly to: Remote; readonly text: string; readonly local: number | undefined }[] = []
  let receive: Receiver = () => undefined
  const closed: number[] = []
  const datapath: Pick<Datapath, 'openEndpoint' | 'closeEndpoint' | 'send'> = {
    openEndpoint: async (_, receiver) => {
      receive = receiver
      return { id: 7 } as unknown as Awaited<ReturnType<Datapath['openEndpoint']>>
    },
    closeEndpoint: (id) => void closed.push(id),
    send: (_, to, bytes, options?: SendOptions) =>
      sent.push({ to, text: Buffer.from(bytes).toString(), local: options?.local }) > 0,
  }
  const counts = { in: 0, out: 0, dropped: [] as string[] }
  const warnings: unknown[] = []
  const logger = createLogger({
    level: 'warn',
    stream: { write: (line) => void warnings.push(JSON.parse(line)) },
  })
  const proxy = new UdpProxy({
    proxyName: 'p',
    wireVersion: 'v1',
    udpPacketCodec: 'json',
    pool,
    layers: (work) => work,
    traffic: {
      open: () => () => undefined,
      addIn: (bytes) => (counts.in += bytes),
      addOut: (bytes) => (counts.out += bytes),
    },
    metrics: { udpDropped: (reason) => counts.dropped.push(reason) },
    datapath: datapath as Datapath,
    clock,
    logger,
  })
  await proxy.listen(['192.0.2.9'], 53)
  /** A user's datagram. */
  const arrive = (text: string, port = 1000, local = 2): void =>
    receive({
      kind: 'data',
      bytes: Buffer.from(text),
      address: '192.0.2.1',
      port,
      local,
    } as unknown as Parameters<Receiver>[0])
  /** A work connection of the client, which is started. */
  const offer = async (): Promise<Talk> => {
    const [near, far] = memoryStreamPair()
    pool.offer(near)
    const talk = new Talk(new MessageChannel(far, 'v1'))
    talk.channel.resume()
    await talk.next('StartWorkConn')
    return talk
  }
  return { clock, pool, proxy, arrive, offer, sent, counts, warnings, closed, requests: () => requests }
}

/** What it has been sent so far. */
function contentsOf(talk: Talk): string[] {
  return talk.heard.flatMap(({ name, body }) =>
    name === 'UDPPacket' ? [Buffer.from(body.content).toString()] : [],
  )
}

const remote = { IP: '192.0.2.1', Port: 1000, Zone: '' }

describe('a udp proxy', () => {
  test('asks for its work connection half a second after it is open', async () => {
    const { clock, requests } = await make()
    clock.advance(499)
    expect(requests()).toBe(0)
    clock.advance(1)
    expect(requests()).toBe(1)
  })

  test('carries datagrams both ways, and answers from the address that was asked', async () => {
    const { clock, arrive, offer, sent, counts } = await make()
    clock.advance(500)
    const talk = await offer()
    arrive('question', 1000, 5)
    const packet = await talk.next('UDPPacket')
    expect(Buffer.from(packet.content).toString()).toBe('question')
    expect(packet.remote).toEqual(remote)
    talk.channel.sendDatagram({ content: Buffer.from('answer'), remote })
    await eventually(() => expect(sent).toHaveLength(1))
    expect(sent[0]).toEqual({ to: { address: '192.0.2.1', port: 1000 }, text: 'answer', local: 5 })
    expect(counts).toEqual({ in: 8, out: 6, dropped: [] })
  })

  test('sends nothing to whom has not asked', async () => {
    const { clock, offer, arrive, sent, counts } = await make()
    clock.advance(500)
    const talk = await offer()
    arrive('question')
    talk.channel.sendDatagram({ content: Buffer.from('x'), remote: { ...remote, Port: 1001 } })
    talk.channel.sendDatagram({ content: Buffer.from('x'), remote: undefined })
    talk.channel.sendDatagram({ content: Buffer.from('y'), remote })
    await eventually(() => expect(sent).toHaveLength(1))
    expect([sent[0]?.text, counts.out]).toEqual(['y', 1])
  })

  test('keeps what comes before its work connection, up to a bound', async () => {
    const { clock, arrive, offer, counts } = await make()
    for (let count = 0; count < 1030; count++) arrive(String(count))
    expect(counts.dropped).toEqual(Array.from({ length: 6 }, () => 'no-work-connection'))
    clock.advance(500)
    const talk = await offer()
    await eventually(() => expect(talk.count('UDPPacket')).toBe(1024))
    expect(contentsOf(talk)).toEqual(Array.from({ length: 1024 }, (_, index) => String(index)))
    // What passes now comes behind, and nothing of the above a second time.
    arrive('last')
    await eventually(() => expect(contentsOf(talk).at(-1)).toBe('last'))
    expect([talk.count('UDPPacket'), counts.dropped.length]).toEqual([1025, 6])
  })

  test('keeps no more bytes than it can send at once, and counts as passed what was sent', async () => {
    const { clock, arrive, offer, counts, requests } = await make()
    for (let count = 0; count < 1024; count++) arrive('x'.repeat(1400))
    const { length: dropped } = counts.dropped
    expect(new Set(counts.dropped)).toEqual(new Set(['no-work-connection']))
    expect(counts.in).toBe(0)
    clock.advance(500)
    const talk = await offer()
    await eventually(() => expect(talk.count('UDPPacket')).toBe(1024 - dropped))
    expect([counts.dropped.length, counts.in]).toEqual([dropped, (1024 - dropped) * 1400])
    expect(dropped).toBeLessThan(900)
    // There is room again at the next break.
    clock.advance(1000)
    talk.channel.destroy()
    await eventually(() => expect(requests()).toBe(2))
    arrive('x'.repeat(1400))
    const next = await offer()
    await next.next('UDPPacket')
  })

  test('keeps what comes between two work connections, in order, each once', async () => {
    const { clock, arrive, offer, counts, requests } = await make()
    arrive('0')
    clock.advance(500)
    const first = await offer()
    await first.next('UDPPacket')
    clock.advance(1000)
    first.channel.destroy()
    await eventually(() => expect(requests()).toBe(2))
    for (let count = 1; count <= 1025; count++) arrive(String(count))
    expect([counts.in, counts.dropped]).toEqual([1, ['no-work-connection']])
    const second = await offer()
    await eventually(() => expect(second.count('UDPPacket')).toBe(1024))
    expect(contentsOf(second)).toEqual(Array.from({ length: 1024 }, (_, index) => String(index + 1)))
    expect(counts.in).toBe(contentsOf(second).join('').length + 1)
  })

  test('tells of the first datagram that no message holds, not of the others', async () => {
    const { clock, arrive, offer, counts, warnings } = await make()
    arrive('x'.repeat(9000))
    clock.advance(500)
    const talk = await offer()
    arrive('x'.repeat(9000))
    arrive('short')
    await talk.next('UDPPacket')
    expect(counts.dropped).toEqual(['length', 'length'])
    expect(warnings).toMatchObject([{ msg: 'datagram too long, dropped', reason: expect.any(String) }])
  })

  test('drops and counts what cannot be carried', async () => {
    const { clock, arrive, offer, counts } = await make()
    clock.advance(500)
    const talk = await offer()
    talk.channel.pause()
    arrive('x'.repeat(9000))
    for (let count = 0; count < 200; count++) arrive('x'.repeat(5000))
    expect(counts.dropped[0]).toBe('length')
    expect(new Set(counts.dropped.slice(1))).toEqual(new Set(['queue']))
    // What was dropped has not passed.
    expect(counts.in).toBe(5000 * (200 - counts.dropped.length + 1))
  })

  test('takes a new work connection when the one that it has breaks, and soon lost ones not one after the other', async () => {
    const { clock, offer, requests, arrive } = await make()
    clock.advance(500)
    const first = await offer()
    clock.advance(1000)
    first.channel.destroy()
    await eventually(() => expect(requests()).toBe(2))
    const second = await offer()
    second.channel.destroy()
    await second.closed
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(999)
    expect(requests()).toBe(2)
    clock.advance(1)
    expect(requests()).toBe(3)
    const third = await offer()
    arrive('x')
    await third.next('UDPPacket')
  })

  test('gives a work connection up after a minute of silence; a ping is none', async () => {
    const { clock, offer, requests } = await make()
    clock.advance(500)
    const talk = await offer()
    clock.advance(40_000)
    talk.channel.sendRaw(encodeMessage('v1', 'Ping', {}))
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(59_999)
    expect(requests()).toBe(1)
    clock.advance(1)
    await talk.closed
    await eventually(() => expect(requests()).toBe(2))
  })

  test('leaves nothing behind when it is closed, waiting or not', async () => {
    const waiting = await make()
    waiting.clock.advance(500)
    waiting.proxy.close()
    expect([waiting.pool.waiting, waiting.closed]).toEqual([0, [7]])
    const [work] = memoryStreamPair()
    waiting.pool.offer(work)
    expect(waiting.pool.idle).toBe(1)
    const open = await make()
    open.clock.advance(500)
    const talk = await open.offer()
    open.proxy.close()
    await talk.closed
    open.clock.advance(20_000)
    expect([open.requests(), open.clock.pending]).toEqual([1, 0])
  })
})

describe('over real sockets', () => {
  async function userSocket(): Promise<Socket> {
    const socket = createSocket('udp4')
    atEnd(() => socket.close())
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return socket
  }

  test.each([
    ['v1', 'json'],
    ['v2', 'json'],
    ['v2', 'binary-v1'],
  ] as const)('%s, datagrams in %s', async (version, udpPacketCodec) => {
    const clock = new ManualClock()
    const served = await start({ clock, raw: { transport: { tcpMuxKeepaliveInterval: 1000 } } })
    const client = await login(served, { version, udpPacketCodec })
    client.serve((stream) => {
      const channel = new MessageChannel(stream, version, { udpPacketCodec })
      channel.onMessage = (message) => {
        if (message.name === 'UDPPacket') channel.sendDatagram(message.body)
      }
      channel.resume()
    })
    const port = await client.register({ proxy_name: 'p', proxy_type: 'udp' })
    clock.advance(500)
    const socket = await userSocket()
    // Connected: an answer from another address than the one that was asked would not be heard.
    socket.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    const answer = once(socket, 'message')
    const again = setInterval(() => socket.send('hello'), 50)
    atEnd(() => clearInterval(again))
    const [bytes] = (await answer) as [Buffer]
    expect(bytes.toString()).toBe('hello')
    client.control.channel.send('CloseProxy', { proxy_name: 'p' })
    expect(await client.register({ proxy_name: 'p', proxy_type: 'udp', remote_port: port })).toBe(port)
  })
})
