import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeCertificate } from '../../src/mechanisms/net/certificate.testkit.ts'
import { TestTurnClient, type TestTurnClientOptions } from '../../src/services/turn/turn-client.testkit.ts'
import { gatewayProgram } from '../harness/gateway.ts'
import { type Metrics, parseMetrics } from '../harness/metrics.ts'
import type { Program, ProgramEnd } from '../harness/program.ts'
import { temporaryFolder } from '../harness/temporary-folder.ts'
import type { TurnServerUnderTest, TurnTransport } from './turn-server.ts'

type Section = Readonly<Record<string, unknown>>

export interface TurnGatewayOptions {
  /** Keys of `[turn]` over those of `TurnGateway`. */
  readonly turn?: Section
  /** Other sections. */
  readonly config?: Section
  /** @defaultValue auto */
  readonly engine?: 'auto' | 'node'
}

/** An allocation as the admin API shows it. */
export interface ShownAllocation {
  readonly id: string
  readonly userId: string
  readonly listener: string
  readonly client: string
  readonly relayed: readonly string[]
  readonly peers: readonly string[]
  readonly since: string
  readonly expires: string
  readonly sent: { readonly packets: number; readonly bytes: number }
  readonly received: { readonly packets: number; readonly bytes: number }
  readonly peerTraffic: readonly object[]
}

/**
 * `sluice run` with a TURN server: listeners `udp`, `tcp` and `tls` on 127.0.0.1, the user `user`, the secret `north`, and
 * peers on loopback. Its file can be changed while it runs.
 */
export class TurnGateway implements AsyncDisposable {
  readonly program: Program
  /** By the name of the listener. */
  readonly ports: Readonly<Record<string, number>>
  readonly adminUrl: string
  readonly certificateFile: string
  readonly keyFile: string
  /** Its configuration. */
  readonly file: string
  /** What was in it at the start. */
  readonly #config: string
  readonly #folder: Disposable
  #reloads = 0

  static async start({
    turn = {},
    config = {},
    engine = 'auto',
  }: TurnGatewayOptions = {}): Promise<TurnGateway> {
    const folder = temporaryFolder()
    const files = { certFile: join(folder.path, 'cert.pem'), keyFile: join(folder.path, 'key.pem') }
    await writeCertificate(files, 'first.test')
    const whole = {
      datapath: { engine },
      ...config,
      turn: { ...turnSection(files), ...turn },
    }
    const program = gatewayProgram(folder.path, { config: whole })
    const ready = await program.line((line) => {
      if (!line.includes('"gateway ready"')) return undefined
      return JSON.parse(line) as { readonly turn: Record<string, number>; readonly admin: string }
    })
    return new TurnGateway(program, ready, { ...files, folder })
  }

  private constructor(
    program: Program,
    { turn, admin }: { readonly turn: Record<string, number>; readonly admin: string },
    {
      certFile,
      keyFile,
      folder,
    }: { certFile: string; keyFile: string; folder: Disposable & { path: string } },
  ) {
    this.program = program
    this.ports = turn
    this.adminUrl = `http://${admin}`
    this.certificateFile = certFile
    this.keyFile = keyFile
    this.file = join(folder.path, 'sluice.json')
    this.#config = readFileSync(this.file, 'utf8')
    this.#folder = folder
  }

  /** What clients of the other helpers are told. */
  underTest(user: { readonly username: string; readonly password: string } = aUser): TurnServerUnderTest {
    return {
      credentials: 'static',
      ...user,
      secret: 'north',
      realm: 'sluice',
      certificateFile: this.certificateFile,
      keyFile: this.keyFile,
      ports: { udp: this.ports['udp'] ?? 0, tcp: this.ports['tcp'] ?? 0, tls: this.ports['tls'] ?? 0 },
      udp6Port: 0,
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    }
  }

  /** A client that is connected. */
  async client(
    transport: TurnTransport,
    options: Partial<TestTurnClientOptions> = {},
  ): Promise<TestTurnClient> {
    return await TestTurnClient.open({ ...aUser, transport, port: this.ports[transport] ?? 0, ...options })
  }

  /** Puts another certificate into the files. */
  async replaceCertificate(name: string): Promise<void> {
    await writeCertificate({ certFile: this.certificateFile, keyFile: this.keyFile }, name)
  }

  /** Changes keys of `[turn]` in the file, sends SIGHUP and waits for what is said of it, which it gives. */
  async reload(turn: Section): Promise<Readonly<Record<string, unknown>>> {
    const { turn: before, ...others } = JSON.parse(this.#config) as { readonly turn: Section }
    return await this.hangUp(JSON.stringify({ ...others, turn: { ...before, ...turn } }))
  }

  /** The same with any text in the file. */
  async hangUp(text: string): Promise<Readonly<Record<string, unknown>>> {
    writeFileSync(this.file, text)
    this.program.kill('SIGHUP')
    const wanted = ++this.#reloads
    let seen = 0
    return await this.program.line((line) => {
      if (!/"configuration (?:read again|not taken)/.test(line) || ++seen < wanted) return undefined
      return JSON.parse(line) as Record<string, unknown>
    })
  }

  async allocations(): Promise<readonly ShownAllocation[]> {
    const { body } = await this.ask('GET', '/api/v1/turn/allocations')
    return (body as { allocations: ShownAllocation[] }).allocations
  }

  async ask(method: string, path: string): Promise<{ readonly status: number; readonly body: unknown }> {
    const response = await fetch(`${this.adminUrl}${path}`, { method })
    return { status: response.status, body: await response.json() }
  }

  async metrics(): Promise<Metrics> {
    return parseMetrics(await (await fetch(`${this.adminUrl}/metrics`)).text())
  }

  async stop(): Promise<ProgramEnd> {
    return await this.program.stop(30_000)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    this.#folder[Symbol.dispose]()
  }
}

export const aUser = { username: 'user', password: 'pass' } as const

function turnSection(files: { readonly certFile: string; readonly keyFile: string }): Section {
  return {
    listeners: listenersOf(files),
    relays: [{ address: '127.0.0.1' }],
    peers: { allow: ['127.0.0.0/8'] },
    credentials: { users: [aUser], secrets: ['north'] },
    limits: { newPeersPerSecond: 0, strangerRepliesPerSecond: 0 },
  }
}

/** The three listeners, with these keys on top. */
export function listenersOf(
  files: { readonly certFile: string; readonly keyFile: string },
  more: Readonly<Partial<Record<TurnTransport, Section>>> = {},
): readonly Section[] {
  const listen = '127.0.0.1:0'
  return [
    { name: 'udp', transport: 'udp', listen, ...more.udp },
    { name: 'tcp', transport: 'tcp', listen, ...more.tcp },
    { name: 'tls', transport: 'tls', listen, ...files, ...more.tls },
  ]
}

async function writeCertificate(
  { certFile, keyFile }: { readonly certFile: string; readonly keyFile: string },
  name: string,
): Promise<void> {
  const { cert, key } = await makeCertificate([name, 'localhost'])
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key)
}
