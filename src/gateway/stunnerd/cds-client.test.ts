import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { ManualClock } from '../../foundation/clock.ts'
import { CdsClient } from './cds-client.ts'
import { keptLog } from './stunnerd.testkit.ts'

const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

/** A config discovery server. */
class FakeCds {
  readonly requests: string[] = []
  readonly sockets: WebSocket[] = []
  readonly origins: (string | undefined)[] = []
  answer: { readonly status: number; readonly body: string } = { status: 200, body: '' }
  /** Answers pings, as every WebSocket does. */
  autoPong = true
  readonly #http: Server = createServer((request, response) => this.#reply(request, response))
  port = 0

  async start(port = 0): Promise<void> {
    const ws = new WebSocketServer({ noServer: true, autoPong: this.autoPong })
    this.#http.on('upgrade', (request, socket, head) => {
      this.requests.push(request.url ?? '')
      this.origins.push(request.headers.origin)
      ws.handleUpgrade(request, socket, head, (client) => {
        this.sockets.push(client)
      })
    })
    this.#http.listen(port, '127.0.0.1')
    await once(this.#http, 'listening')
    this.port = (this.#http.address() as AddressInfo).port
    closing.push(() => this.stop())
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.terminate()
    this.#http.closeAllConnections()
    await new Promise((resolve) => this.#http.close(resolve))
  }

  get client(): WebSocket {
    const socket = this.sockets.at(-1)
    if (socket === undefined) throw new Error('nobody is connected')
    return socket
  }

  #reply(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(request.url ?? '')
    response.writeHead(this.answer.status).end(this.answer.body)
  }
}

async function open(options: { autoPong?: boolean; random?: number } = {}) {
  const cds = new FakeCds()
  cds.autoPong = options.autoPong ?? true
  await cds.start()
  const clock = new ManualClock()
  const log = keptLog()
  const client = new CdsClient({
    url: new URL(`http://127.0.0.1:${cds.port}`),
    id: 'ns/gw',
    node: 'node-1',
    logger: log.logger,
    clock,
    random: () => options.random ?? 0,
  })
  const delivered: string[] = []
  const watch = () => {
    const stop = client.watch((text) => delivered.push(text))
    closing.push(stop)
    return stop
  }
  const connected = (count: number) =>
    expect
      .poll(() => [cds.sockets.length, log.lines.filter((it) => it.includes('connected to')).length])
      .toEqual([count, count])
  return { cds, client, clock, log, delivered, watch, connected }
}

describe('without watching', () => {
  it('the configuration is asked for once', async () => {
    const { cds, client } = await open()
    cds.answer = { status: 200, body: '{"version":"v1"}' }
    expect(await client.load()).toBe('{"version":"v1"}')
    expect(cds.requests).toEqual(['/api/v1/configs/ns/gw?node=node-1'])
  })

  it('it is an error that the server has none, or none that fits', async () => {
    const { cds, client } = await open()
    cds.answer = { status: 404, body: '{}' }
    await expect(client.load()).rejects.toMatchObject({
      code: 'STUNNERD_CONFIG_UNAVAILABLE',
      message: expect.stringContaining('no configuration for "ns/gw"'),
    })
    cds.answer = { status: 500, body: '' }
    await expect(client.load()).rejects.toThrow('answers 500')
    cds.answer = { status: 200, body: 'x'.repeat(4 * 1024 * 1024 + 1) }
    await expect(client.load()).rejects.toThrow('over 4194304 bytes')
    await cds.stop()
    await expect(client.load()).rejects.toMatchObject({ code: 'STUNNERD_CONFIG_UNAVAILABLE' })
  })
})

describe('watching', () => {
  it('hands over every configuration that comes', async () => {
    const { cds, delivered, watch, connected, log } = await open()
    watch()
    await connected(1)
    expect(cds.requests).toEqual(['/api/v1/configs/ns/gw?watch=true&node=node-1'])
    expect(cds.origins).toEqual([`http://127.0.0.1:${cds.port}`])
    cds.client.send('one')
    cds.client.send('')
    cds.client.send(Buffer.from('binary'))
    cds.client.send('two')
    await expect.poll(() => delivered).toEqual(['one', 'two'])
    expect(log.lines.filter((it) => it.includes('without a configuration'))).toHaveLength(2)
  })

  it('pings, and lives as long as something is heard', async () => {
    const { cds, clock, watch, connected } = await open()
    watch()
    await connected(1)
    const after = clock.after.bind(clock)
    let heard = 0
    clock.after = (delayMs, callback) => {
      if (delayMs === 8000) heard++
      return after(delayMs, callback)
    }
    for (let i = 1; i <= 4; i++) {
      const ping = once(cds.client, 'ping')
      clock.advance(5000)
      expect(String(await ping)).toBe('keepalive')
      // The pong has come.
      await expect.poll(() => heard).toBe(i)
    }
    expect(cds.sockets).toHaveLength(1)
    expect(cds.client.readyState).toBe(cds.client.OPEN)
  })

  it('takes a connection on which nothing is heard for dead, and makes another one', async () => {
    const { cds, clock, log, watch, connected } = await open({ autoPong: false })
    watch()
    await connected(1)
    const ended = once(cds.client, 'close')
    clock.advance(8000)
    await ended
    await expect.poll(() => log.lines.join('')).toContain('nothing heard for 8000 ms')
    clock.advance(1000)
    await connected(2)
  })

  it('tries again ever more seldom, until a configuration has come', async () => {
    const { cds, clock, log, watch } = await open()
    const { port } = cds
    await cds.stop()
    watch()
    const delays: number[] = []
    for (let i = 1; i <= 7; i++) {
      await expect.poll(() => log.lines.length).toBe(i)
      const delayMs = Number(/delayMs=(\d+)/.exec(log.lines.at(-1) ?? '')?.[1])
      delays.push(delayMs)
      if (i < 7) clock.advance(delayMs)
    }
    expect(delays).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000, 10_000])

    const again = new FakeCds()
    await again.start(port)
    clock.advance(10_000)
    await expect.poll(() => again.sockets.length).toBe(1)
    const count = log.lines.length
    again.client.send('one')
    again.client.close()
    await expect.poll(() => log.lines.slice(count).join('')).toMatch(/delayMs=1000\b/)
  })

  it('does not come back in step with others', async () => {
    const { cds, log, watch } = await open({ random: 0.5 })
    await cds.stop()
    watch()
    await expect.poll(() => log.lines.join('')).toContain('delayMs=750')
  })

  it('cuts a server that sends too much', async () => {
    const { cds, delivered, log, watch, connected } = await open()
    watch()
    await connected(1)
    cds.client.on('error', () => {})
    cds.client.send('x'.repeat(4 * 1024 * 1024 + 1))
    await expect.poll(() => log.lines.join('')).toContain('Max payload size exceeded')
    expect(delivered).toEqual([])
  })

  it('leaves nothing behind when it ends, connected or not', async () => {
    const { cds, clock, watch, connected, log } = await open()
    const stop = watch()
    await connected(1)
    const ended = once(cds.client, 'close')
    stop()
    await ended
    await expect.poll(() => clock.pending).toBe(0)
    await cds.stop()
    const count = log.lines.length
    const stopWaiting = watch()
    await expect.poll(() => log.lines.length).toBe(count + 1)
    stopWaiting()
    expect(clock.pending).toBe(0)
    const stopConnecting = watch()
    stopConnecting()
    expect(clock.pending).toBe(0)
  })
})
