import { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { readClientHello } from './client-hello.ts'

/** The first bytes that Node's own TLS client sends. */
function realHello(ALPNProtocols: string[]): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, callback) {
        resolve(chunk)
        callback()
      },
    })
    connect({ socket: wire, servername: 'a.example.com', ALPNProtocols }).on('error', () => {})
  })
}

it('reads the protocols that Node offers', async () => {
  expect(readClientHello(await realHello(['acme-tls/1', 'h2']))).toEqual({
    kind: 'hello',
    name: 'a.example.com',
    protocols: ['acme-tls/1', 'h2'],
  })
})

it('gives no protocols when none are offered', async () => {
  expect(readClientHello(await realHello([]))).toMatchObject({ kind: 'hello', protocols: [] })
})

it('never throws on changed bytes', async () => {
  const good = await realHello(['acme-tls/1', 'h2'])
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const bytes = Uint8Array.from(good)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      readClientHello(bytes)
    }),
    { numRuns: 2000 },
  )
})
