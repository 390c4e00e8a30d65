import { describe, expect, test } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import type { FrpClient } from './frp-client.testkit.ts'
import { login, say, start, user } from './loopback.testkit.ts'
import { freePort } from '../../../foundation/free-port.testkit.ts'

/** Answers each user with its name. */
function serveName(client: FrpClient, name: string): void {
  client.serve((stream) => {
    stream.write(Buffer.from(name))
    stream.end()
    stream.resume()
  })
}

describe('a group of tcp proxies', () => {
  test('is served by its members in turn, and by those who are left', async () => {
    const served = await start()
    const [a, b] = [await login(served), await login(served)]
    serveName(a, 'a')
    serveName(b, 'b')
    const group = { group: 'g', group_key: 'k', remote_port: await freePort() }
    const port = await a.register({ proxy_name: 'a', ...group })
    await b.register({ proxy_name: 'b', ...group })
    expect([await say(port, ''), await say(port, ''), await say(port, '')]).toEqual(['a', 'b', 'a'])
    // The founder goes.
    await a.close()
    await eventually(() => expect(served.server.clients()).toHaveLength(1))
    expect([await say(port, ''), await say(port, '')]).toEqual(['b', 'b'])
    b.control.channel.send('CloseProxy', { proxy_name: 'b' })
    b.control.channel.send('Ping', {})
    await b.control.next('Pong')
    await expect(user(port)).rejects.toThrow('ECONNREFUSED')
  })

  test('is not joined by who does not agree, in words of frp', async () => {
    const served = await start()
    const client = await login(served)
    const group = { group: 'g', group_key: 'k', remote_port: await freePort() }
    await client.register({ proxy_name: 'a', ...group })
    const other = await login(served)
    const errorOf = async (request: object): Promise<string> =>
      (await other.ask({ proxy_name: 'b', ...group, ...request })).error
    expect(await errorOf({ group_key: 'x' })).toBe('group auth failed')
    expect(await errorOf({ remote_port: group.remote_port - 1 })).toBe('group should have same remote port')
    expect(await errorOf({ group: 'h' })).toBe('port already used')
    expect(await errorOf({})).toBe('')
  })

  test('is founded by two at once, on one port, which is free when both have gone at once', async () => {
    const served = await start()
    const [a, b] = [await login(served), await login(served)]
    const group = { group: 'g', group_key: 'k', remote_port: await freePort() }
    const ports = await Promise.all([
      a.register({ proxy_name: 'a', ...group }),
      b.register({ proxy_name: 'b', ...group }),
    ])
    expect(ports).toEqual([group.remote_port, group.remote_port])
    await Promise.all([a.close(), b.close()])
    await eventually(() => expect(served.server.clients()).toEqual([]))
    const c = await login(served)
    expect(await c.register({ proxy_name: 'c', remote_port: group.remote_port })).toBe(group.remote_port)
  })

  test('whose port is taken cannot be founded, and leaves no group', async () => {
    const served = await start()
    const client = await login(served)
    const port = await client.register({ proxy_name: 'p' })
    const group = { group: 'g', group_key: 'k' }
    expect((await client.ask({ proxy_name: 'a', ...group, remote_port: port })).error).toBe(
      'port already used',
    )
    await client.register({ proxy_name: 'a', ...group, group_key: 'other', remote_port: 0 })
  })

  test('may be left and founded anew in one breath', async () => {
    const served = await start()
    const client = await login(served)
    const request = { proxy_name: 'a', group: 'g', group_key: 'k', remote_port: await freePort() }
    await client.register(request)
    client.control.channel.send('CloseProxy', { proxy_name: 'a' })
    expect(await client.register({ ...request, group_key: 'new' })).toBe(request.remote_port)
  })
})

describe('proxies with domains', () => {
  test('are told where they are reached, and conflict in words of frp', async () => {
    const port = await freePort()
    const served = await start({ raw: { vhostHTTPPort: port, subDomainHost: 'frp.example' } })
    const client = await login(served)
    const request = { proxy_type: 'http', custom_domains: ['A.example'], subdomain: 'web' }
    expect(await client.ask({ proxy_name: 'p', ...request })).toMatchObject({
      error: '',
      remote_addr: `a.example:${port},web.frp.example:${port}`,
    })
    expect((await client.ask({ proxy_name: 'q', ...request })).error).toBe('router config conflict')
    // Of the one that conflicts in its second domain nothing is left.
    const half = { proxy_type: 'http', custom_domains: ['b.example', 'a.example'] }
    expect((await client.ask({ proxy_name: 'q', ...half })).error).toBe('router config conflict')
    expect((await client.ask({ proxy_name: 'q', ...half, custom_domains: ['b.example'] })).error).toBe('')
    expect((await client.ask({ proxy_name: 'r', ...request, locations: ['/x'] })).error).toBe('')
    expect((await client.ask({ proxy_name: 's', ...request, route_by_http_user: 'u' })).error).toBe('')
  })

  test('are served on the port of clients when they share it', async () => {
    const port = await freePort()
    const served = await start({ raw: { bindPort: port, vhostHTTPPort: port } })
    const client = await login(served)
    client.serve((stream) => {
      stream.attach({
        onBytes: () => {
          stream.write(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'))
          return true
        },
        onEnd: () => stream.end(),
        onDrain: () => undefined,
        onClose: () => undefined,
      })
      stream.resume()
    })
    await client.register({ proxy_name: 'p', proxy_type: 'http', custom_domains: ['127.0.0.1'] })
    const answer = await fetch(`http://127.0.0.1:${port}/`)
    expect(await answer.text()).toBe('ok')
  })
})
