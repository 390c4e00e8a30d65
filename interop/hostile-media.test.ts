import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  encodeHandshake,
  decodeHandshake,
  type Handshake,
  HandshakeType,
  shutdownPacket,
} from '../src/protocols/srt/index.ts'
import { type AttackedGateway, startAttackedGateway } from './harness/attacked-gateway.ts'
import type { Bystanders } from './harness/bystanders.ts'
import type { DemoOriginProcess } from './harness/demo-origin.ts'
import type { Gateway } from './harness/gateway.ts'
import type { HostileOrigin } from './harness/hostile-origin.ts'
import { iceOffer } from './harness/ice-client.ts'
import { induction } from './harness/srt-induction.ts'

/** A balancer that is trusted to say whom it connects for. */
const balancerAddress = '127.0.0.9'
/** What may be held at the end that was not at the beginning. (Measured: less than 2 MB.) */
const heapGrowthBytes = 8_000_000

let attacked: AttackedGateway
let gateway: Gateway
let files: HostileOrigin
let demo: DemoOriginProcess
let bystanders: Bystanders
let tcpPort = 0
let heapBefore = 0
const startedAt = performance.now()
/** All that the gateway said to those who misuse it. */
const answers: string[] = []

beforeAll(async () => {
  attacked = await startAttackedGateway({ proxyProtocolFrom: [`${balancerAddress}/32`] })
  ;({ gateway, files, demo, bystanders, tcpPort } = attacked)
  heapBefore = await gateway.heapBytes()
}, 120_000)

afterAll(async () => {
  const { code } = await attacked.stop()
  expect(code).toBe(0)
}, 60_000)

describe('while a publisher, its viewers and a WebRTC session go on', () => {
  test('datagrams of all kinds come to the SRT port', async () => {
    await using caller = await SrtCaller.open(gateway.ports.srt)
    for (let first = 0; first < 512; first++) {
      const bytes = randomBytes(1 + ((first * 37) % 1_400))
      bytes[0] = first & 0xff
      await caller.send(bytes)
    }
    // Half handshakes: nothing is kept of them, and each gets as much as it sent.
    for (let id = 1; id <= 1_000; id++) await caller.send(encodeHandshake(induction(id)))
    const cookie = await caller.cookie(7)
    const sound = encodeHandshake(conclusion(7, cookie, '#!::r=hls/run,m=request'))
    for (let length = 0; length < sound.length; length += 3) await caller.send(sound.subarray(0, length))
    for (const extension of [
      Buffer.from([0, 5]),
      Buffer.from([0, 5, 0, 255, 1]),
      Buffer.from([0, 5, 255, 255, ...randomBytes(1_000)]),
      Buffer.concat(Array.from({ length: 300 }, () => Buffer.from([0, 1, 0, 0]))),
    ]) {
      await caller.send(Buffer.concat([encodeHandshake(conclusion(7, cookie, '')), extension]))
    }
    for (const streamId of [
      '#!::r=live/a,r=live/b',
      '#!::m=publish',
      '../../x',
      'x'.repeat(512),
      '#!::r=a\u0000b',
    ]) {
      await caller.send(encodeHandshake(conclusion(7, cookie, streamId)))
    }
    // One of version 4, and rejections that were never asked for.
    await caller.send(encodeHandshake({ ...conclusion(7, cookie, 'live/s'), version: 4 }))
    await caller.send(encodeHandshake({ ...conclusion(7, cookie, 'live/s'), type: 1_002 }))
    for (let id = 0; id < 2_000; id++) await caller.send(shutdownPacket(id, 0))
    await bystanders.untilUnharmed()
    // It still answers who asks in order: nobody has such a stream by SRT.
    expect((await caller.call(99, '#!::r=live/s,m=request')).type).toBeGreaterThanOrEqual(1_000)
  }, 120_000)

  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n`
  const post = (headers: string, body: string): string =>
    `POST /live/x/whip HTTP/1.1\r\nHost: x\r\n${headers}\r\n${body}`
  const hidden = `${get('/hls/smuggled.m3u8')}\r\n`

  test.each([
    [
      'a length and chunks',
      post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${hidden}`),
    ],
    [
      'chunks and a length',
      post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', `0\r\n\r\n${hidden}`),
    ],
    ['two lengths', post(`Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n`, hidden)],
    ['a list of lengths', post(`Content-Length: 0, ${hidden.length}\r\n`, hidden)],
    ['a length with a sign', post(`Content-Length: +${hidden.length}\r\n`, hidden)],
    ['a negative length', post('Content-Length: -1\r\n', hidden)],
    ['a coding that is none', post('Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${hidden}`)],
    ['a coding behind a blank', post('Transfer-Encoding : chunked\r\n', `0\r\n\r\n${hidden}`)],
    ['a size that is too large', post('Transfer-Encoding: chunked\r\n', `FFFFFFFFFFFFFFFFF\r\n${hidden}`)],
    ['a size that is none', post('Transfer-Encoding: chunked\r\n', `G\r\n${hidden}`)],
    ['a chunk that is too long', post('Transfer-Encoding: chunked\r\n', `1\r\nab\r\n0\r\n\r\n${hidden}`)],
    ['a header without a name', `${get('/hls/x.m3u8')}: x\r\n\r\n${hidden}`],
    ['a zero in a header', `${get('/hls/x.m3u8')}A: \0\r\n\r\n${hidden}`],
    ['no host', `GET /hls/x.m3u8 HTTP/1.1\r\n\r\n${hidden}`],
    ['a playlist with a body', `${get('/hls/x.m3u8')}Content-Length: ${hidden.length}\r\n\r\n${hidden}`],
    ['a stream with a body', `${get('/hls/x.flv')}Content-Length: ${hidden.length}\r\n\r\n${hidden}`],
    ['a stream with chunks', `${get('/hls/x.flv')}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`],
  ])('a request with %s gets no further, and hides none', async (_, bytes) => {
    const answer = await tell(gateway.ports.http, bytes)
    // Where a body breaks off there is none. Whatever follows on the connection is not taken for a request.
    expect(answer.match(/^HTTP\/1\.1 \d+/gm) ?? []).toEqual(
      answer === '' ? [] : [expect.stringMatching(/ 4\d\d$/)],
    )
    expect(files.requests.filter((line) => line.includes('smuggled') || line.includes('/x.'))).toEqual([])
    await bystanders.untilUnharmed()
  })

  test('requests come by the hundred on one connection, and heads and bodies without end', async () => {
    await tell(gateway.ports.http, `${get('/hls/run.m3u8')}\r\n`.repeat(500))
    await tell(gateway.ports.http, `${get('/hls/run.m3u8')}${'X: y\r\n'.repeat(50_000)}`)
    await tell(gateway.ports.http, `GET /${'a'.repeat(100_000)}.flv HTTP/1.1\r\nHost: x\r\n\r\n`)
    await tell(gateway.ports.http, post('Content-Length: 100000000\r\n', 'v=0\r\n'.repeat(1_000_000)))
    await tell(gateway.ports.http, post('Transfer-Encoding: chunked\r\n', 'FFFF;x=y\r\n'.repeat(100_000)))
    await tell(gateway.ports.http, `${get('/hls/run.m3u8')}Range: bytes=${'0-1,'.repeat(3_000)}0-1\r\n\r\n`)
    await bystanders.untilUnharmed()
  }, 60_000)

  test.each(['https', 'rtmps'] as const)(
    'no TLS, or half of it, comes to the %s port',
    async (name) => {
      const port = gateway.ports[name]
      const hello = Buffer.from('160301020001000001fc0303', 'hex')
      for (const bytes of [
        randomBytes(50_000),
        Buffer.alloc(50_000),
        hello,
        Buffer.concat([hello, randomBytes(1_000)]),
        Buffer.from('1603010005', 'hex'),
        Buffer.from('16030140ff', 'hex'),
        Buffer.from('15030100020228', 'hex'),
        Buffer.from(`${get('/hls/run.m3u8')}\r\n`),
        Buffer.concat([Buffer.from([3]), randomBytes(1_536)]),
      ]) {
        await tell(port, bytes)
      }
      await bystanders.untilUnharmed()
    },
    60_000,
  )

  test('frames that prove nothing come to the ICE-TCP port', async () => {
    for (const bytes of [
      randomBytes(10_000),
      Buffer.from([255, 255, ...randomBytes(3_000)]),
      Buffer.alloc(10_000),
      Buffer.from([0, 20, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, ...randomBytes(12)]),
      Buffer.from([0]),
    ]) {
      expect(await tell(tcpPort, bytes)).toBe('')
    }
    await bystanders.untilUnharmed()
  }, 60_000)

  test('registrations that are none, too large, too deep or of too many parts are refused', async () => {
    const sound = { ip: '127.0.0.1', server: 's', service: 's', pid: '1', rtmp: ['1'] }
    for (const body of [
      '['.repeat(500_000),
      `{"ip":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}`,
      JSON.stringify({ ...sound, summaries: 'x'.repeat(2_000_000) }),
      JSON.stringify({ ...sound, rtmp: Array.from({ length: 10_000 }, () => '1') }),
      JSON.stringify({ ...sound, rtmp: [{}] }),
      JSON.stringify({ ...sound, server: ['s'] }),
      JSON.stringify({ ...sound, server: 'a\nb' }),
      JSON.stringify({ ...sound, ip: '0.0.0.0' }),
      JSON.stringify({ ...sound, ip: 'http://10.0.0.1/' }),
      JSON.stringify({ ...sound, rtmp: ['70000'] }),
      JSON.stringify({ ...sound, weight: null }).replace('null', '1e400'),
      '\u0000'.repeat(1_000),
    ]) {
      const { status, text } = await ask('POST', gateway.registrationUrl, body)
      expect([status >= 400 && status < 500, text.includes('"code":0')]).toEqual([true, false])
    }
    await bystanders.untilUnharmed()
  }, 60_000)

  test('offers in JSON that are too deep, too large, or of the wrong types are refused', async () => {
    const sdp = iceOffer('abcdefgh', 'recvonly')
    for (const body of [
      '['.repeat(200_000),
      '{}',
      'null',
      JSON.stringify({ sdp: 1, streamurl: 'webrtc://h/rtc/s' }),
      JSON.stringify({ sdp: [sdp], streamurl: 'webrtc://h/rtc/s' }),
      JSON.stringify({ sdp, streamurl: { a: 1 } }),
      JSON.stringify({ sdp, streamurl: 'webrtc://h/../../x' }),
      JSON.stringify({ sdp, streamurl: `webrtc://h/${'a/'.repeat(10_000)}s` }),
      JSON.stringify({ sdp: `${sdp}${'a=x\r\n'.repeat(200_000)}`, streamurl: 'webrtc://h/rtc/s' }),
      JSON.stringify({ sdp: 'v=0\r\n', streamurl: 'webrtc://h/rtc/s' }),
    ]) {
      const { status, text } = await ask('POST', `${gateway.url}/rtc/v1/play/`, body)
      expect([status, text.includes('"code":0,')]).toEqual([200, false])
    }
    const nested = `${'['.repeat(30_000)}${']'.repeat(30_000)}`
    const body = `{"x":${nested},"streamurl":"webrtc://h/rtc/s","sdp":${JSON.stringify(sdp)}}`
    await ask('POST', `${gateway.url}/rtc/v1/play/`, body)
    await bystanders.untilUnharmed()
  }, 60_000)

  test('fragments that are none are refused, and their session goes on', async () => {
    const offered = await fetch(`${gateway.url}/rtc/patched/whep`, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp' },
      body: iceOffer('patched1', 'recvonly'),
    })
    const location = new URL(offered.headers.get('location') ?? '', gateway.url).href
    const type = { 'content-type': 'application/trickle-ice-sdpfrag' }
    for (const body of [
      '',
      randomBytes(5_000).toString('latin1'),
      'a=ice-ufrag:x\r\na=ice-pwd:y\r\n',
      `a=ice-ufrag:${'u'.repeat(10_000)}\r\n`,
      'a=candidate:1 1 udp 1 10.1.2.3 99999 typ host\r\n'.repeat(10_000),
      'x'.repeat(2_000_000),
    ]) {
      const { status } = await ask('PATCH', location, body, type)
      expect(status).not.toBe(200)
      expect(status).toBeLessThan(503)
    }
    expect((await ask('PATCH', location, 'a=x', { 'content-type': 'text/plain' })).status).toBe(415)
    expect(
      (await ask('PATCH', `${gateway.url}/rtc/v1/session/${'x'.repeat(5_000)}`, 'a=x', type)).status,
    ).toBe(404)
    expect((await ask('DELETE', location, undefined)).status).toBe(200)
    await bystanders.untilUnharmed()
  }, 60_000)

  test('paths that lead elsewhere, and ids that stand for nothing, lead nowhere', async () => {
    const id = /spbhid=([0-9a-f]{7})/.exec(await (await fetch(`${gateway.url}/hls/run.m3u8`)).text())?.[1]
    const before = files.requests.length
    for (const path of [
      '/hls/../../etc/passwd.m3u8',
      '/hls/..%2f..%2fsecret.m3u8',
      '/hls/%2e%2e/%2e%2e/secret.ts',
      '/hls%2frun.m3u8%00.ts',
      '/hls/..%5c..%5csecret.m4s',
      `/hls/@origin/inner/secret.ts?spbhid=${id}`,
      `/hls/@origin/../secret.ts?spbhid=${id}`,
      `/hls/@origin//127.0.0.1:1/x.ts?spbhid=${id}`,
      `/hls/@origin@127.0.0.1/x.ts?spbhid=${id}`,
      `/hls/other-1.ts?spbhid=${id}`,
      `/other/run-1.ts?spbhid=${id}`,
      `/hls/secret/x.m4s?spbhid=${id}`,
      `/hls/run-1.ts%2f..%2fsecret?spbhid=${id}`,
      '/hls/x.ts?spbhid=zzzzzzz',
      `/hls/x.ts?spbhid=${'f'.repeat(5_000)}`,
      '/hls/x.ts?spbhid=../../x',
      '/hls/x.ts?spbhid=0000000&spbhid=0000001',
      '/api/v1/clients/x.flv',
      '/api/v1/raw/x.m3u8?rpc=reload',
      '/.m3u8',
      '/hls/.m3u8',
      `/${'x/'.repeat(5_000)}y.m4s`,
    ]) {
      const answer = await tell(gateway.ports.http, `${get(path)}Connection: close\r\n\r\n`)
      expect([path, answer.slice(0, 10)]).toEqual([path, 'HTTP/1.1 4'])
    }
    const asked = files.requests.slice(before).filter((line) => /secret|passwd|other|@|%2f/i.test(line))
    expect(asked).toEqual([])
    await bystanders.untilUnharmed()
  }, 60_000)

  test('an origin without end, without sense or with much to tell gets no more than is its due', async () => {
    const names = [
      'endless',
      'endless-head',
      'one-line',
      'define',
      'quotes',
      'refused',
      'broken',
      'elsewhere',
      'junk',
      'gone',
      'no',
    ]
    for (const path of [
      ...names.map((name) => `/hls/${name}.m3u8`),
      '/hls/deep.mpd',
      '/hls/quotes.mpd',
      ...['refused', 'broken', 'elsewhere', 'junk', 'both', 'gone', 'no'].map((name) => `/hls/${name}.flv`),
    ]) {
      const { headers } = await ask('GET', `${gateway.url}${path}`, undefined)
      answers.push(JSON.stringify([...headers]))
    }
    await bystanders.untilUnharmed()
  }, 120_000)

  test('a balancer says nonsense before its connections', async () => {
    const v2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
    for (const port of [
      gateway.ports.http,
      gateway.ports.https,
      gateway.ports.rtmp,
      gateway.ports.rtmps,
      tcpPort,
    ]) {
      for (const bytes of [
        Buffer.from(`${get('/hls/run.m3u8')}\r\n`),
        Buffer.from('PROXY TCP4 999.0.0.1 1.1.1.1 1 2\r\n'),
        Buffer.from('PROXY TCP4 1.1.1.1 1.1.1.1 99999 2\r\n'),
        Buffer.from(`PROXY TCP6 ${'f'.repeat(1_000)}`),
        Buffer.from('PROXY'),
        Buffer.concat([v2, Buffer.from([0x21, 0x11, 0xff, 0xff]), Buffer.alloc(70_000)]),
        Buffer.concat([v2, Buffer.from([0x21, 0x11, 0, 4, 1, 2, 3, 4])]),
        Buffer.concat([v2, Buffer.from([0xff, 0xff, 0, 0])]),
        randomBytes(10_000),
      ]) {
        expect(await tell(port, bytes, balancerAddress)).toBe('')
      }
    }
    await bystanders.untilUnharmed()
  }, 120_000)
})

test('of all that nothing is left, nothing was told that is inside, and the log can be read', async () => {
  await bystanders.untilUnharmed()
  expect((await gateway.heapBytes()) - heapBefore).toBeLessThan(heapGrowthBytes)
  const inner = [files.port, demo.httpPort, demo.rtmpPort].map((port) => `:${port}`)
  // The last ones are faults of the gateway's own.
  for (const text of [
    ...inner,
    '/inner',
    'ECONNREFUSED',
    '10.20.30.40',
    'sluice-demo',
    'stand-in',
    '_INTERNAL',
  ]) {
    expect(answers.filter((answer) => answer.includes(text))).toEqual([])
  }
  expect(answers.length).toBeGreaterThan(100)

  const intervals = 1 + Math.ceil((performance.now() - startedAt) / 60_000)
  const lines = new Map<string, number>()
  for (const line of gateway.program.output.split('\n')) {
    const { level, component, msg, code, from, source, originId, origin } = JSON.parse(line) as Record<
      string,
      unknown
    >
    expect(level).not.toBe('error')
    const cause = JSON.stringify([component, msg, code, from ?? source, originId ?? origin])
    lines.set(cause, (lines.get(cause) ?? 0) + 1)
  }
  expect([...lines].filter(([, count]) => count > intervals)).toEqual([])
}, 120_000)

/** Sends bytes and gives what came back, once the gateway has closed, or has been silent for a while. */
async function tell(port: number, bytes: string | Uint8Array, localAddress = '127.0.0.1'): Promise<string> {
  const socket: Socket = connectTcp({ port, host: '127.0.0.1', localAddress })
  // The gateway may cut the connection while we still write.
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  let answer = ''
  const timer = setTimeout(() => socket.destroy(), 1_000)
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text
  })
  socket.write(bytes)
  await closed
  clearTimeout(timer)
  answers.push(answer)
  return answer
}

interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
}

async function ask(
  method: string,
  url: string,
  body: string | undefined,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers,
    redirect: 'manual',
    signal: AbortSignal.timeout(60_000),
    ...(body !== undefined && { body }),
  })
  const text = await response.text().catch(() => '')
  // The SDP of an answer names the gateway.
  answers.push(text.includes('a=candidate') ? '' : text)
  return { status: response.status, text, headers: response.headers }
}

/** Whoever calls the SRT port. */
class SrtCaller implements AsyncDisposable {
  readonly #socket = createSocket('udp4')
  readonly #port: number

  constructor(port: number) {
    this.#port = port
  }

  static async open(port: number): Promise<SrtCaller> {
    const caller = new SrtCaller(port)
    caller.#socket.bind(0, '127.0.0.1')
    await once(caller.#socket, 'listening')
    return caller
  }

  send(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(bytes, this.#port, '127.0.0.1', (error) => (error ? reject(error) : resolve()))
    })
  }

  /** What the gateway answers to a handshake. */
  async answer(to: Handshake): Promise<Handshake> {
    for (let tries = 0; tries < 20; tries++) {
      const answered = this.#answerTo(to)
      await this.send(encodeHandshake(to))
      const handshake = await answered
      if (handshake !== undefined) return handshake
    }
    throw new Error('the SRT port does not answer')
  }

  async cookie(socketId: number): Promise<number> {
    return (await this.answer(induction(socketId))).cookie
  }

  async call(socketId: number, streamId: string): Promise<Handshake> {
    return await this.answer(conclusion(socketId, await this.cookie(socketId), streamId))
  }

  #answerTo({ socketId, type }: Handshake): Promise<Handshake | undefined> {
    return new Promise((resolve) => {
      const done = (handshake?: Handshake): void => {
        clearTimeout(timer)
        this.#socket.off('message', onMessage)
        resolve(handshake)
      }
      const onMessage = (bytes: Buffer): void => {
        const handshake = decodeHandshake(bytes)
        if (typeof handshake === 'string' || handshake.destination !== socketId) return
        const isInduction = handshake.type === HandshakeType.induction
        if (isInduction === (type === HandshakeType.induction)) done(handshake)
      }
      const timer = setTimeout(done, 1_000)
      this.#socket.on('message', onMessage)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close()
    await once(this.#socket, 'close')
  }
}

function conclusion(socketId: number, cookie: number, streamId: string): Handshake {
  const text = Buffer.from(streamId)
  const content = Buffer.alloc((text.length + 3) & ~3)
  text.copy(content)
  return {
    ...induction(socketId),
    version: 5,
    extensionField: 5,
    type: HandshakeType.conclusion,
    cookie,
    extensions: [
      { type: 1, content: Buffer.from('00010501000000bf00780000', 'hex') },
      ...(text.length === 0 ? [] : [{ type: 5, content: content.swap32() }]),
    ],
  }
}
