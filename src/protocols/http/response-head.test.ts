import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bodyFraming, type HeadProgress, ResponseHeadParser } from './response-head.ts'

function parse(text: string, method = 'GET'): HeadProgress {
  return new ResponseHeadParser(method).push(Buffer.from(text, 'latin1'))
}

function parseChunked(bytes: Buffer, cuts: readonly number[]): HeadProgress {
  const parser = new ResponseHeadParser('GET')
  let at = 0
  for (const cut of [...cuts, bytes.length]) {
    const end = Math.min(bytes.length, Math.max(at, cut))
    const progress = parser.push(bytes.subarray(at, end))
    if (progress.kind === 'head') return { ...progress, consumed: at + progress.consumed }
    if (progress.kind === 'bad') return progress
    at = end
  }
  return { kind: 'more' }
}

describe('ResponseHeadParser', () => {
  it('reads the head of a live stream and says where the body begins', () => {
    const text = 'HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nTransfer-Encoding: chunked\r\nX: \r\n\r\n'
    expect(parse(`${text}9\r\nFLV`)).toEqual({
      kind: 'head',
      head: {
        minorVersion: 1,
        status: 200,
        reason: 'OK',
        headers: [
          { name: 'Content-Type', value: 'video/x-flv' },
          { name: 'Transfer-Encoding', value: 'chunked' },
          { name: 'X', value: '' },
        ],
      },
      framing: { kind: 'chunked' },
      consumed: text.length,
    })
  })

  it('takes blanks off around a value, and no time over those within', () => {
    // Were the time quadratic, the test would not end in its time.
    const value = `a${' '.repeat(300_000)}b`
    const parser = new ResponseHeadParser('GET', { maxBytes: 1 << 20 })
    expect(parser.push(Buffer.from(`HTTP/1.1 200 OK\r\nX: \t${value} \t\r\n\r\n`))).toMatchObject({
      head: { headers: [{ name: 'X', value }] },
    })
  })

  it('skips interim responses, also over chunks', () => {
    const interim = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n'
    const text = `${interim}HTTP/1.0 404 Not Found\r\n\r\nbody`
    for (let cut = 0; cut <= text.length; cut++) {
      const progress = parseChunked(Buffer.from(text), [cut])
      expect(progress).toMatchObject({ kind: 'head', head: { status: 404 }, consumed: text.length - 4 })
    }
  })

  it.each([
    ['HTTP/1.1 200\r\n\r\n', ''],
    ['HTTP/1.1 200 \r\n\r\n', ''],
    ['HTTP/1.1 200 Tr\xe8s bien\r\n\r\n', 'Tr\xe8s bien'],
  ])('accepts the status line of %j', (text, reason) => {
    expect(parse(text)).toMatchObject({ kind: 'head', head: { reason } })
  })

  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH'],
    ['another version', 'HTTP/2 200 OK\r\n\r\n'],
    ['no status', 'HTTP/1.1 OK\r\n\r\n'],
    ['a status out of range', 'HTTP/1.1 600 No\r\n\r\n'],
    ['an upgrade', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['a folded header', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'],
    ['a blank before the colon', 'HTTP/1.1 200 OK\r\nA : b\r\n\r\n'],
    ['a header without a colon', 'HTTP/1.1 200 OK\r\nA\r\n\r\n'],
    ['an empty header name', 'HTTP/1.1 200 OK\r\n: b\r\n\r\n'],
    ['a bare line feed', 'HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n'],
    ['a bare carriage return', 'HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n'],
    ['a NUL', 'HTTP/1.1 200 OK\r\nA: \0\r\n\r\n'],
    ['two equal lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n'],
    ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n'],
    ['an empty length', 'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n'],
    ['a huge length', 'HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n'],
    ['length and coding', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['two codings', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n'],
    ['coding twice', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ])('refuses %s', (_, text) => {
    expect(parse(text).kind).toBe('bad')
  })

  it('refuses a head over the limit, however slowly it comes', () => {
    const parser = new ResponseHeadParser('GET', { maxBytes: 1000 })
    expect(parser.push(Buffer.from('HTTP/1.1 200 OK\r\nA: ')).kind).toBe('more')
    let progress: HeadProgress = { kind: 'more' }
    let pushed = 0
    while (progress.kind === 'more' && pushed++ < 2000) progress = parser.push(Buffer.from('a'))
    expect(progress).toEqual({ kind: 'bad', reason: 'head exceeds 1000 bytes' })
    expect(pushed).toBeLessThan(1000)
  })

  it('counts interim responses towards the limit', () => {
    const endless = 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(5000)
    expect(parse(endless).kind).toBe('bad')
  })

  it('refuses too many headers', () => {
    expect(parse(`HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(201)}\r\n`).kind).toBe('bad')
    expect(parse(`HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(200)}\r\n`).kind).toBe('head')
  })

  it('gives the same for any chunking', () => {
    const header = fc.record({
      name: fc.stringMatching(/^[a-zA-Z-]{1,12}$/),
      value: fc.stringMatching(/^[a-z0-9;=/]{0,30}$/),
    })
    fc.assert(
      fc.property(
        fc.integer({ min: 200, max: 599 }),
        fc.array(header, { maxLength: 10 }),
        fc.uint8Array({ maxLength: 50 }),
        fc.array(fc.nat(400), { maxLength: 8 }),
        (status, headers, body, cuts) => {
          fc.pre(headers.every(({ name }) => !/^(content-length|transfer-encoding)$/i.test(name)))
          const lines = headers.map(({ name, value }) => `${name}:  ${value}\t\r\n`).join('')
          const head = Buffer.from(`HTTP/1.1 ${status} Some reason\r\n${lines}\r\n`)
          const progress = parseChunked(
            Buffer.concat([head, body]),
            cuts.sort((a, b) => a - b),
          )
          expect(progress).toMatchObject({ kind: 'head', consumed: head.length })
          if (progress.kind === 'head') expect(progress.head).toMatchObject({ status, headers })
        },
      ),
    )
  })

  it('never throws on any bytes, and never consumes more than it was given', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isPrefixed) => {
        const input = isPrefixed ? Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n'), bytes]) : bytes
        const progress = new ResponseHeadParser('GET').push(input)
        if (progress.kind === 'head') expect(progress.consumed).toBeLessThanOrEqual(input.length)
      }),
      { numRuns: 2000 },
    )
  })
})

const head = (status: number, name?: string, value = '') => ({
  minorVersion: 1,
  status,
  reason: '',
  headers: name === undefined ? [] : [{ name, value }],
})

describe('bodyFraming', () => {
  it.each([
    ['GET', head(200, 'Content-Length', '12'), { kind: 'length', bytes: 12 }],
    ['HEAD', head(200, 'Content-Length', '12'), { kind: 'none' }],
    ['GET', head(304, 'Content-Length', '12'), { kind: 'none' }],
    ['GET', head(204), { kind: 'none' }],
    ['GET', head(200, 'Transfer-Encoding', 'Chunked'), { kind: 'chunked' }],
    ['GET', head(200), { kind: 'until-close' }],
  ] as const)('of a %s with %o', (method, response, framing) => {
    expect(bodyFraming(response, method)).toEqual(framing)
  })
})
