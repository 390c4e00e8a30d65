/**
 * Records conversations with the real programs for `tunnel-recorded.test.ts`, by hand, when there is a newer frp:
 *
 *     SLUICE_FRPS=... SLUICE_FRPC=... npx tsx interop/tunnel/record.ts
 *
 * The real server's side is recorded towards our client, whose hello its ciphers depend on (wire v2).
 */
import { randomBytes } from 'node:crypto'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { frpcConfigOf } from '../../src/mechanisms/frp-config/index.ts'
import { runProgram } from '../harness/program.ts'
import { until } from '../harness/until.ts'
import { Conversation, type Side } from './conversation.ts'
import { commandOf, type FrpProgram, startFrpc, startFrps } from './frp-program.ts'
import { startClient } from './in-process.ts'
import { LocalServices } from './local-services.ts'
import { freePorts } from '../../src/foundation/free-port.testkit.ts'
import { act, type UserPorts } from './recorded-user.ts'
import { recordedClient, type RecordedPorts, recordedServer } from './recorded-config.ts'
import {
  type Action,
  hear,
  type Recorded,
  type RecordedEvent,
  recordedProxies,
  recordedToken,
  recordings,
  remotePort,
  writeRecording,
} from './recording.ts'
import { closeAll, listenLocally, portOf } from './server-port.ts'

const actions: readonly Action[] = [
  'tcp',
  'layers',
  'http',
  'https',
  'connect',
  'udp',
  'stcp',
  'sudp',
  'close',
]

async function record(which: Recorded): Promise<RecordedEvent[]> {
  await using services = await LocalServices.start()
  const [server = 0, http = 0, https = 0, connectPort = 0, stcp = 0, sudp = 0, admin = 0] = await freePorts(7)
  const ports = { server, http, https, connect: connectPort, stcp, sudp, admin }
  await using _frps = await startFrps('frp', JSON.stringify(recordedServer(which, ports)))
  await using tap = await Tap.start(server, which)
  const throughTap = { ...ports, server: tap.port }
  const raw = (isWhole: boolean): object => recordedClient(which, throughTap, services, isWhole)
  if (which.real === 'client') {
    await using frpc = await startFrpc('frp', JSON.stringify(raw(true)), recordedProxies.length)
    // The second login has a run id, by which work connections are known.
    tap.record()
    return await tap.actAll(throughTap, () => reload(frpc, raw(false)))
  }
  tap.record()
  await using running = await startClient(raw(true), randomBytes)
  return await tap.actAll(throughTap, async () =>
    running.client.update(frpcConfigOf(raw(false), { env: {} }).config),
  )
}

async function reload(frpc: FrpProgram, raw: object): Promise<void> {
  frpc.rewrite(JSON.stringify(raw))
  const [command, ...args] = commandOf('frpc', 'frp')
  await runProgram(command, [...args, 'reload', '-c', frpc.file])
}

/** Stands between client and server and notes what passes. */
class Tap implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #events: RecordedEvent[] = []
  readonly #conversation: Conversation
  #isRecording = false
  #connections = 0
  #lastMs = 0

  private constructor(server: Server, serverPort: number, which: Recorded) {
    this.#server = server
    this.#conversation = new Conversation({ ...which, token: recordedToken })
    server.on('connection', (client: Socket) =>
      this.#join(client, connect({ port: serverPort, host: '127.0.0.1', allowHalfOpen: true })),
    )
  }

  static async start(serverPort: number, which: Recorded): Promise<Tap> {
    const server = createServer({ allowHalfOpen: true })
    await listenLocally(server)
    return new Tap(server, serverPort, which)
  }

  get port(): number {
    return portOf(this.#server)
  }

  /** Cuts all that is there; what comes from now on is noted. */
  record(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#isRecording = true
  }

  async actAll(ports: RecordedPorts, close: () => Promise<void>): Promise<RecordedEvent[]> {
    const said = this.#conversation
    await until(
      'all is ready',
      () => said.bodies('NewProxyResp').length === recordedProxies.length && startsOf(said, 'udp') > 0,
      {
        deadlineMs: 60_000,
      },
    )
    const portOf = (name: string) => (): number => remotePort(said, name)
    const users: UserPorts = {
      tcp: portOf('tcp'),
      layers: portOf('layers'),
      udp: portOf('udp'),
      http: () => ports.http,
      https: () => ports.https,
      connect: () => ports.connect,
      stcp: () => ports.stcp,
      sudp: () => ports.sudp,
    }
    for (const action of actions) {
      await this.#quiet()
      this.#events.push({ action })
      await (action === 'close' ? close() : act(action, users))
    }
    await until('the rest', () => said.bodies('CloseProxy').length > 0 && said.bodies('Pong').length > 0)
    await this.#quiet()
    this.#isRecording = false
    return this.#events
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await closeAll([this.#server])
  }

  /** Nothing has passed for a while, so that what follows is an answer to what follows. */
  async #quiet(): Promise<void> {
    await until('quiet', () => performance.now() - this.#lastMs > 200, { everyMs: 20 })
  }

  #join(client: Socket, server: Socket): void {
    const connection = this.#isRecording ? this.#connections++ : undefined
    this.#pass(connection, 'client', client, server)
    this.#pass(connection, 'server', server, client)
  }

  #pass(connection: number | undefined, from: Side, source: Socket, target: Socket): void {
    this.#sockets.add(source)
    const note = (event: RecordedEvent): void => {
      if (connection === undefined || !this.#isRecording) return
      this.#events.push(event)
      hear(this.#conversation, event)
      this.#lastMs = performance.now()
    }
    source.on('data', (bytes) => {
      if (connection !== undefined) note({ connection, from, bytes: bytes.toString('base64') })
      target.write(bytes)
    })
    source.on('end', () => {
      if (connection !== undefined) note({ connection, from, end: true })
      target.end()
    })
    source.on('error', () => target.destroy())
    source.on('close', () => {
      this.#sockets.delete(source)
      target.destroy()
    })
  }
}

function startsOf(conversation: Conversation, name: string): number {
  return conversation.bodies('StartWorkConn').filter(({ proxy_name }) => proxy_name === name).length
}

for (const which of recordings) {
  const events = await record(which)
  writeRecording({ ...which, events })
  process.stdout.write(`${JSON.stringify(which)}: ${events.length} events\n`)
}
