import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { makeCertificate, type TestCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import { type CertificateSource, peekBytes } from '../../../mechanisms/net/index.ts'
import { createLogger } from '../../../mechanisms/telemetry/index.ts'
import { encodeProxyHeader } from '../../../protocols/proxy-protocol/index.ts'
import type { RtmpService } from './rtmp-service.ts'
import { TestClient, until, videoMessage } from './rtmp-service.testkit.ts'
import { RtmpStage } from './rtmp-stage.testkit.ts'

let stage: RtmpStage
let certificate: TestCertificate
let another: TestCertificate

beforeAll(async () => {
  certificate = await makeCertificate(['edge.test'])
  another = await makeCertificate(['other.test'])
})

beforeEach(() => {
  stage = new RtmpStage()
})

afterEach(() => stage[Symbol.asyncDispose]())

const loopback = { host: '127.0.0.1', port: 0 }

function dialSecure(port: number, ca: string, servername = 'edge.test'): () => Socket {
  return () => connectTls({ port, host: '127.0.0.1', servername, ca })
}

function secureClient(service: RtmpService, ca: string, servername?: string): TestClient {
  return stage.own(new TestClient(0, {}, dialSecure(service.securePorts[0] ?? 0, ca, servername)))
}

describe('RTMPS', () => {
  test('publishes and plays through its own port, beside the plain one', async () => {
    const origin = await stage.origin('a')
    const service = await stage.service({ secureListen: [loopback], tls: { certificate } })
    const publisher = await secureClient(service, certificate.cert).untilReady()
    const player = await stage.client(service, { action: 'play' }).untilReady()
    const payload = Buffer.alloc(300_000, 7)
    publisher.send(videoMessage(1, payload))
    const [published, played] = origin.visits
    await until(() => published!.messages.length === 1)
    expect(Buffer.compare(published!.messages[0]!.payload, payload)).toBe(0)
    played!.send(videoMessage(2, payload))
    await until(() => player.media.length === 1)
    expect(service.listSessions().map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.1'])
  })

  test('shows another certificate to those who come later, and drops nobody', async () => {
    const origin = await stage.origin('a')
    let certificates = [certificate]
    let onChange = (): void => {}
    const source: CertificateSource = {
      get certificates() {
        return certificates
      },
      onChange: (listener) => {
        onChange = listener
        return () => {}
      },
    }
    const service = await stage.service({ secureListen: [loopback], tls: { certificate: source } })
    const before = await secureClient(service, certificate.cert).untilReady()
    certificates = [another]
    onChange()
    await secureClient(service, another.cert, 'other.test').untilReady()
    before.send(videoMessage(1, Buffer.alloc(10)))
    await until(() => origin.visits[0]!.messages.length === 1)
  })

  test('needs a certificate', async () => {
    await expect(stage.service({ secureListen: [loopback] })).rejects.toThrow('secureListen without tls')
  })
})

describe('behind a balancer', () => {
  const header = (version: 1 | 2): Uint8Array =>
    encodeProxyHeader({
      version,
      command: 'proxy',
      addresses: {
        source: { address: '192.0.2.7', port: 5555 },
        destination: { address: '198.51.100.1', port: 1935 },
      },
    })

  test.each([1, 2] as const)('the client is who a PROXY header of version %s says', async (version) => {
    await stage.origin('a')
    const service = await stage.service({ proxyProtocolFrom: ['127.0.0.1'] })
    const client = stage.client(service, {}, () => {
      const socket = connect(service.ports[0] ?? 0, '127.0.0.1')
      socket.write(header(version))
      return socket
    })
    await client.untilReady()
    expect(service.listSessions()[0]?.address).toBe('192.0.2.7')
  })

  test('so it is over TLS', async () => {
    await stage.origin('a')
    const service = await stage.service({
      listen: [],
      secureListen: [loopback],
      tls: { certificate },
      proxyProtocolFrom: ['127.0.0.0/8'],
    })
    const plain = connect(service.securePorts[0] ?? 0, '127.0.0.1')
    plain.write(header(2))
    const client = stage.client(service, {}, () =>
      connectTls({ socket: plain, servername: 'edge.test', ca: certificate.cert }),
    )
    await client.untilReady()
    expect(service.listSessions()[0]?.address).toBe('192.0.2.7')
  })

  test('a connection without a header is cut, and counted', async () => {
    const service = await stage.service({ proxyProtocolFrom: ['127.0.0.1'] })
    const client = stage.client(service)
    await until(() => client.isClosed)
    expect(await stage.registry.metrics()).toContain(
      'sluice_rtmp_connections_unfinished_total{reason="proxy_header"} 1',
    )
  })
})

describe('a connection that was accepted elsewhere', () => {
  async function adopted(service: RtmpService): Promise<TestClient> {
    const server = createServer({ allowHalfOpen: true })
    const from = {
      remoteAddress: '203.0.113.9',
      remotePort: 4321,
      localAddress: '127.0.0.1',
      localPort: 443,
      isProxied: false,
    }
    server.on('connection', (socket: Socket) => {
      // As a port that several protocols share does.
      const peeked = peekBytes(socket, 1, { timeoutMs: 1000, clock: stage.clock })
      void peeked.then(() => service.adopt(socket, from))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0
    stage.own({ [Symbol.asyncDispose]: async () => void server.close() })
    return stage.own(new TestClient(port))
  }

  test('is served and counted like any other', async () => {
    await stage.origin('a')
    const service = await stage.service({ listen: [], maxConnections: 1 })
    const client = await (await adopted(service)).untilReady()
    expect(service.listSessions()[0]?.address).toBe('203.0.113.9')
    const further = await adopted(service)
    await until(() => further.isClosed)
    expect(client.isClosed).toBe(false)
    await service.close()
    await until(() => client.isClosed)
  })

  test('is not taken by a service that is closed', async () => {
    const service = await stage.service({ listen: [] })
    await service.close()
    const client = await adopted(service)
    await until(() => client.isClosed)
  })
})

describe('strangers', () => {
  test.each([
    ['HTTP', 'GET /fcs/ident2 HTTP/1.1\r\n\r\n', 'this looks like HTTP'],
    ['TLS', '\x16\x03\x01', 'this is TLS'],
    ['RTMPE', '\x06', 'RTMPE'],
  ])('who speak %s are cut, and the log says once what they spoke', async (_name, said, reason) => {
    const lines: string[] = []
    const logger = createLogger({ stream: { write: (line) => lines.push(line) } })
    const service = await stage.service({ logger })
    for (let count = 0; count < 20; count++) {
      const socket = stage.socket(service.ports[0] ?? 0)
      socket.write(said)
      await once(socket, 'close')
    }
    await until(() => lines.some((line) => line.includes('client dropped')))
    const dropped = lines.filter((line) => line.includes('client dropped'))
    expect(dropped).toHaveLength(1)
    expect(dropped[0]).toContain(reason)
    stage.clock.advance(10_000)
    const socket = stage.socket(service.ports[0] ?? 0)
    socket.write(said)
    await once(socket, 'close')
    await until(() => lines.filter((line) => line.includes('client dropped')).length === 2)
  })

  test('who open a thousand connections and say nothing, or half a handshake, disturb nobody', async () => {
    await stage.origin('a')
    const service = await stage.service({ maxConnectionsPerAddress: 1001 })
    const publisher = await stage.client(service).untilReady()
    const before = process.memoryUsage().rss
    const idle = Array.from({ length: 1000 }, (_, index) => {
      const socket = stage.socket(service.ports[0] ?? 0)
      if (index % 2 === 0) socket.write(Buffer.alloc(1000, 3))
      return socket
    })
    // One timer each, and two of the join.
    await until(() => stage.clock.pending === 1001, 20_000)
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000)
    const further = stage.client(service)
    await until(() => further.isClosed)
    stage.clock.advance(10_000)
    await until(() => idle.every((socket) => socket.closed), 20_000)
    expect(publisher.isClosed).toBe(false)
    await stage.client(service, { streamName: 'other' }).untilReady()
    expect(await stage.errorCount('RTMP_CLIENT_TIMEOUT')).toBe(1000)
  })
})
