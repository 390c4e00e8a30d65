import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { until } from './harness/until.ts'
import { clientHelloFor } from './tunnel/client-hello.ts'
import { hasRealFrp, type Make, startFrpc, startFrps } from './tunnel/frp-program.ts'
import { frpcText, frpsText, type PairOptions } from './tunnel/pair.ts'
import { connectThrough } from './tunnel/probes.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'
import { closeAll, listenLocally, portOf } from './tunnel/server-port.ts'

const pairs: { server: Make; client: Make }[] = [
  { server: 'sluice', client: 'sluice' },
  { server: 'sluice', client: 'frp' },
  { server: 'frp', client: 'sluice' },
]

describe.each(pairs)('frps of $server, frpc of $client', ({ server, client }) => {
  const isReal = server === 'frp' || client === 'frp'

  test.skipIf(isReal && !hasRealFrp)(
    'members of groups share the load, and when one is killed the other has it all',
    async () => {
      await using one = await NamedService.start('one')
      await using two = await NamedService.start('two')
      const [bindPort = 0, tcp = 0, http = 0, https = 0, connectPort = 0] = await freePorts(5)
      const serverMore = { vhostHTTPPort: http, vhostHTTPSPort: https, tcpmuxHTTPConnectPort: connectPort }
      await using frps = await startFrps(server, frpsText({ bindPort, serverMore }))
      const member = (service: NamedService): string => {
        const proxy = (type: string, localPort: number, more: object): object => ({
          name: `${type}-${service.name}`,
          type,
          localPort,
          loadBalancer: { group: `${type}-group`, groupKey: 'shared' },
          ...more,
        })
        const proxies = [
          proxy('tcp', service.tcp, { remotePort: tcp }),
          proxy('http', service.http, { customDomains: ['web.test'] }),
          proxy('https', service.tcp, { customDomains: ['secure.test'] }),
          proxy('tcpmux', service.tcp, { customDomains: ['mux.test'], multiplexer: 'httpconnect' }),
        ]
        return frpcText({ bindPort, proxies })
      }
      await using first = await startFrpc(client, member(one), 4)
      await using _second = await startFrpc(client, member(two), 4)
      const ways: Record<string, () => Promise<string>> = {
        tcp: () => nameFrom(connect(tcp, '127.0.0.1'), 'x'),
        http: () =>
          nameFrom(
            connect(http, '127.0.0.1'),
            'GET / HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n',
          ),
        https: () => nameFrom(connect(https, '127.0.0.1'), clientHelloFor('secure.test')),
        tcpmux: async () => nameFrom(await connectThrough(connectPort, 'mux.test:80'), 'x'),
      }
      for (const ask of Object.values(ways)) {
        await until(
          'both members answer',
          async () => new Set([await ask(), await ask(), await ask()]).size === 2,
        )
      }

      const stop = new AbortController()
      const failures: Record<string, number> = {}
      const load = Object.entries(ways).map(async ([way, ask]) => {
        while (!stop.signal.aborted) {
          await ask().catch(() => {
            failures[way] = (failures[way] ?? 0) + 1
          })
        }
      })
      first.program.kill('SIGKILL')
      await first.program.ended
      await frps.said('client exit success')
      // Whoever was on the way to it has had the time to arrive.
      for (const ask of Object.values(ways)) await ask().catch(() => undefined)
      const atTheEnd = { ...failures }
      for (const ask of Object.values(ways)) {
        for (let time = 0; time < 20; time++) expect(await ask()).toBe('two')
      }
      stop.abort()
      await Promise.all(load)
      // Each kind is asked one after the other: at most the one that was under way is lost.
      if (!isReal) expect(failures).toEqual(atTheEnd)
      for (const count of Object.values(atTheEnd)) expect(count).toBeLessThanOrEqual(isReal ? 5 : 2)
    },
    60_000,
  )

  describe.skipIf(isReal && !hasRealFrp).each(['tcp', 'http'])('a health check by %s', (type) => {
    test('takes a proxy out when its service fails, and puts it back', async () => {
      const service = await NamedService.start('one')
      const [bindPort = 0, remotePort = 0] = await freePorts(2)
      const localPort = type === 'tcp' ? service.tcp : service.http
      await service[Symbol.asyncDispose]()
      await using _frps = await startFrps(server, frpsText({ bindPort }))
      const options: PairOptions = {
        bindPort,
        proxies: [
          {
            name: 'checked',
            type: 'tcp',
            localPort,
            remotePort,
            healthCheck: { type, path: '/', intervalSeconds: 1, timeoutSeconds: 1, maxFailed: 2 },
          },
        ],
      }
      await using frpc = await startFrpc(client, frpcText(options), 0)
      await frpc.said('health check failed')
      expect(await isAccepted(remotePort)).toBe(false)
      for (let time = 0; time < 2; time++) {
        await using back = await NamedService.start(
          'one',
          type === 'tcp' ? { tcp: localPort } : { http: localPort },
        )
        await until('let in', () => isAccepted(remotePort), { deadlineMs: 15_000 })
        await back[Symbol.asyncDispose]()
        await until('taken out', async () => !(await isAccepted(remotePort)), { deadlineMs: 15_000 })
      }
    }, 60_000)
  })
})

async function isAccepted(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** The name at the end of all that is answered. */
async function nameFrom(socket: Socket, asked: string | Buffer): Promise<string> {
  const timer = setTimeout(() => socket.destroy(new Error('no answer')), 10_000)
  socket.write(asked)
  try {
    const answer = await text(socket)
    const name = /one|two/.exec(answer)
    if (name === null) throw new Error(`answered "${answer}"`)
    return name[0]
  } finally {
    clearTimeout(timer)
  }
}

/** Says its name to everyone who says something. */
class NamedService implements AsyncDisposable {
  readonly name: string
  readonly #servers: readonly Server[]
  #isOver = false

  private constructor(name: string) {
    this.name = name
    const tcp = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end(name))
    })
    this.#servers = [tcp, createHttpServer((_request, response) => response.end(name))]
  }

  static async start(
    name: string,
    ports: { readonly tcp?: number; readonly http?: number } = {},
  ): Promise<NamedService> {
    const service = new NamedService(name)
    for (const [index, server] of service.#servers.entries()) {
      await listenLocally(server, index === 0 ? ports.tcp : ports.http)
    }
    return service
  }

  get tcp(): number {
    return portOf(this.#servers[0])
  }

  get http(): number {
    return portOf(this.#servers[1])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    await closeAll(this.#servers)
  }
}
