import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type IncomingMessage, request as askHttp } from 'node:http'
import { request as askHttps } from 'node:https'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCertificate, type TestCertificate } from '../src/mechanisms/net/certificate.testkit.ts'
import { decodeProxyHeader, encodeProxyHeader } from '../src/protocols/proxy-protocol/index.ts'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { makeSample, publishByRtmp } from './harness/ffmpeg.ts'
import { sessionsOf, type ShownSession } from './harness/five-protocols.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { iceOffer } from './harness/ice-client.ts'
import { startNginx } from './harness/nginx.ts'
import { startProxyFront } from './harness/proxy-front.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { playByWhep, publishByWhip, receivedBy } from './harness/webrtc-page.ts'
import { startWholeOrigin, type WholeOrigin } from './harness/whole-origin.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'

/** Who is who on loopback: a client, an nginx that is trusted, a balancer that speaks the PROXY protocol. */
const [client, proxy, balancer] = ['127.0.0.9', '127.0.0.2', '127.0.0.3']
/** What a client says of itself and must not be believed. */
const forged = {
  'x-forwarded-for': '6.6.6.6',
  'x-real-ip': '6.6.6.6',
  forwarded: 'for=6.6.6.6',
  'x-forwarded-proto': 'gopher',
  'x-forwarded-host': 'forged.test',
}
/** Clients as the balancer tells of them. */
const told = { 1: '192.0.2.77', 2: '2001:db8::77' } as const
const barred = '192.0.2.66'

const folder = temporaryFolder()
const sample = join(folder.path, 'sample.flv')
const opened: AsyncDisposable[] = []
let certificate: TestCertificate
let gateway: Gateway
let origin: WholeOrigin
/** Sources that RTMP connections to the origin began with. */
const rtmpClients: string[] = []
let iceTcpPort: number
let iceFrontPort: number

beforeAll(async () => {
  await makeSample(sample, 10)
  certificate = await makeCertificate()
  const [certFile, keyFile] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')]
  writeFileSync(certFile, certificate.cert)
  writeFileSync(keyFile, certificate.key)
  origin = keep(await startWholeOrigin())
  const rtmp = await startRtmpRecorder(origin.rtmpPort)
  iceTcpPort = (await freePorts(1))[0] ?? 0
  iceFrontPort = await front(2, told[1], () => iceTcpPort)
  gateway = keep(
    await startGateway({
      config: {
        origins: [
          {
            ...origin.config,
            urls: { ...origin.config.urls, rtmp: `rtmp://127.0.0.1:${rtmp}/{app}/{stream}` },
          },
        ],
        media: {
          trustedProxies: [`${proxy}/32`],
          proxyProtocolFrom: [`${balancer}/32`],
          tls: { certificates: [{ certFile, keyFile }] },
          access: [{ play: { denyFrom: [`${barred}/32`] } }],
          http: { secureListen: ['127.0.0.1:0'] },
          rtmp: { secureListen: ['127.0.0.1:0'], proxyProtocolToOrigins: 'v2' },
          webrtc: {
            // Nobody hears media there.
            publicAddresses: [{ address: '127.0.0.1', port: 9 }],
            tcpListen: [`127.0.0.1:${iceTcpPort}`],
            tcpPublicAddresses: [{ address: '127.0.0.1', port: iceFrontPort }],
            iceTcp: true,
          },
        },
      },
    }),
  )
  const publisher = keep(publishByRtmp(sample, `${gateway.rtmpUrl}/live/s`))
  await until(
    'the stream at the origin',
    async () => {
      if (!publisher.isRunning) throw new Error(publisher.output)
      return (await origin.streams()).includes('live/s')
    },
    { deadlineMs: 30_000 },
  )
}, 60_000)

afterAll(async () => {
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

describe('a client without a proxy', () => {
  test.each(['http', 'https'] as const)(
    'is told to the origin as it connects by %s, whatever it says',
    async (scheme) => {
      const port = scheme === 'http' ? gateway.ports.http : gateway.ports.https
      const host = `127.0.0.1:${port}`
      for (const path of ['/live/s.m3u8', '/live/s.flv', '/live/s/whep']) {
        await using asked = await ask(port, path, { scheme, from: client, headers: forged })
        expect(asked.seen).toMatchObject({
          'x-forwarded-for': client,
          'x-real-ip': client,
          'x-forwarded-proto': scheme,
          'x-forwarded-host': host,
          forwarded: `for=${client};host="${host}";proto=${scheme}`,
        })
        if (path.endsWith('.flv')) expect((await newestOf('http')).address).toBe(client)
        if (path.endsWith('.m3u8')) expect((await newestOf('hls')).address).toBe(client)
      }
    },
  )

  test('is told to an RTMP origin by the PROXY protocol', () => {
    expect(rtmpClients[0]).toBe('127.0.0.1')
  })

  test('and who sends a PROXY protocol header all the same is cut off', async () => {
    for (const port of [gateway.ports.http, gateway.ports.rtmp, iceTcpPort]) {
      const socket = connect({ port, host: '127.0.0.1', localAddress: client })
      const addresses = {
        source: { address: told[1], port: 1 },
        destination: { address: told[1], port: 2 },
      }
      socket.write(encodeProxyHeader({ version: 2, command: 'proxy', addresses }))
      socket.write('GET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n')
      const reply = await textOf(socket)
      expect(reply).not.toMatch(/ 200 /)
    }
  })
})

describe('a client behind a trusted nginx', () => {
  const ways = {
    'X-Forwarded-For': 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
    Forwarded: 'proxy_set_header Forwarded "for=$remote_addr"; proxy_set_header X-Forwarded-For "";',
    'X-Real-IP':
      'proxy_set_header X-Real-IP $remote_addr; proxy_set_header Forwarded ""; proxy_set_header X-Forwarded-For "";',
  }
  const ports = new Map<string, number>()

  beforeAll(async () => {
    const quiet = await freePorts(3)
    const home = join(folder.path, 'nginx')
    const servers = Object.entries(ways).map(([name, directives], index) => {
      const port = quiet[index] ?? 0
      ports.set(name, port)
      return `server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://127.0.0.1:${gateway.ports.http};
          proxy_bind ${proxy};
          proxy_http_version 1.1;
          proxy_buffering off;
          ${directives}
        }
      }`
    })
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    const blocks = `http {
      access_log off;
      ${temporary.map((one) => `${one}_temp_path ${home}/${one};`).join(' ')}
      ${servers.join('\n')}
    }`
    keep(await startNginx({ home, blocks, ports: quiet }))
  })

  test.each(Object.keys(ways))('is told to the origin, and shown, as %s has it', async (name) => {
    for (const path of ['/live/s.m3u8', '/live/s.flv', '/live/s/whep']) {
      await using asked = await ask(ports.get(name) ?? 0, path, { from: client, headers: forged })
      expect(asked.seen).toMatchObject({
        'x-forwarded-for': `${client}, ${proxy}`,
        'x-real-ip': client,
        forwarded: expect.stringMatching(new RegExp(`^for=${client};.*, for=${proxy}$`)),
      })
      if (path.endsWith('.flv')) expect((await newestOf('http')).address).toBe(client)
      if (path.endsWith('.m3u8')) expect((await newestOf('hls')).address).toBe(client)
    }
  })
})

describe.each([1, 2] as const)('a client behind a balancer that speaks the PROXY protocol v%d', (version) => {
  test.each(['http', 'https'] as const)('is told to the origin, and shown, over %s', async (scheme) => {
    const port = await front(version, told[version], () =>
      scheme === 'http' ? gateway.ports.http : gateway.ports.https,
    )
    for (const path of ['/live/s.m3u8', '/live/s.flv', '/live/s/whep']) {
      await using asked = await ask(port, path, { scheme, from: client, headers: forged })
      expect(asked.seen).toMatchObject({
        'x-forwarded-for': told[version],
        'x-real-ip': told[version],
        'x-forwarded-proto': scheme,
        forwarded: expect.stringContaining({ 1: 'for=192.0.2.77;', 2: 'for="[2001:db8::77]";' }[version]),
      })
      if (path.endsWith('.flv')) expect((await newestOf('http')).address).toBe(told[version])
      if (path.endsWith('.m3u8')) expect((await newestOf('hls')).address).toBe(told[version])
    }
  })

  test.each(['rtmp', 'rtmps'] as const)(
    'is told to the origin, and shown, over %s',
    async (scheme) => {
      const port = await front(version, told[version], () => gateway.ports[scheme])
      const stream = `${scheme}-${version}`
      await using publisher = publishByRtmp(sample, `${scheme}://127.0.0.1:${port}/live/${stream}`)
      await until(
        'the stream at the origin',
        async () => {
          if (!publisher.isRunning) throw new Error(publisher.output)
          return (await origin.streams()).includes(`live/${stream}`)
        },
        { deadlineMs: 30_000 },
      )
      const session = (await sessionsOf(gateway)).find(({ streamKey }) => streamKey.endsWith(`/${stream}`))
      expect(session?.address).toBe(told[version])
      expect(rtmpClients.at(-1)).toBe(told[version])
    },
    60_000,
  )

  test('is kept out by the address that it has there', async () => {
    const port = await front(version, barred, () => gateway.ports.http)
    await using asked = await ask(port, '/live/s.flv')
    expect(asked.status).toBe(403)
  })
})

describe('a balancer that is to speak the PROXY protocol', () => {
  test('is cut off when it does not', async () => {
    for (const port of [gateway.ports.http, gateway.ports.rtmp, gateway.ports.https, iceTcpPort]) {
      const socket = connect({ port, host: '127.0.0.1', localAddress: balancer })
      socket.write('GET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n')
      expect(await textOf(socket)).toBe('')
    }
  })
})

describe('a browser that has nothing but TCP for its media', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await startBrowser()
  }, 60_000)

  afterAll(async () => {
    await browser.close()
  })

  test('is shown as the balancer before that port tells of it', async () => {
    await using publisher = await openBlankPage(browser)
    await using player = await openBlankPage(browser)
    await publishByWhip(publisher.page, `${gateway.url}/live/ice/whip`)
    await playByWhep(player.page, `${gateway.url}/live/ice/whep`)
    await until('decoded frames', async () => (await receivedBy(player.page)).framesDecoded > 10, {
      deadlineMs: 30_000,
    })
    expect((await receivedBy(player.page)).remote).toBe(`127.0.0.1:${iceFrontPort}`)
    const sessions = (await sessionsOf(gateway)).filter(({ streamKey }) => streamKey.endsWith('/ice'))
    expect(sessions.map(({ address }) => address)).toEqual([told[1], told[1]])
  }, 60_000)
})

function keep<T extends AsyncDisposable>(thing: T): T {
  opened.push(thing)
  return thing
}

async function front(version: 1 | 2, source: string, toPort: () => number): Promise<number> {
  return keep(await startProxyFront({ version, source, from: balancer, toPort })).port
}

interface AskOptions {
  readonly scheme?: 'http' | 'https'
  /** Local address of the client. */
  readonly from?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A request that goes on until its scope ends. */
interface Asked extends AsyncDisposable {
  readonly status: number
  /** Headers with which the origin was asked for it; undefined when it was not. */
  readonly seen: IncomingMessage['headers'] | undefined
}

/** Gets a path, or posts an offer to it when that is one of WebRTC. */
async function ask(
  port: number,
  path: string,
  { scheme = 'http', from = '127.0.0.1', headers = {} }: AskOptions = {},
): Promise<Asked> {
  const isOffer = path.endsWith('/whep')
  const known = origin.requests.length
  const options = {
    ...{ port, path, localAddress: from, host: '127.0.0.1', agent: false, ca: certificate.cert },
    method: isOffer ? 'POST' : 'GET',
    headers: { ...headers, ...(isOffer && { 'content-type': 'application/sdp' }) },
  }
  const request = scheme === 'http' ? askHttp(options) : askHttps(options)
  request.on('error', () => {})
  request.end(isOffer ? iceOffer('some', 'recvonly') : undefined)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.on('error', () => {}).resume()
  return {
    status: response.statusCode ?? 0,
    seen: origin.requests.slice(known).at(-1)?.headers,
    [Symbol.asyncDispose]: async () => {
      if (response.closed) return
      const closed = new Promise((resolve) => response.once('close', resolve))
      request.destroy()
      await closed
    },
  }
}

async function newestOf(protocol: ShownSession['protocol']): Promise<ShownSession> {
  return await until(`a session of ${protocol}`, async () =>
    (await sessionsOf(gateway)).findLast((session) => session.protocol === protocol),
  )
}

async function textOf(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (bytes) => {
    text += bytes.toString()
  })
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('close', resolve))
  return text
}

/** Stands before the RTMP port of the origin and reads the PROXY protocol header of each connection. Gives its port. */
async function startRtmpRecorder(toPort: number): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const back = connect(toPort, '127.0.0.1')
    for (const one of [socket, back]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        socket.destroy()
        back.destroy()
      })
    }
    let held = Buffer.alloc(0)
    const onData = (bytes: Buffer): void => {
      held = Buffer.concat([held, bytes])
      const result = decodeProxyHeader(held)
      if (result.kind === 'more') return
      socket.off('data', onData)
      if (result.kind !== 'header') {
        rtmpClients.push('nobody')
        socket.destroy()
        return
      }
      rtmpClients.push(result.header.addresses?.source.address ?? 'nobody')
      back.write(held.subarray(result.bytes))
      socket.pipe(back).pipe(socket)
    }
    socket.on('data', onData)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push({
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  })
  return (server.address() as AddressInfo).port
}
