import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BulkServices, type Digest, digestOf, digestOfBulk, sendBulk } from './tunnel/bulk.ts'
import { clientHelloFor } from './tunnel/client-hello.ts'
import { hasRealFrp, type Make } from './tunnel/frp-program.ts'
import { LocalServices } from './tunnel/local-services.ts'
import { Pair } from './tunnel/pair.ts'
import { connectThrough } from './tunnel/probes.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'

/** What goes through each, in MiB: a gigabyte (10^9 bytes) and a bit. */
const gigabyte = 954
/** With ciphers and compression in JavaScript. */
const layered = 96

let services: LocalServices
let bulk: BulkServices
let mebibytes = gigabyte
let gigabyteDigest: Digest

beforeAll(async () => {
  services = await LocalServices.start()
  bulk = await BulkServices.start(() => mebibytes)
  gigabyteDigest = digestOfBulk(gigabyte)
})

afterAll(async () => {
  await bulk[Symbol.asyncDispose]()
  await services[Symbol.asyncDispose]()
})

interface BulkPorts {
  readonly tcp: number
  readonly digest: number
  readonly layers: number
  readonly http: number
  readonly https: number
  readonly connect: number
  readonly stcp: number
}

async function startPair(
  server: Make,
  client: Make,
  way: { readonly mux: boolean; readonly tls: boolean },
): Promise<{ readonly pair: Pair; readonly ports: BulkPorts }> {
  const [bindPort = 0, tcp = 0, digest = 0, layers = 0, http = 0, https = 0, connectPort = 0, stcp = 0] =
    await freePorts(8)
  const flags = { useEncryption: true, useCompression: true }
  const pair = await Pair.start({
    server,
    client,
    bindPort,
    ...way,
    serverMore: { vhostHTTPPort: http, vhostHTTPSPort: https, tcpmuxHTTPConnectPort: connectPort },
    proxies: [
      { name: 'tcp', type: 'tcp', localPort: bulk.tcp, remotePort: tcp },
      { name: 'digest', type: 'tcp', localPort: services.digest, remotePort: digest },
      { name: 'layers', type: 'tcp', localPort: bulk.tcp, remotePort: layers, transport: flags },
      { name: 'http', type: 'http', localPort: bulk.http, customDomains: ['web.test'] },
      { name: 'https', type: 'https', localPort: bulk.tcp, customDomains: ['secure.test'] },
      {
        name: 'mux',
        type: 'tcpmux',
        localPort: bulk.tcp,
        customDomains: ['mux.test'],
        multiplexer: 'httpconnect',
      },
      { name: 'stcp', type: 'stcp', localPort: bulk.tcp, secretKey: 'between us' },
    ],
    visitors: [{ name: 'v', type: 'stcp', serverName: 'stcp', secretKey: 'between us', bindPort: stcp }],
  })
  return { pair, ports: { tcp, digest, layers, http, https, connect: connectPort, stcp } }
}

const pairs: { server: Make; client: Make; mux: boolean; tls: boolean }[] = [
  { server: 'sluice', client: 'sluice', mux: true, tls: true },
  { server: 'sluice', client: 'sluice', mux: false, tls: false },
  { server: 'sluice', client: 'frp', mux: true, tls: true },
  { server: 'frp', client: 'sluice', mux: true, tls: true },
]

describe.each(pairs)('frps of $server, frpc of $client, mux $mux, tls $tls', ({ server, client, ...way }) => {
  const isReal = server === 'frp' || client === 'frp'

  test.skipIf(isReal && !hasRealFrp)(
    'what goes in at one end comes out at the other, through every type of stream',
    async () => {
      const { pair, ports } = await startPair(server, client, way)
      await using _pair = pair

      mebibytes = isReal ? layered : gigabyte
      const expected = isReal ? digestOfBulk(layered) : gigabyteDigest
      expect(await ask(connect(ports.tcp, '127.0.0.1'), 'go')).toEqual(expected)
      expect(await askHttp(ports.http)).toEqual(expected)
      expect(await ask(connect(ports.https, '127.0.0.1'), clientHelloFor('secure.test'))).toEqual(expected)
      expect(await ask(await connectThrough(ports.connect, 'mux.test:80'), 'go')).toEqual(expected)
      expect(await ask(connect(ports.stcp, '127.0.0.1'), 'go')).toEqual(expected)
      // The way up; the real programs end both directions together.
      if (!isReal) expect(await tell(ports.digest, mebibytes)).toBe(expected.sha256)

      mebibytes = layered
      expect(await ask(connect(ports.layers, '127.0.0.1'), 'go')).toEqual(digestOfBulk(layered))
    },
    120_000,
  )
})

async function ask(socket: Socket, first: string | Buffer): Promise<Digest> {
  socket.write(first)
  const digest = await digestOf(socket)
  socket.destroy()
  return digest
}

async function askHttp(port: number): Promise<Digest> {
  const asked = request({ port, host: '127.0.0.1', headers: { host: 'web.test' }, agent: false })
  asked.end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return digestOf(response)
}

/** The digest that a service has made of what it was sent. */
async function tell(port: number, size: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const answer = text(socket)
  await sendBulk(socket, size)
  return await answer
}
