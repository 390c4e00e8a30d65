import { once } from 'node:events'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectTcp, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect, createServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FakeAcmeServer } from '../src/mechanisms/acme/fake-acme-server.testkit.ts'
import { makeCertificate, type TestCertificate } from '../src/mechanisms/net/certificate.testkit.ts'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { hashPackets, makeSample, probeCodecs, publishByRtmp } from './harness/ffmpeg.ts'
import { sessionsOf } from './harness/five-protocols.ts'
import { type Gateway, startGateway } from './harness/gateway.ts'
import { startNginx } from './harness/nginx.ts'
import { runProgram } from './harness/program.ts'
import { temporaryFolder } from './harness/temporary-folder.ts'
import { until } from './harness/until.ts'
import { playByWhep, publishByWhip, receivedBy } from './harness/webrtc-page.ts'
import { startWholeOrigin, type WholeOrigin } from './harness/whole-origin.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'

const folder = temporaryFolder()
const sample = join(folder.path, 'sample.flv')
const opened: AsyncDisposable[] = []
let origin: WholeOrigin

beforeAll(async () => {
  await makeSample(sample, 10)
  origin = keep(await startWholeOrigin())
}, 60_000)

afterAll(async () => {
  for (const thing of opened.toReversed()) await thing[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

describe('clients over TLS', () => {
  const files = {
    a: { certFile: join(folder.path, 'a.pem'), keyFile: join(folder.path, 'a.key') },
    b: { certFile: join(folder.path, 'b.pem'), keyFile: join(folder.path, 'b.key') },
  }
  let a: TestCertificate
  let b: TestCertificate
  let gateway: Gateway

  beforeAll(async () => {
    a = await makeCertificate(['a.test', 'localhost'])
    b = await makeCertificate(['b.test'])
    write(files.a, a)
    write(files.b, b)
    gateway = keep(
      await startGateway({
        config: {
          origins: [origin.config],
          media: {
            http: { secureListen: ['127.0.0.1:0'], takesRtmp: true },
            rtmp: { secureListen: ['127.0.0.1:0'] },
            tls: { certificates: [files.a, files.b] },
          },
        },
      }),
    )
    await publish(gateway, `${gateway.rtmpUrl}/live/plain`)
  }, 60_000)

  test('are shown the certificate of the name that they ask for, on both kinds of port', async () => {
    for (const port of [gateway.ports.https, gateway.ports.rtmps]) {
      expect(await shownAt(port, 'a.test', a.cert)).toBe(pemBody(a.cert))
      expect(await shownAt(port, 'b.test', b.cert)).toBe(pemBody(b.cert))
      expect(await shownAt(port, undefined, a.cert)).toBe(pemBody(a.cert))
    }
  })

  test('play HTTP-FLV and HLS, and are refused who do not know the authority', async () => {
    const at = (path: string): string => `https://a.test:${gateway.ports.https}${path}`
    const curl = async (path: string, ca: string): Promise<string> =>
      await runProgram('curl', [
        ...['-sS', '--cacert', ca, '--resolve', `a.test:${gateway.ports.https}:127.0.0.1`],
        ...['-o', '-', '--range', '0-2', at(path)],
      ])
    expect(await curl('/live/s.m3u8', files.a.certFile)).toContain('#EXTM3U')
    await expect(curl('/live/s.m3u8', files.b.certFile)).rejects.toThrow(/certificate|SSL/)
    const codecs = await probeCodecs(`https://127.0.0.1:${gateway.ports.https}/live/plain.flv`)
    expect(codecs).toEqual({ video: 'h264', audio: 'aac' })
  })

  const ports = {
    'the port of RTMPS': () => gateway.ports.rtmps,
    'the port of HTTPS': () => gateway.ports.https,
  }

  test.each(Object.entries(ports))(
    'publish and play by RTMPS at %s',
    async (name, port) => {
      const url = `rtmps://127.0.0.1:${port()}/live/${name.replaceAll(' ', '-')}`
      await publish(gateway, url)
      const received = await hashPackets(url, 2)
      expect(received.video.length).toBeGreaterThan(30)
      const sent = await hashPackets(sample)
      const start = sent.video.indexOf(received.video[0] ?? '')
      expect(received.video).toEqual(
        received.video.map((_hash, index) => sent.video[(start + index) % sent.video.length]),
      )
    },
    60_000,
  )

  test('publish by RTMPS to whom they know, and to nobody else', async () => {
    const publishWith = async (ca: string): Promise<string> =>
      await runProgram('ffmpeg', [
        ...['-nostdin', '-loglevel', 'error', '-t', '1', '-i', sample, '-c', 'copy', '-f', 'flv'],
        ...['-tls_verify', '1', '-ca_file', ca],
        `rtmps://localhost:${gateway.ports.rtmps}/live/verified`,
      ])
    expect(await publishWith(files.a.certFile)).toBe('')
    await expect(publishWith(files.b.certFile)).rejects.toThrow('certificate failed verification')
  })

  test('publish by RTMP at the port of HTTP, without TLS', async () => {
    await publish(gateway, `rtmp://127.0.0.1:${gateway.ports.http}/live/at-http`)
    expect(await probeCodecs(`${gateway.url}/live/at-http.flv`)).toEqual({ video: 'h264', audio: 'aac' })
  })

  test('publish by WHIP and play by WHEP in a browser', async () => {
    const browser = await startBrowser([a.cert])
    try {
      await using publisher = await openBlankPage(browser)
      await using player = await openBlankPage(browser)
      const url = `https://localhost:${gateway.ports.https}`
      const published = await publishByWhip(publisher.page, `${url}/rtc/v1/whip/?app=live&stream=b`)
      const played = await playByWhep(player.page, `${url}/live/b/whep`)
      expect([published.status, played.status]).toEqual([201, 201])
      expect(published.location).toMatch(/^https:\/\/localhost/)
      await until('decoded frames', async () => (await receivedBy(player.page)).framesDecoded > 10, {
        deadlineMs: 30_000,
      })
    } finally {
      await browser.close()
    }
  }, 60_000)

  test('go on when the certificate changes, which new ones see', async () => {
    await publish(gateway, `rtmps://127.0.0.1:${gateway.ports.rtmps}/live/going-on`)
    const before = await publisherOf(gateway, 'going-on')
    const viewer = await openViewer(gateway.ports.https, '/live/going-on.flv', a.cert)
    let bytes = 0
    viewer.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    await until('media', () => bytes > 1000)

    // Under a subject of its own: OpenSSL looks for authorities by their subject.
    const next = await makeCertificate(['next.test', 'a.test', 'localhost'])
    write(files.a, next)
    for (const port of [gateway.ports.https, gateway.ports.rtmps]) {
      await until(
        'the new certificate',
        async () => (await shownAt(port, 'a.test', [a.cert, next.cert])) === pemBody(next.cert),
        { deadlineMs: 60_000 },
      )
    }
    expect(await shownAt(gateway.ports.https, 'b.test', b.cert)).toBe(pemBody(b.cert))
    const sofar = bytes
    await until('more media', () => bytes > sofar + 20_000, { deadlineMs: 30_000 })
    const after = await until('more of the publisher', async () => {
      const now = await publisherOf(gateway, 'going-on')
      return now.bytesIn > before.bytesIn + 20_000 ? now : undefined
    })
    expect([after.id, viewer.closed]).toEqual([before.id, false])
    viewer.destroy()
  }, 120_000)
})

describe('origins over TLS', () => {
  let good: TestCertificate
  let gateway: Gateway
  const kinds = ['good', 'of-nobody', 'of-another-name'] as const

  beforeAll(async () => {
    good = await makeCertificate(['localhost'], [])
    const certificates = {
      good,
      'of-nobody': await makeCertificate(['localhost'], []),
      'of-another-name': await makeCertificate(['elsewhere.test'], []),
    }
    const ca = join(folder.path, 'authorities.pem')
    // A certificate that signs itself is its own authority.
    writeFileSync(ca, `${good.cert}\n${certificates['of-another-name'].cert}\n`)
    const origins = []
    for (const kind of kinds) {
      const https = await startNginxTls(kind, certificates[kind])
      const rtmps = await startTlsFront(certificates[kind], origin.rtmpPort)
      const hls = `https://localhost:${https}/{app}/{stream}.m3u8`
      origins.push({
        ...{ name: kind, kind: 'custom', check: false },
        urls: {
          hls,
          flv: `https://localhost:${https}/{app}/{stream}.flv`,
          rtmp: `rtmps://localhost:${rtmps}/{app}/{stream}`,
        },
      })
    }
    gateway = keep(
      await startGateway({
        config: {
          origins,
          balancer: { apps: kinds.map((kind) => ({ app: kind, origins: [kind] })) },
          media: { tls: { originCa: ca } },
        },
      }),
    )
  }, 60_000)

  test('are asked for HLS, HTTP-FLV and RTMP when their certificate is good', async () => {
    await publish(gateway, `${gateway.rtmpUrl}/good/s`)
    expect(await origin.streams()).toContain('good/s')
    for (const url of [`${gateway.rtmpUrl}/good/s`, `${gateway.url}/good/s.flv`]) {
      expect(await probeCodecs(url)).toEqual({ video: 'h264', audio: 'aac' })
    }
    const playlist = await fetch(`${gateway.url}/good/s.m3u8`)
    expect(await playlist.text()).toContain('one.ts')
  }, 60_000)

  test.each(['of-nobody', 'of-another-name'])(
    'are not asked for anything when it is %s',
    async (app) => {
      for (const extension of ['m3u8', 'flv']) {
        const response = await fetch(`${gateway.url}/${app}/s.${extension}`)
        expect([extension, response.status]).toEqual([extension, 502])
        expect(await response.text()).not.toMatch(/localhost|127\.0\.0\.1/)
      }
      const publisher = publishByRtmp(sample, `${gateway.rtmpUrl}/${app}/s`)
      const { code } = await publisher.ended
      expect([code, publisher.output]).toEqual([1, expect.stringContaining('Server error')])
      expect(await origin.streams()).not.toContain(`${app}/s`)
    },
    60_000,
  )

  /** Gives its port. HLS of it is a file, its HTTP-FLV the demo origin's. */
  async function startNginxTls(name: string, certificate: TestCertificate): Promise<number> {
    const home = join(folder.path, `nginx-${name}`)
    mkdirSync(join(home, 'root', 'good'), { recursive: true })
    write({ certFile: join(home, 'cert.pem'), keyFile: join(home, 'key.pem') }, certificate)
    const playlist = ['#EXTM3U', '#EXT-X-TARGETDURATION:2', '#EXTINF:2,', 'one.ts', '']
    writeFileSync(join(home, 'root', 'good', 's.m3u8'), playlist.join('\n'))
    const [port = 0] = await freePorts(1)
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    const program = await startNginx({
      home,
      ports: [port],
      blocks: `http {
  types { application/vnd.apple.mpegurl m3u8; }
  access_log off;
  ${temporary.map((one) => `${one}_temp_path ${home}/${one};`).join(' ')}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${home}/cert.pem;
    ssl_certificate_key ${home}/key.pem;
    root ${home}/root;
    location ~ \\.flv$ {
      proxy_pass http://127.0.0.1:${origin.httpPort};
      proxy_http_version 1.1;
      proxy_buffering off;
    }
  }
}`,
    })
    keep(program)
    return port
  }
})

describe('an authority that speaks ACME', () => {
  test.each(['http-01', 'tls-alpn-01'] as const)(
    'has the gateway prove its names by %s',
    async (challenge) => {
      // Known before the gateway is there: it orders as it starts.
      const [http = 0, https = 0] = await freePorts(2)
      const ports = { http: () => http, tls: () => https }
      await using authority = await FakeAcmeServer.start({ ports, challenges: [challenge] })
      const root = join(folder.path, `root-${challenge}.pem`)
      writeFileSync(root, authority.root)
      const gateway = await startGateway({
        config: {
          origins: [origin.config],
          media: {
            http: { listen: [`127.0.0.1:${http}`], secureListen: [`127.0.0.1:${https}`] },
            rtmp: { secureListen: ['127.0.0.1:0'] },
            tls: {
              acme: {
                directoryUrl: authority.directoryUrl,
                folder: join(folder.path, `acme-${challenge}`),
                domains: ['live.test'],
                termsOfServiceAgreed: true,
                challenge,
              },
            },
          },
        },
      })
      try {
        await until(
          'the certificate',
          async () =>
            await runProgram('curl', [
              ...['-sS', '--cacert', root, '--resolve', `live.test:${https}:127.0.0.1`],
              `https://live.test:${https}/live/s.m3u8`,
            ]),
          { deadlineMs: 60_000 },
        )
        await shownAt(gateway.ports.rtmps, 'live.test', authority.root)
      } catch (error) {
        throw new Error(gateway.program.output, { cause: error })
      } finally {
        await gateway.stop()
      }
    },
    90_000,
  )
})

function keep<T extends AsyncDisposable>(thing: T): T {
  opened.push(thing)
  return thing
}

/** Until the stream is at the origin. */
async function publish(gateway: Gateway, url: string): Promise<void> {
  const name = new URL(url).pathname.slice(1)
  const publisher = keep(publishByRtmp(sample, url))
  await until(
    `${name} at the origin`,
    async () => !publisher.isRunning || (await origin.streams()).includes(name),
    { deadlineMs: 30_000 },
  )
  if (publisher.isRunning) return
  throw new Error(publisher.output + gateway.program.output)
}

async function publisherOf(
  gateway: Gateway,
  stream: string,
): Promise<{ readonly id: string; readonly bytesIn: number }> {
  const found = (await sessionsOf(gateway)).find(
    ({ role, streamKey }) => role === 'publish' && streamKey.endsWith(`/${stream}`),
  )
  if (found === undefined) throw new Error(`nobody publishes ${stream}`)
  return found
}

interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}

/** Each at once, as who renews certificates does. */
function write({ certFile, keyFile }: CertificateFiles, { cert, key }: TestCertificate): void {
  for (const [file, text] of [
    [keyFile, key],
    [certFile, cert],
  ] as const) {
    writeFileSync(`${file}.new`, text)
    renameSync(`${file}.new`, file)
  }
}

/** The certificate that a port shows to who asks for a name, in base64. @throws when it does not come from `ca` */
async function shownAt(port: number, servername: string | undefined, ca: string | string[]): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', ca, ...(servername !== undefined && { servername }) })
  try {
    await once(socket, 'secureConnect')
    return socket.getPeerCertificate().raw.toString('base64')
  } finally {
    socket.destroy()
  }
}

async function openViewer(port: number, path: string, ca: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', ca, servername: 'a.test' })
  await once(socket, 'secureConnect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`)
  return socket
}

function pemBody(pem: string): string {
  return pem.replaceAll(/-----[^-]+-----|\s/g, '')
}

/** Ends TLS before a port, as stunnel does. Gives its port. */
async function startTlsFront(certificate: TestCertificate, toPort: number): Promise<number> {
  const sockets = new Set<Socket>()
  const server: Server = createServer({ ...certificate }, (client) => {
    const back = connectTcp(toPort, '127.0.0.1')
    client.pipe(back).pipe(client)
    for (const socket of [client, back]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        back.destroy()
      })
    }
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
