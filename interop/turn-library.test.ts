import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestTurnClient } from '../src/services/turn/turn-client.testkit.ts'
import { Program } from './harness/program.ts'
import { repository } from './harness/repository.ts'
import { runUclient } from './turn/uclient.ts'

const user = { username: 'change-me', password: 'change-me-too' }

let program: Program
let ports: { readonly udp: number; readonly tcp: number }

beforeAll(async () => {
  if (!existsSync(join(repository, 'dist/services/turn/index.js'))) {
    throw new Error('dist is missing; `node tools/prepare.mjs` builds it')
  }
  // As its users do, but for the port.
  const options = { cwd: repository, env: { PORT: '0' } }
  program = new Program(process.execPath, ['examples/turn-server.mjs'], options)
  ports = await program.line((line) => {
    if (!line.includes('"TURN server ready"')) return undefined
    return (JSON.parse(line) as { readonly listeners: typeof ports }).listeners
  })
})

afterAll(async () => {
  await program.stop()
})

describe('examples/turn-server.mjs', () => {
  test.each(['udp', 'tcp'] as const)('relays between its clients, by %s', async (transport) => {
    const told = { ...server, ports: { ...ports, tls: 0 } }
    const report = await runUclient(told, { transport, flags: ['-y', '-m', '2'] })
    expect(report).toMatchObject({ sent: 40, received: 40, lost: 0, errors: [] })
  })

  test('lets nobody reach this machine', async () => {
    await using client = await TestTurnClient.open({ ...user, port: ports.udp })
    await client.allocate()
    await expect(client.bind({ address: '127.0.0.1', port: 9 })).rejects.toMatchObject({ code: 403 })
  })

  test('says who has an allocation, and ends when it is told to', async () => {
    await using client = await TestTurnClient.open({ ...user, port: ports.udp })
    const { relayed } = await client.allocate()
    const told = `"userId":"change-me","relayed":["${relayed.address}:${relayed.port}"]`
    await program.line((line) => (line.includes(told) ? true : undefined))
    program.kill('SIGINT')
    expect(await program.ended).toEqual({ code: 0, signal: null })
  })
})

/** What `runUclient` is told of a server. */
const server = {
  credentials: 'static',
  ...user,
  secret: '',
  realm: 'example.org',
  certificateFile: '',
  keyFile: '',
  udp6Port: 0,
  [Symbol.asyncDispose]: async () => {},
} as const
