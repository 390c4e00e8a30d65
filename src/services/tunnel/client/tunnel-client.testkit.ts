import { expect } from 'vitest'
import { eventually } from '../../../foundation/eventually.testkit.ts'
import { ManualClock } from '../../../foundation/clock.ts'
import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { createDatapath, type Datapath } from '../../../mechanisms/datapath/index.ts'
import type { FrpcConfig } from '../../../mechanisms/frp-config/index.ts'
import { type MemoryStream, memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { createLogger } from '../../../mechanisms/telemetry/index.ts'
import type { ClientAuth } from '../auth/contract.ts'
import type { LocalService } from './local-dialer.ts'
import { type FakeConnection, FakeServer, type FakeServerOptions } from './fake-server.testkit.ts'
import { TunnelClient } from './tunnel-client.ts'

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

/** A connection that the client made to a local service: the service's end of it. */
export interface LocalConnection extends LocalService {
  readonly stream: MemoryStream
}

/** A client of a fake server, under a clock that is moved by hand. */
export function clientOfFake(
  config: FrpcConfig,
  options: FakeServerOptions = {},
  auth: Partial<ClientAuth> = {},
  datapath: Datapath = createDatapath({ engine: 'node' }),
) {
  const clock = new ManualClock()
  const server = new FakeServer({ version: config.transport.wireProtocol, ...options })
  const lines: LogLine[] = []
  const logger = createLogger({
    level: 'debug',
    stream: { write: (line) => void lines.push(JSON.parse(line) as LogLine) },
  })
  const locals: LocalConnection[] = []
  /** Why local services cannot be reached. */
  const local: { failure: Error | undefined } = { failure: undefined }
  const nothing = { privilege_key: '', timestamp: 0 }
  const client = new TunnelClient({
    config,
    auth: {
      token: 'secret',
      login: async () => ({ privilege_key: 'proof', timestamp: 1 }),
      ping: async () => nothing,
      newWorkConn: async () => nothing,
      ...auth,
    },
    connect: server.connect,
    datapath,
    clock,
    logger,
    random: (length) => new Uint8Array(length).fill(128),
    dialLocal: async (service) => {
      if (local.failure !== undefined) throw local.failure
      const [near, far] = memoryStreamPair()
      locals.push({ ...service, stream: far })
      return near
    },
  })
  return { client, server, clock, lines, locals, local }
}

/** What a stream is given, from now on. */
export interface Reading {
  text(): string
  isEnded: boolean
  isClosed: boolean
  error: Error | undefined
}

export function reading(stream: ByteStream): Reading {
  const chunks: Buffer[] = []
  const result: Reading = {
    text: () => Buffer.concat(chunks).toString(),
    isEnded: false,
    isClosed: false,
    error: undefined,
  }
  stream.attach({
    onBytes: (bytes) => chunks.push(Buffer.from(bytes)) > 0,
    onEnd: () => {
      result.isEnded = true
    },
    onDrain: () => undefined,
    onClose: (error) => {
      result.isClosed = true
      result.error = error
    },
  })
  stream.resume()
  return result
}

/** Until what memory streams have under way has arrived. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve))
}

type FakeClient = ReturnType<typeof clientOfFake>

/** Clients of fake servers that are closed by `closeAll`. */
export class FakeClients {
  readonly #clients: TunnelClient[] = []

  make(...parts: Parameters<typeof clientOfFake>): FakeClient {
    const made = clientOfFake(...parts)
    this.#clients.push(made.client)
    return made
  }

  /** A client that has logged in, whose proxies the server has accepted. */
  async running(config: FrpcConfig, options?: FakeServerOptions): Promise<FakeClient> {
    const made = this.make(config, options)
    await made.client.start()
    made.server.acceptProxies()
    await settle()
    return made
  }

  async closeAll(): Promise<void> {
    for (const client of this.#clients.splice(0)) await client.close()
  }
}

/** Has the client open a work connection, and gives it to a proxy; the stream is the user's end. */
export async function startWork(
  server: FakeServer,
  proxyName: string,
  behind?: Buffer,
): Promise<{ readonly connection: FakeConnection; readonly stream: ByteStream }> {
  const before = server.works.length
  server.control.channel.send('ReqWorkConn', {})
  await eventually(() => expect(server.works).toHaveLength(before + 1))
  const connection = server.works[before] ?? fail()
  connection.channel.send('StartWorkConn', {
    proxy_name: proxyName,
    src_addr: '9.8.7.6',
    src_port: 1000,
    dst_port: 6000,
  })
  if (behind !== undefined) connection.channel.sendRaw(behind)
  return { connection, stream: connection.channel.detach() }
}

export function fail(): never {
  throw new Error('not expected')
}
