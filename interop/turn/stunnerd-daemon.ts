import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { makeCertificate, type TestCertificate } from '../../src/mechanisms/net/certificate.testkit.ts'
import { TestTurnClient, type TestTurnClientOptions } from '../../src/services/turn/turn-client.testkit.ts'
import { type Metrics, parseMetrics } from '../harness/metrics.ts'
import { Program, type ProgramEnd } from '../harness/program.ts'
import { repository } from '../harness/repository.ts'
import { temporaryFolder } from '../harness/temporary-folder.ts'
import type { TurnServerUnderTest, TurnTransport } from './turn-server.ts'

type Section = Readonly<Record<string, unknown>>

/** A configuration as STUNner's control plane writes it. */
export interface StunnerdConfigFile {
  readonly version: 'v1'
  readonly admin: Section
  readonly auth: Section
  readonly listeners: readonly StunnerdListenerSection[]
  readonly clusters: readonly Section[]
}

export type StunnerdListenerSection = Section & { readonly name: string; readonly port: number }

export interface StunnerdDaemonOptions {
  /** @defaultValue that of `stunnerdConfig` */
  readonly config?: StunnerdConfigFile
  /** Keys over those of `config`. @defaultValue none */
  readonly changes?: Partial<StunnerdConfigFile>
  /** Besides `-c` and `--log-format`. @defaultValue none */
  readonly flags?: readonly string[]
  /** What `-c` is given instead of a file. @defaultValue the file */
  readonly origin?: string
}

/** What a client of the daemon is told at its start. */
export const aUser = { username: 'user', password: 'pass' } as const

/** Every transport of its listeners. */
export const stunnerdTransports = ['udp', 'tcp', 'tls', 'dtls'] as const
export type StunnerdTransport = (typeof stunnerdTransports)[number]

/**
 * `sluice stunnerd`, as built: listeners `udp`, `tcp`, `tls` and `dtls`, the user `user`, and the cluster `media` with every
 * port of 127.0.0.1. Health and metrics are on free ports.
 */
export class StunnerdDaemon implements AsyncDisposable {
  readonly program: Program
  readonly file: string
  #config: StunnerdConfigFile
  readonly #folder: Disposable & { readonly path: string }
  readonly #isWatching: boolean

  static async start(options: StunnerdDaemonOptions = {}): Promise<StunnerdDaemon> {
    const { config = await stunnerdConfig(), changes } = options
    const daemon = new StunnerdDaemon({ ...config, ...changes }, options)
    try {
      await daemon.said('configured')
      return daemon
    } catch (error) {
      await daemon[Symbol.asyncDispose]()
      throw error
    }
  }

  private constructor(config: StunnerdConfigFile, { flags = [], origin }: StunnerdDaemonOptions = {}) {
    this.#config = config
    this.#folder = temporaryFolder()
    this.file = join(this.#folder.path, 'stunnerd.conf')
    this.#isWatching = flags.some((flag) => flag === '-w')
    this.#write(JSON.stringify(config))
    this.program = new Program(process.execPath, [
      ...[stunnerdMain(), 'stunnerd', '-c', origin ?? this.file],
      ...['--log-format', 'json', ...flags],
    ])
  }

  /** Puts a text into the place of the file, in one step as editors do: half of it is never seen. */
  #write(text: string): void {
    writeFileSync(`${this.file}.new`, text)
    renameSync(`${this.file}.new`, this.file)
  }

  /** What it was last given by `start` or `change`. */
  get config(): StunnerdConfigFile {
    return this.#config
  }

  /** Puts keys over those of `config`, and waits until the daemon has said what becomes of it, which it gives. */
  async change(changes: Partial<StunnerdConfigFile>): Promise<Section> {
    this.#config = { ...this.#config, ...changes }
    return await this.changeText(JSON.stringify(this.#config))
  }

  /** The same with any text; `config` stays. */
  async changeText(text: string): Promise<Section> {
    const nth = this.lines(VERDICT).length + 1
    this.offer(text)
    return await this.verdict(nth)
  }

  /** Writes a text into the file and sends SIGHUP, unless it is watched. */
  offer(text: string): void {
    this.#write(text)
    if (!this.#isWatching) this.program.kill('SIGHUP')
  }

  /** What is said of the nth configuration after the first one. */
  async verdict(nth: number): Promise<Section> {
    let seen = 0
    return await this.program.line((line) =>
      VERDICT.test(line) && ++seen === nth ? (JSON.parse(line) as Section) : undefined,
    )
  }

  /** The first line with a message. */
  async said(message: string): Promise<Section> {
    return await this.program.line((line) =>
      line.includes(`"msg":"${message}"`) ? (JSON.parse(line) as Section) : undefined,
    )
  }

  /** Its output so far, by the line. */
  lines(pattern = /^/): readonly string[] {
    return this.program.output.split('\n').filter((line) => pattern.test(line))
  }

  portOf(listener: string): number {
    return this.#config.listeners.find(({ name }) => name === listener)?.port ?? 0
  }

  /** What clients of the other helpers are told; they trust the certificate of the start. */
  underTest({
    listener,
    ...more
  }: {
    /** Which one stands for all transports. @defaultValue that of the transport's name */
    readonly listener?: string
  } & Partial<Pick<TurnServerUnderTest, 'credentials'>> = {}): TurnServerUnderTest {
    const certificateFile = join(this.#folder.path, 'ca.pem')
    writeFileSync(certificateFile, firstCertificate.cert)
    const port = (transport: string) => this.portOf(listener ?? transport)
    return {
      ...{ credentials: 'static', secret: 'north', realm: 'stunner.l7mp.io', ...aUser, ...more },
      ...{ certificateFile, keyFile: '' },
      ports: { udp: port('udp'), tcp: port('tcp'), tls: port('tls') },
      udp6Port: 0,
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    }
  }

  /** A client that is connected to the listener of its transport. */
  async client(
    transport: TurnTransport,
    options: Partial<TestTurnClientOptions> = {},
  ): Promise<TestTurnClient> {
    return await TestTurnClient.open({ ...aUser, transport, port: this.portOf(transport), ...options })
  }

  /** What an endpoint answers. */
  async ask(component: 'health' | 'metrics', path: string): Promise<{ status: number; text: string }> {
    // It may have moved; the last place is the one.
    const line = this.lines(new RegExp(`"component":"${component}".*"msg":"listening"`)).at(-1) ?? '{}'
    const { listen = 'nowhere' } = JSON.parse(line) as { readonly listen?: string }
    const response = await fetch(`http://${listen}${path}`)
    return { status: response.status, text: await response.text() }
  }

  async status(): Promise<Section> {
    return JSON.parse((await this.ask('health', '/status')).text) as Section
  }

  async metrics(): Promise<Metrics> {
    return parseMetrics((await this.ask('metrics', '/metrics')).text)
  }

  async stop(): Promise<ProgramEnd> {
    // The second of two signals ends it at once, whatever is left; two of a kind might become one.
    this.program.kill('SIGINT')
    return await this.program.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    this.#folder[Symbol.dispose]()
  }
}

/** What is said of a configuration after the first one; at levels of a configuration that has `all:INFO`. */
const VERDICT = /"msg":"configuration (?:changed|refused|without listeners)/

const firstCertificate: TestCertificate = await makeCertificate(['first.test', 'localhost'])

/** The configuration with which a daemon starts, on ports that are free. */
export async function stunnerdConfig(): Promise<StunnerdConfigFile> {
  const names = stunnerdTransports.map((transport) => ({ name: transport, transport }))
  return {
    version: 'v1',
    admin: {
      name: 'ns/gw',
      healthcheck_endpoint: 'http://127.0.0.1:0',
      metrics_endpoint: 'http://127.0.0.1:0/metrics',
    },
    auth: { credentials: aUser },
    listeners: await stunnerdListeners(names, { routes: ['media'] }),
    clusters: [{ name: 'media', endpoints: ['127.0.0.1'] }],
  }
}

/** Listeners of these names, each on a free port. */
export async function stunnerdListeners(
  names: readonly { readonly name: string; readonly transport: StunnerdTransport }[],
  keys: Section,
): Promise<readonly StunnerdListenerSection[]> {
  const ports = await freePorts(names.length)
  return names.map(({ name, transport }, i) => ({
    ...{ name, protocol: `TURN-${transport.toUpperCase()}`, address: '127.0.0.1', port: ports[i] ?? 0 },
    ...(transport === 'tls' || transport === 'dtls' ? certificateKeys(firstCertificate) : {}),
    ...keys,
  }))
}

/** A certificate and its key as listeners have them. */
export function certificateKeys({ cert, key }: TestCertificate): {
  readonly cert: string
  readonly key: string
} {
  return { cert: Buffer.from(cert).toString('base64'), key: Buffer.from(key).toString('base64') }
}

export function stunnerdMain(): string {
  const main = join(repository, 'dist/cli/main.js')
  if (!existsSync(main)) throw new Error(`${main} is missing; \`node tools/prepare.mjs\` builds it`)
  return main
}

/** Below the ports that systems hand out, so that nobody comes in between. */
let nextPort = 20_000 + (process.pid % 1000) * 10

/** STUNner takes 0 for the port of TURN, so ports have to be named: free ones, for UDP and TCP. */
async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = nextPort++
    if ((await isFreeOverUdp(port)) && (await isFreeOverTcp(port))) ports.push(port)
  }
  return ports
}

async function isFreeOverUdp(port: number): Promise<boolean> {
  const socket = createSocket('udp6')
  try {
    socket.bind(port)
    await once(socket, 'listening')
    return true
  } catch {
    return false
  } finally {
    socket.close()
  }
}

async function isFreeOverTcp(port: number): Promise<boolean> {
  const server = createServer().listen(port)
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
}
