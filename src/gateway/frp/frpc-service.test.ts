import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { eventually } from '../../foundation/eventually.testkit.ts'
import type { FrpcConfig, LoadedConfig } from '../../mechanisms/frp-config/index.ts'
import { askWeb } from '../../services/tunnel/api/web-client.testkit.ts'
import { freePort } from '../../foundation/free-port.testkit.ts'
import { clientConfig, makeFolder, makeParts, run, runServer } from './frp-services.testkit.ts'
import { FrpcService } from './frpc-service.ts'

const proxy = (name: string, remotePort = 0) => ({ name, type: 'tcp', localPort: 9, remotePort })

interface Row {
  readonly name: string
  readonly status: string
  readonly remote_addr: string
}

/** Its proxies, by its web server; all must be there. */
async function statusOf(port: number): Promise<Readonly<Record<string, string>>> {
  const { json } = await askWeb({ address: '127.0.0.1', port, family: 'IPv4' }, '/api/status')
  const { tcp = [] } = json as { readonly tcp?: readonly Row[] }
  expect(tcp.filter(({ status }) => status !== 'running')).toEqual([])
  return Object.fromEntries(tcp.map(({ name, remote_addr }) => [name, remote_addr]))
}

async function namesOf(port: number): Promise<readonly string[]> {
  return Object.keys(await statusOf(port)).toSorted()
}

describe('a client as a service', () => {
  test('runs what `start` lists, reads its file again, and stays with it when that is wrong', async () => {
    const { parts, lines } = await makeParts()
    const [serverPort, webPort] = [await runServer(parts), await freePort()]
    const config = (raw: object): FrpcConfig =>
      clientConfig(serverPort, {
        webServer: { port: webPort },
        proxies: ['a', 'b', 'c'].map((name) => proxy(name)),
        ...raw,
      })
    const load = vi.fn<(strict?: boolean) => Promise<LoadedConfig<FrpcConfig>>>()
    const service = await run(
      new FrpcService(config({ start: ['a'] }), parts, { path: 'x', load, onStop: () => undefined }),
    )
    await eventually(async () => expect(await namesOf(webPort)).toEqual(['a']))

    load.mockResolvedValueOnce({ config: config({ start: ['b', 'c'] }), notes: ['a note'] })
    await service.reload({ strict: false })
    expect(load.mock.calls).toEqual([[false]])
    await eventually(async () => expect(await namesOf(webPort)).toEqual(['b', 'c']))
    expect(lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg)).toEqual(['a note'])

    load.mockRejectedValueOnce(new Error('line 3 is wrong'))
    await expect(service.reload()).rejects.toThrow('line 3 is wrong')
    expect(lines.at(-1)).toMatchObject({
      msg: 'the configuration is not reloaded',
      reason: 'line 3 is wrong',
    })
    expect(await namesOf(webPort)).toEqual(['b', 'c'])

    load.mockResolvedValueOnce({ config: config({}), notes: [] })
    await service.reload()
    await eventually(async () => expect(await namesOf(webPort)).toEqual(['a', 'b', 'c']))
  })

  test('puts its store above its file, `start` above both, also after a reload', async () => {
    const { parts } = await makeParts()
    const [serverPort, webPort] = [await runServer(parts), await freePort()]
    const [stored, filed] = [await freePort(), await freePort()]
    const path = join(makeFolder(), 'store.json')
    writeFileSync(path, JSON.stringify({ proxies: [proxy('a', stored), proxy('s'), proxy('not started')] }))
    const raw = {
      webServer: { port: webPort },
      store: { path },
      start: ['a', 'b', 's'],
      proxies: [proxy('a', filed), proxy('b')],
    }
    const service = await run(new FrpcService(clientConfig(serverPort, raw), parts))
    await eventually(async () => expect(await namesOf(webPort)).toEqual(['a', 'b', 's']))
    expect(await statusOf(webPort)).toMatchObject({ a: `127.0.0.1:${stored}` })
    service.apply(clientConfig(serverPort, { ...raw, start: [], proxies: [proxy('a', filed)] }))
    await eventually(async () => expect(await namesOf(webPort)).toEqual(['a', 'not started', 's']))
    expect(await statusOf(webPort)).toMatchObject({ a: `127.0.0.1:${stored}` })
  })

  test('with a store that is none does not start', async () => {
    const { parts } = await makeParts()
    const path = join(makeFolder(), 'store.json')
    writeFileSync(path, '[]')
    const service = new FrpcService(clientConfig(1, { store: { path } }), parts)
    await expect(service.start()).rejects.toMatchObject({ code: 'TUNNEL_BAD_OPTION' })
  })

  test('names the settings that want a restart, as often as they differ', async () => {
    const { parts, lines } = await makeParts()
    const before = clientConfig(7000, { proxies: [proxy('a')] })
    const service = new FrpcService(before, parts)
    expect(service.apply({ ...before, proxies: [], visitors: [], start: ['x'] })).toEqual([])
    expect(lines).toEqual([])
    const next = clientConfig(7001, { user: 'u', proxies: [proxy('b')], transport: { poolCount: 3 } })
    for (let round = 0; round < 2; round++) {
      expect(service.apply(next).toSorted()).toEqual(['serverPort', 'transport', 'user'])
    }
    expect(lines).toHaveLength(2)
    expect(lines[0]).toMatchObject({ level: 'warn', msg: 'settings that differ want a restart' })
  })

  test('without a file has nothing to read again', async () => {
    const { parts } = await makeParts()
    await expect(new FrpcService(clientConfig(7000), parts).reload()).resolves.toBeUndefined()
  })

  test('that cannot log in has closed its web server when it says so', async () => {
    const { parts } = await makeParts()
    const [serverPort, webPort] = [await runServer(parts), await freePort()]
    const raw = { webServer: { port: webPort }, auth: { token: 'wrong' } }
    const service = new FrpcService(clientConfig(serverPort, raw), parts)
    await expect(service.start()).rejects.toMatchObject({ code: 'TUNNEL_LOGIN_REFUSED' })
    await expect(statusOf(webPort)).rejects.toThrow('ECONNREFUSED')
  })
})
