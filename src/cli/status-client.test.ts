import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { freePort } from '../foundation/free-port.testkit.ts'
import { AdminClient } from './status-client.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-admin-'))
})
afterAll(() => rm(folder, { recursive: true }))

const opened: Server[] = []
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const server of opened.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

/** Answers every request so, and keeps what it was asked. */
async function answering(status: number, body: string): Promise<{ port: number; asked: unknown[] }> {
  const asked: unknown[] = []
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      asked.push([request.method, request.url, request.headers.authorization, text])
      response.writeHead(status, { Location: '/elsewhere' }).end(body)
    })
  })
  opened.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as AddressInfo).port, asked }
}

async function configWith(admin: object): Promise<string> {
  const file = join(folder, 'sluice.json')
  await writeFile(file, JSON.stringify({ admin }))
  return file
}

const schema = z.object({ ok: z.boolean() })

describe('where a gateway is asked', () => {
  it('is what is named, else what the configuration has', async () => {
    const { port, asked } = await answering(200, '{"ok":true}')
    const config = await configWith({ listen: `127.0.0.1:${port}` })
    const everywhere = await configWith({ listen: `${port}` })
    for (const options of [
      { admin: `http://127.0.0.1:${port}` },
      { admin: `127.0.0.1:${port}` },
      { admin: `localhost:${port}` },
      { config },
      { config: everywhere },
    ]) {
      const client = await AdminClient.open(options)
      expect(await client.ask('GET', '/api/v1/x?y=1', schema)).toEqual({ ok: true })
    }
    expect(asked).toEqual(Array.from({ length: 5 }, () => ['GET', '/api/v1/x?y=1', undefined, '']))
    const client = await AdminClient.open({ config })
    expect(client.place).toBe(`127.0.0.1:${port}`)
    await client.ask('POST', '/api/v1/y', schema, { a: 1 })
    expect(asked.at(-1)).toEqual(['POST', '/api/v1/y', undefined, '{"a":1}'])
  })

  it.each([
    [{ listen: '0.0.0.0:81' }, '127.0.0.1:81'],
    [{ listen: '[::]:81' }, '[::1]:81'],
    [{ listen: '10.0.0.5:81' }, '10.0.0.5:81'],
    [{}, '127.0.0.1:9190'],
  ])('with %j it is %s', async (admin, place) => {
    expect((await AdminClient.open({ config: await configWith(admin) })).place).toBe(place)
  })

  it.each(['', 'ftp://a', 'http://a/path', 'http://user@a', 'a b', 'http://'])(
    '"%s" is no address',
    async (admin) => {
      await expect(AdminClient.open({ admin })).rejects.toMatchObject({ code: 'ADMIN_BAD_ADDRESS' })
    },
  )

  it('a configuration without a fixed port is told', async () => {
    const config = await configWith({ listen: '127.0.0.1:0' })
    await expect(AdminClient.open({ config })).rejects.toMatchObject({ code: 'ADMIN_BAD_ADDRESS' })
    expect((await AdminClient.open({ config, admin: '127.0.0.1:1' })).place).toBe('127.0.0.1:1')
  })
})

describe('the token', () => {
  it('is that of the option, else of the environment, else of the configuration', async () => {
    const { port, asked } = await answering(200, '{"ok":true}')
    const config = await configWith({ listen: `127.0.0.1:${port}`, token: 'configured' })
    const ask = async (options: object): Promise<unknown> => {
      await (await AdminClient.open({ config, ...options })).ask('GET', '/', schema)
      return (asked.at(-1) as unknown[])[2]
    }
    expect(await ask({})).toBe('Bearer configured')
    vi.stubEnv('SLUICE_ADMIN_TOKEN', '')
    expect(await ask({})).toBe('Bearer configured')
    vi.stubEnv('SLUICE_ADMIN_TOKEN', 'environment')
    expect(await ask({})).toBe('Bearer environment')
    expect(await ask({ token: 'option' })).toBe('Bearer option')
  })
})

describe('a failure', () => {
  it('to connect names the place', async () => {
    const port = await freePort()
    const client = await AdminClient.open({ admin: `127.0.0.1:${port}` })
    await expect(client.ask('GET', '/', schema)).rejects.toMatchObject({
      code: 'ADMIN_UNREACHABLE',
      message: expect.stringMatching(new RegExp(`127\\.0\\.0\\.1:${port}: .*ECONNREFUSED`)),
    })
  })

  it('of a name that leads nowhere has words too', async () => {
    const port = await freePort()
    const client = await AdminClient.open({ admin: `localhost:${port}` })
    await expect(client.ask('GET', '/', schema)).rejects.toMatchObject({
      message: expect.stringMatching(/: .*ECONNREFUSED/),
    })
  })

  it.each([
    ['without a token', {}, 'wants a token'],
    ['with a wrong one', { token: 'wrong' }, 'does not take this token'],
  ])('%s says so, and never the token', async (_, options, words) => {
    const { port } = await answering(401, '{"error":{"code":"API_UNAUTHORIZED","message":"m"}}')
    const client = await AdminClient.open({ admin: `127.0.0.1:${port}`, ...options })
    const error: unknown = await client.ask('GET', '/', schema).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'ADMIN_TOKEN_REFUSED', message: expect.stringContaining(words) })
    expect(String(error)).not.toContain('"wrong"')
  })

  it('of the gateway keeps its code and words', async () => {
    const { port } = await answering(409, '{"error":{"code":"ADMIN_IS_ENDING","message":"on its way"}}')
    const client = await AdminClient.open({ admin: `127.0.0.1:${port}` })
    await expect(client.ask('GET', '/', schema)).rejects.toMatchObject({
      code: 'ADMIN_IS_ENDING',
      message: 'on its way',
    })
  })

  it.each([
    [200, 'hello'],
    [200, '{"ok":1}'],
    [404, '{"error":"no"}'],
    [302, '{"ok":true}'],
    [500, ''],
  ])('%d %s is not how a gateway answers', async (status, body) => {
    const { port } = await answering(status, body)
    const client = await AdminClient.open({ admin: `127.0.0.1:${port}` })
    await expect(client.ask('GET', '/', schema)).rejects.toMatchObject({ code: 'ADMIN_BAD_ANSWER' })
  })

  it('of something that speaks no HTTP is told', async () => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.write('SSH-2.0-x\r\n', () => socket.destroy())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const client = await AdminClient.open({ admin: `127.0.0.1:${port}` })
    await expect(client.ask('GET', '/', schema)).rejects.toMatchObject({ code: 'ADMIN_UNREACHABLE' })
    await new Promise((resolve) => server.close(resolve))
  })
})
