import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runProgram } from './harness/program.ts'
import { until } from './harness/until.ts'
import { commandOf, FrpProgram, hasRealFrp, type Make, startFrpc, startFrps } from './tunnel/frp-program.ts'
import { LocalServices } from './tunnel/local-services.ts'
import { LongEcho } from './tunnel/long-echo.ts'
import { frpcText, Pair, type PairOptions } from './tunnel/pair.ts'
import { askHttp, askHttps, connectThrough, echoTcp, echoUdp } from './tunnel/probes.ts'
import { freePorts } from '../src/foundation/free-port.testkit.ts'
import { clientConfig, proxyCount, type RigPorts, rigPorts, serverConfig, type Way } from './tunnel/rig.ts'

let services: LocalServices

beforeAll(async () => {
  services = await LocalServices.start()
})

afterAll(async () => {
  await services[Symbol.asyncDispose]()
})

const pairs: { server: Make; client: Make }[] = [
  { server: 'sluice', client: 'sluice' },
  { server: 'sluice', client: 'frp' },
  { server: 'frp', client: 'sluice' },
]
const way: Way = { mux: true, tls: true, wire: 'v1', encryption: false, compression: false }

describe.each(pairs)('frps of $server, frpc of $client', ({ server, client }) => {
  const isReal = server === 'frp' || client === 'frp'

  describe.skipIf(isReal && !hasRealFrp)('under traffic', () => {
    test('a reload leaves what is unchanged alone, moves what is changed and ends what is gone', async () => {
      const [bindPort = 0, admin = 0, kept = 0, from = 0, to = 0, gone = 0, added = 0] = await freePorts(7)
      const proxy = (name: string, remotePort: number): object => ({
        name,
        type: 'tcp',
        localPort: services.echo,
        remotePort,
      })
      const options = (proxies: readonly object[]): PairOptions => ({
        server,
        client,
        bindPort,
        clientMore: { webServer: { port: admin } },
        proxies,
      })
      await using pair = await Pair.start(
        options([proxy('kept', kept), proxy('moved', from), proxy('gone', gone)]),
      )
      using echo = await LongEcho.start(kept)
      await echo.goesOn()

      pair.frpc.rewrite(frpcText(options([proxy('kept', kept), proxy('moved', to)])))
      const [command, ...args] = commandOf('frpc', client)
      expect(await runProgram(command, [...args, 'reload', '-c', pair.frpc.file])).toContain('reload success')
      await until('moved', () => isServed(to))
      for (const port of [from, gone]) await until('no longer served', async () => !(await isServed(port)))
      await echo.goesOn()

      if (client === 'frp') return
      // frp knows the API only.
      pair.frpc.rewrite(frpcText(options([proxy('kept', kept), proxy('added', added)])))
      pair.frpc.program.kill('SIGHUP')
      await until('added', () => isServed(added))
      await until('no longer served', async () => !(await isServed(to)))
      await echo.goesOn()
    }, 60_000)
  })

  describe.skipIf(isReal && !hasRealFrp).each([true, false])('mux %s', (mux) => {
    test('when the server was killed and is started again, its clients return and all proxies serve within 10 s', async () => {
      const ports = await rigPorts()
      const frps = await startFrps(server, serverConfig(ports, { mux }))
      await using _first = frps
      await using _frpc = await startFrpc(client, clientConfig(ports, { ...way, mux }, services), proxyCount)
      await serveAll(ports)

      frps.program.kill('SIGKILL')
      await frps.program.ended
      await using _second = await startFrps(server, serverConfig(ports, { mux }))
      const sinceMs = performance.now()
      await until('the client has returned', () => isServed(ports.tcp), { deadlineMs: 10_000 })
      await until('all proxies serve', async () => {
        await serveAll(ports)
        return true
      })
      expect(performance.now() - sinceMs).toBeLessThan(10_000)
    }, 60_000)

    test('when the client was killed, its names and ports are free at once', async () => {
      const ports = await rigPorts()
      await using frps = await startFrps(server, serverConfig(ports, { mux }))
      const config = clientConfig(ports, { ...way, mux }, services)
      await using first = await startFrpc(client, config, proxyCount)
      await serveAll(ports)

      first.program.kill('SIGKILL')
      await first.program.ended
      await using second = new FrpProgram('frpc', client, config)
      await second.saidTimes('start proxy success', proxyCount)
      await serveAll(ports)
      for (const { output } of [frps, second])
        expect(output).not.toMatch(/already exists|already used|unavailable/)
    }, 60_000)
  })
})

async function isServed(port: number): Promise<boolean> {
  try {
    const connection = connect(port, '127.0.0.1')
    await once(connection, 'connect')
    await echoTcp(port, 10, connection)
    return true
  } catch {
    return false
  }
}

async function serveAll(ports: RigPorts): Promise<void> {
  await echoTcp(ports.tcp, 1000)
  await echoTcp(ports.stcp, 1000)
  await echoTcp(0, 1000, await connectThrough(ports.connect, 'mux.test:80'))
  await echoUdp(ports.udp, [100])
  await echoUdp(ports.sudp, [100])
  expect((await askHttp(ports.http, 'web.test')).status).toBe(200)
  expect(await askHttps(ports.https, 'secure.test')).toContain('"url":"/secure"')
}
