import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, expect, it } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import { createDatapath } from '../../../mechanisms/datapath/index.ts'
import { memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { cfbKey, type StartWorkConn } from '../../../protocols/frp/index.ts'
import { MessageChannel } from '../message-channel.ts'
import { payloadLayers } from '../payload-layers.ts'
import { plainTransport, portProxy, secretProxy } from './client-config.testkit.ts'
import { Joins } from './joins.ts'
import { reading } from './tunnel-client.testkit.ts'
import { UdpService } from './udp-service.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const start: StartWorkConn = {
  proxy_name: 'p',
  src_addr: '',
  dst_addr: '',
  src_port: 0,
  dst_port: 0,
  error: '',
}
const agreed = { wireVersion: 'v1', halfClose: false, udpPacketCodec: 'json' } as const
const remote = { IP: '1.2.3.4', Port: 5, Zone: '' }

async function serving(type: 'udp' | 'sudp', changes: Partial<Parameters<typeof portProxy>[2]> = {}) {
  const datapath = createDatapath({ engine: 'node' })
  await datapath.start()
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address))
  const clock = new ManualClock()
  const config = {
    ...(type === 'udp' ? portProxy(type, 'p') : secretProxy(type, 'p')),
    ...changes,
    localPort: socket.address().port,
  } as ReturnType<typeof portProxy>
  const service = new UdpService(config, {
    token: 'secret',
    clock,
    log: silentLogger(),
    datapath,
    dialLocal: () => Promise.reject(new Error('not expected')),
    joins: new Joins(clock, undefined),
  })
  closers.push(
    () => socket.close(),
    () => datapath.close(),
    () => service.close(),
  )
  return { service, clock, datapath }
}

it('a udp proxy has one work connection: a new one takes the place of the old', async () => {
  const { service } = await serving('udp')
  const [first, second] = [memoryStreamPair(), memoryStreamPair()]
  const old = reading(first[1])
  service.serve(first[0], start, agreed)
  service.serve(second[0], start, agreed)
  await eventually(() => expect(old.isEnded).toBe(true))
  await echoes(new MessageChannel(second[1], 'v1'))
})

it('a sudp proxy has one for each visitor', async () => {
  const { service } = await serving('sudp')
  const pairs = [memoryStreamPair(), memoryStreamPair()] as const
  for (const [near] of pairs) service.serve(near, start, agreed)
  for (const [, far] of pairs) await echoes(new MessageChannel(far, 'v1'))
})

it('messages go through the layers of the proxy, to a service that is named', async () => {
  const transport = { ...plainTransport, useEncryption: true, useCompression: true }
  const { service } = await serving('udp', { transport, localIP: 'localhost' })
  const [near, far] = memoryStreamPair()
  service.serve(near, start, agreed)
  await echoes(new MessageChannel(payloadLayers(far, { key: cfbKey('secret'), isCompressed: true }), 'v1'))
})

it('a close ends the work connections, and takes no more', async () => {
  const { service, clock, datapath } = await serving('udp')
  const [first, second] = [memoryStreamPair(), memoryStreamPair()]
  service.serve(first[0], start, agreed)
  await echoes(new MessageChannel(first[1], 'v1'))
  service.close()
  await eventually(() => expect(datapath.totals().endpoints).toBe(0))
  const late = reading(second[1])
  service.serve(second[0], start, agreed)
  await eventually(() => expect(late.isEnded).toBe(true))
  expect(clock.pending).toBe(0)
})

async function echoes(channel: MessageChannel): Promise<void> {
  const heard: string[] = []
  channel.onMessage = (message) => {
    if (message.name === 'UDPPacket') heard.push(Buffer.from(message.body.content).toString())
  }
  channel.resume()
  channel.sendDatagram({ content: Buffer.from('hello'), remote })
  await eventually(() => expect(heard).toEqual(['hello']))
}
