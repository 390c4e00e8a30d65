import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { createDatapath } from '../../../mechanisms/datapath/index.ts'
import { memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { createLogger } from '../../../mechanisms/telemetry/index.ts'
import type { FrpMessage, UdpPacketCodec, WireVersion } from '../../../protocols/frp/index.ts'
import { decodeProxyHeader } from '../../../protocols/proxy-protocol/index.ts'
import { MessageChannel } from '../message-channel.ts'
import { settle } from './tunnel-client.testkit.ts'
import { UdpRelay, type UdpRelayOptions } from './udp-relay.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

interface Setup extends Partial<Pick<UdpRelayOptions, 'maxUsers' | 'proxyProtocolVersion'>> {
  readonly wireVersion?: WireVersion
  readonly udpPacketCodec?: UdpPacketCodec
}

/** A relay between a server in memory and a service on a real socket, which keeps what it hears. */
async function relaying({ wireVersion = 'v1', udpPacketCodec = 'json', ...options }: Setup = {}) {
  const clock = new ManualClock()
  const datapath = createDatapath({ engine: 'node' })
  await datapath.start()
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  closers.push(
    () => socket.close(),
    () => datapath.close(),
  )
  const heard: { text: string; bytes: Buffer; from: RemoteInfo }[] = []
  socket.on('message', (bytes, from) => void heard.push({ text: bytes.toString(), bytes, from }))
  const lines: { msg: string; bytes?: number }[] = []
  const [near, far] = memoryStreamPair()
  const onClose = vi.fn()
  const relay = new UdpRelay({
    work: near,
    agreed: { wireVersion, udpPacketCodec },
    service: { address: '127.0.0.1', port: socket.address().port },
    proxyProtocolVersion: '',
    datapath,
    clock,
    log: createLogger({ stream: { write: (line) => void lines.push(JSON.parse(line) as { msg: string }) } }),
    onClose,
    ...options,
  })
  const channel = new MessageChannel(far, wireVersion, { udpPacketCodec })
  const told: FrpMessage[] = []
  channel.onMessage = (message) =>
    void told.push(
      message.name === 'UDPPacket'
        ? { ...message, body: { ...message.body, content: Buffer.from(message.body.content) } }
        : message,
    )
  channel.resume()
  relay.start()
  closers.push(() => relay.close())
  const say = (port: number, content: string | Buffer): void => {
    channel.sendDatagram({ content: Buffer.from(content), remote: { IP: '9.8.7.6', Port: port, Zone: '' } })
  }
  const answers = () =>
    told.flatMap((message) =>
      message.name === 'UDPPacket'
        ? [[message.body.remote?.Port, Buffer.from(message.body.content).toString()]]
        : [],
    )
  return {
    relay,
    clock,
    datapath,
    socket,
    heard,
    lines,
    channel,
    told,
    say,
    answers,
    onClose,
  }
}

describe('a relay of datagrams', () => {
  it.each([
    ['v1', 'json'],
    ['v2', 'json'],
    ['v2', 'binary-v1'],
  ] as const)(
    'over %s in form %s gives each user a socket of his own and takes the answers back to him',
    async (wireVersion, udpPacketCodec) => {
      const { say, heard, socket, answers } = await relaying({ wireVersion, udpPacketCodec })
      say(1, 'a1')
      say(2, 'b1')
      say(1, 'a2')
      await eventually(() => expect(heard.map(({ text }) => text).toSorted()).toEqual(['a1', 'a2', 'b1']))
      const portOf = (text: string) => heard.find((one) => one.text === text)?.from.port ?? 0
      expect(portOf('a1')).toBe(portOf('a2'))
      expect(portOf('a1')).not.toBe(portOf('b1'))
      for (const { text, from } of heard) socket.send(`re ${text}`, from.port, from.address)
      await eventually(() => expect(answers()).toHaveLength(3))
      expect(new Set(answers().map(String))).toEqual(new Set(['1,re a1', '1,re a2', '2,re b1']))
    },
  )

  it('carries datagrams above udpPacketSize whole, and drops those that no message holds', async () => {
    const { say, heard, socket, told, lines } = await relaying()
    const big = Buffer.alloc(7000, 1)
    say(1, big)
    await eventually(() => expect(heard).toHaveLength(1))
    expect(heard[0]?.bytes).toEqual(big)
    const { port, address } = heard[0]?.from ?? { port: 0, address: '' }
    socket.send(Buffer.alloc(9000), port, address)
    socket.send(Buffer.alloc(9000), port, address)
    socket.send(big, port, address)
    await eventually(() => expect(told).toHaveLength(1))
    expect(told[0]).toMatchObject({ name: 'UDPPacket', body: { content: big } })
    expect(lines).toMatchObject([{ msg: 'a datagram of the service is too long for a message', bytes: 9000 }])
  })

  it('closes the socket of a user after 30 s of silence either way', async () => {
    const { say, heard, socket, answers, clock, datapath } = await relaying()
    say(1, 'one')
    await eventually(() => expect(heard).toHaveLength(1))
    clock.advance(25_000)
    socket.send('answer', heard[0]?.from.port ?? 0, '127.0.0.1')
    await eventually(() => expect(answers()).toHaveLength(1))
    clock.advance(25_000)
    expect(datapath.totals().endpoints).toBe(1)
    clock.advance(10_000)
    expect(datapath.totals().endpoints).toBe(0)
    say(1, 'two')
    await eventually(() => expect(heard).toHaveLength(2))
    expect(datapath.totals().endpoints).toBe(1)
  })

  it('for one user too many closes the socket of the one who was silent longest', async () => {
    const { say, heard, clock, datapath } = await relaying({ maxUsers: 2 })
    for (const [port, text] of [
      [1, 'a'],
      [2, 'b'],
      [1, 'c'],
      [3, 'd'],
    ] as const) {
      say(port, text)
      await eventually(() => expect(heard.at(-1)?.text).toBe(text))
      clock.advance(100)
    }
    expect(datapath.totals().endpoints).toBe(2)
    say(1, 'e')
    await eventually(() => expect(heard.at(-1)?.text).toBe('e'))
    expect(heard.at(-1)?.from.port).toBe(heard[0]?.from.port)
  })

  it('pings every 30 s', async () => {
    const { clock, told } = await relaying()
    for (let i = 1; i <= 3; i++) {
      clock.advance(30_000)
      await eventually(() => expect(told.filter(({ name }) => name === 'Ping')).toHaveLength(i))
    }
  })

  it('puts a PROXY protocol header in front of the first datagram of a user only', async () => {
    const { say, heard, socket } = await relaying({ proxyProtocolVersion: 'v2' })
    say(1, 'one')
    await eventually(() => expect(heard).toHaveLength(1))
    say(1, 'two')
    await eventually(() => expect(heard).toHaveLength(2))
    const first = heard[0]?.bytes ?? Buffer.alloc(0)
    // IPv4, datagrams.
    expect(first[13]).toBe(0x12)
    expect(first.subarray(-3).toString()).toBe('one')
    first[13] = 0x11
    expect(decodeProxyHeader(first)).toMatchObject({
      kind: 'header',
      header: {
        addresses: {
          source: { address: '9.8.7.6', port: 1 },
          destination: { address: '127.0.0.1', port: socket.address().port },
        },
      },
    })
    expect(heard[1]?.text).toBe('two')
  })

  it('says by version 1 of the PROXY protocol that it does not know', async () => {
    const { say, heard } = await relaying({ proxyProtocolVersion: 'v1' })
    say(1, 'one')
    await eventually(() => expect(heard.map(({ text }) => text)).toEqual(['PROXY UNKNOWN\r\none']))
  })

  it('ends with its work connection, and leaves neither sockets nor timers', async () => {
    const { say, heard, channel, clock, datapath, onClose } = await relaying()
    say(1, 'one')
    await eventually(() => expect(heard).toHaveLength(1))
    channel.destroy()
    await eventually(() => expect(onClose).toHaveBeenCalledOnce())
    expect(datapath.totals().endpoints).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('that is closed while a socket opens closes that, too', async () => {
    const { say, relay, clock, datapath, onClose } = await relaying()
    const open = datapath.openEndpoint.bind(datapath)
    let goOn: (() => void) | undefined
    const opened = vi.spyOn(datapath, 'openEndpoint').mockImplementation(async (...parts) => {
      await new Promise<void>((resolve) => {
        goOn = resolve
      })
      return open(...parts)
    })
    say(1, 'one')
    await eventually(() => expect(goOn).toBeDefined())
    relay.close()
    await eventually(() => expect(onClose).toHaveBeenCalledOnce())
    goOn?.()
    await opened.mock.results[0]?.value
    await settle()
    expect(datapath.totals().endpoints).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('passes over what is no datagram or has no user', async () => {
    const { say, heard, channel } = await relaying()
    channel.send('Ping', {})
    channel.sendDatagram({ content: Buffer.from('lost'), remote: undefined })
    say(1, 'one')
    await eventually(() => expect(heard.map(({ text }) => text)).toEqual(['one']))
  })
})
