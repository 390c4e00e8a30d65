import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request } from 'node:http'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { ManualClock } from '../../foundation/clock.ts'
import { makeCertificate } from '../net/certificate.testkit.ts'
import { pieces, Reader, turns } from './conformance.testkit.ts'
import { memoryStreamPair } from './memory-stream.testkit.ts'
import { StreamDuplex } from './stream-duplex.ts'

function duplexes(): [StreamDuplex, StreamDuplex] {
  const [first, second] = memoryStreamPair({ windowBytes: 20_000 })
  return [new StreamDuplex(first), new StreamDuplex(second, { remoteAddress: '192.0.2.7', remotePort: 4711 })]
}

describe('StreamDuplex', () => {
  it('carries HTTP for an agent and a server of Node, several requests on one connection', async () => {
    let connections = 0
    const server = createServer((incoming, response) => {
      response.setHeader('x-from', `${incoming.socket.remoteAddress}:${incoming.socket.remotePort}`)
      incoming.pipe(response)
    })
    class OneAgent extends Agent {
      override createConnection(): StreamDuplex {
        connections++
        const [client, accepted] = duplexes()
        server.emit('connection', accepted)
        return client
      }
    }
    const agent = new OneAgent({ keepAlive: true, timeout: 60_000 })
    for (const length of [10, 3_000_000]) {
      const body = Buffer.concat(pieces(length, length))
      const call = request({ method: 'POST', host: 'test', agent })
      call.end(body)
      const [response] = (await once(call, 'response')) as [IncomingMessage]
      const parts: Buffer[] = []
      for await (const part of response) parts.push(part as Buffer)
      expect(Buffer.concat(parts).equals(body)).toBe(true)
      expect(response.headers['x-from']).toBe('192.0.2.7:4711')
      await turns()
    }
    expect(connections).toBe(1)
    agent.destroy()
    server.closeAllConnections()
  })

  it('an HTTP server that closes its connection ends the stream', async () => {
    const [client, accepted] = memoryStreamPair()
    const server = createServer((_, response) => response.setHeader('connection', 'close').end('bye'))
    server.emit('connection', new StreamDuplex(accepted))
    const reader = new Reader(client)
    reader.resume()
    client.write(Buffer.from('GET / HTTP/1.1\r\nhost: test\r\n\r\n'))
    await reader.ended
    expect(reader.bytes.toString()).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*bye$/)
    client.end()
    await reader.closed
    expect([reader.error, accepted.isClosed, accepted.error]).toEqual([undefined, true, undefined])
  })

  it('carries TLS', async () => {
    const { cert, key } = await makeCertificate()
    const [client, accepted] = duplexes()
    const server = new TLSSocket(accepted, { isServer: true, cert, key })
    server.pipe(server)
    const secure = connectTls({ socket: client, ca: cert, servername: 'localhost' })
    const body = Buffer.concat(pieces(5, 1_000_000))
    secure.end(body)
    const parts: Buffer[] = []
    for await (const part of secure) parts.push(part as Buffer)
    expect(Buffer.concat(parts).equals(body)).toBe(true)
  })

  it('carries a WebSocket', async () => {
    const server = createServer()
    const sockets = new WebSocketServer({ server })
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)))
    const client = new WebSocket('ws://test/', {
      createConnection: () => {
        const [ours, accepted] = duplexes()
        server.emit('connection', accepted)
        return ours
      },
    })
    await once(client, 'open')
    client.send(Buffer.alloc(100_000, 9))
    const [data] = (await once(client, 'message')) as [Buffer]
    expect(data.equals(Buffer.alloc(100_000, 9))).toBe(true)
    const closed = once(client, 'close')
    client.close()
    await closed
    sockets.close()
  })

  it('stops reading the stream while its own reader does not read', async () => {
    const [first, second] = memoryStreamPair({ windowBytes: 10_000 })
    const duplex = new StreamDuplex(second)
    const sent = await new Reader(first).fill(10_000_000)
    expect(sent).toBeLessThan(1_000_000)
    let got = 0
    duplex.on('data', (bytes: Buffer) => {
      got += bytes.length
    })
    await expect.poll(() => got).toBe(sent)
    duplex.destroy()
  })

  it('what came before the end is read also when the stream has closed since', async () => {
    const [first, second] = memoryStreamPair()
    const duplex = new StreamDuplex(second)
    duplex.end()
    first.write(Buffer.from('last words'))
    first.end()
    await turns()
    expect(await duplex.setEncoding('utf8').toArray()).toEqual(['last words'])
    if (!duplex.closed) await once(duplex, 'close')
    expect(second.isClosed).toBe(true)
  })

  it('a reset of the stream is its error; destroying it with an error resets the stream', async () => {
    const [first, second] = memoryStreamPair()
    const duplex = new StreamDuplex(second)
    const failed = once(duplex, 'error')
    duplex.resume()
    first.destroy(new Error('enough'))
    expect(await failed).toMatchObject([{ code: 'ECONNRESET' }])

    const [third, fourth] = memoryStreamPair()
    const other = new StreamDuplex(fourth)
    other.on('error', () => undefined)
    const reader = new Reader(third)
    reader.resume()
    other.destroy(new Error('enough'))
    await reader.closed
    expect(reader.error).toBeInstanceOf(Error)
    expect(fourth.error?.message).toBe('enough')
  })

  it('says `timeout` after so long without bytes either way, as a socket does', () => {
    const clock = new ManualClock()
    const [first, second] = memoryStreamPair()
    second.resume()
    const duplex = new StreamDuplex(first, { clock })
    let timeouts = 0
    duplex.setTimeout(1000, () => timeouts++)
    clock.advance(900)
    duplex.write('x')
    clock.advance(900)
    expect(timeouts).toBe(0)
    clock.advance(100)
    expect(timeouts).toBe(1)
    duplex.setTimeout(1000)
    duplex.destroy()
    expect(clock.pending).toBe(0)
  })
})
