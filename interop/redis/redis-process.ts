import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../src/foundation/free-port.testkit.ts'
import { makeCertificate, type TestCertificate } from '../../src/mechanisms/net/certificate.testkit.ts'
import { Program, runProgram } from '../harness/program.ts'
import { temporaryFolder } from '../harness/temporary-folder.ts'
import { until } from '../harness/until.ts'
import { type RespAddress, RespClient, type RespReply } from './resp-client.ts'

export interface RedisOptions {
  /** Settings as the command line takes them, `['--maxmemory', '64mb']`; they win over those below. */
  readonly args?: readonly string[]
  readonly password?: string
  /** A user of the access list who may do everything; nobody else can log in then. Needs `password`. */
  readonly user?: string
  /** TLS only, with this certificate or, if true, one of its own for localhost and 127.0.0.1. @defaultValue false */
  readonly tls?: boolean | TestCertificate
  /** @defaultValue a free one */
  readonly port?: number
  /** Whether data survives its end, a kill too. @defaultValue false */
  readonly isPersistent?: boolean
}

/** Starts a redis-server on 127.0.0.1. Resolves when it answers. @throws Error with the end of its log */
export async function startRedis(options: RedisOptions = {}): Promise<RedisProcess> {
  const { port = await freePort(), password, user, tls = false, isPersistent = false, args = [] } = options
  if (user !== undefined && password === undefined) throw new Error('a user needs a password')
  const folder = temporaryFolder()
  const certificate = tls === true ? await makeCertificate() : tls
  const settings = [
    'bind 127.0.0.1',
    'daemonize no',
    `dir ${folder.path}`,
    'save ""',
    ...(isPersistent ? ['appendonly yes', 'appendfsync always'] : []),
    ...(password !== undefined && user === undefined ? [`requirepass "${password}"`] : []),
    ...(user === undefined ? [] : ['user default off', `user ${user} on ">${password}" ~* &* +@all`]),
  ]
  if (certificate === false) settings.push(`port ${port}`)
  else {
    writeFileSync(join(folder.path, 'cert.pem'), certificate.cert)
    writeFileSync(join(folder.path, 'key.pem'), certificate.key)
    settings.push('port 0', `tls-port ${port}`, 'tls-auth-clients no')
    settings.push(`tls-cert-file ${folder.path}/cert.pem`, `tls-key-file ${folder.path}/key.pem`)
    settings.push(`tls-ca-cert-file ${folder.path}/cert.pem`)
  }
  const file = join(folder.path, 'redis.conf')
  writeFileSync(file, settings.join('\n'))
  const ca = certificate === false ? undefined : certificate.cert
  const redis = new RedisProcess({ port, user, password, ca }, folder, [file, ...args])
  try {
    await redis.start()
  } catch (error) {
    await redis.stop()
    throw error
  }
  return redis
}

/** A redis-server, as Sentinel too. `await using` ends it; its folder goes with it. */
export class RedisProcess implements AsyncDisposable {
  readonly address: RespAddress
  readonly #folder: Disposable & { readonly path: string }
  readonly #command: readonly string[]
  #program: Program | undefined

  constructor(
    address: RespAddress,
    folder: Disposable & { readonly path: string },
    command: readonly string[],
  ) {
    this.address = address
    this.#folder = folder
    this.#command = command
  }

  get port(): number {
    return this.address.port
  }

  /** Of the process that runs at present; another one after `restart`. */
  get pid(): number {
    if (this.#program === undefined) throw new Error('this redis-server has never run')
    return this.#program.pid
  }

  get isRunning(): boolean {
    return this.#program?.isRunning ?? false
  }

  /** Its address with user and password, as Redis URLs have it. */
  get url(): string {
    const { user, password, ca, port } = this.address
    const login = password === undefined ? '' : `${user ?? ''}:${encodeURIComponent(password)}@`
    return `${ca === undefined ? 'redis' : 'rediss'}://${login}127.0.0.1:${port}`
  }

  /** The authority of its certificate, PEM. @throws Error when it speaks no TLS */
  get ca(): string {
    if (this.address.ca === undefined) throw new Error('this redis-server speaks no TLS')
    return this.address.ca
  }

  /** The same as a file. @throws Error when it speaks no TLS */
  get caFile(): string {
    return this.ca && join(this.#folder.path, 'cert.pem')
  }

  /** What it has logged since its last start. */
  get log(): string {
    return this.#program?.output ?? ''
  }

  /** Starts it; resolves when it answers. @throws Error with the end of its log */
  async start(): Promise<void> {
    const program = new Program('redis-server', this.#command)
    this.#program = program
    try {
      const state = await until(
        `redis-server at ${this.port}`,
        async () => (program.isRunning ? (await this.command('PING')) === 'PONG' && 'ready' : 'ended'),
        { everyMs: 10, deadlineMs: 20_000 },
      )
      if (state === 'ended') throw new Error(`redis-server at ${this.port} ended`)
    } catch (error) {
      const tail = this.log.split('\n').slice(-20).join('\n')
      throw new Error(`${error instanceof Error ? error.message : String(error)}:\n${tail}`, { cause: error })
    }
  }

  /** Runs a command over a connection of its own. @throws Error when Redis refuses it or is away */
  async command(...words: readonly (string | number)[]): Promise<RespReply> {
    using client = await RespClient.open(this.address)
    return await client.command(...words)
  }

  /** A connection for many commands; whoever asks for it closes it. */
  connect(): Promise<RespClient> {
    return RespClient.open(this.address)
  }

  /** What redis-cli prints for a command where nobody looks: values without quotes, one a line. */
  async cli(...words: readonly (string | number)[]): Promise<string> {
    const { port, user, password, ca } = this.address
    return await runProgram(
      'redis-cli',
      [
        ...['-p', `${port}`],
        ...(user === undefined ? [] : ['--user', user]),
        ...(ca === undefined ? [] : ['--tls', '--cacert', this.caFile]),
        ...words.map(String),
      ],
      password === undefined ? {} : { env: { REDISCLI_AUTH: password } },
    )
  }

  /** Stops it where it is: its connections stay open, and nothing is answered until `resume`. */
  async pause(): Promise<void> {
    this.#program?.kill('SIGSTOP')
    const file = `/proc/${this.pid}/status`
    await until('a stopped process', () => /^State:\s+T/m.test(readFileSync(file, 'utf8')), { everyMs: 1 })
  }

  resume(): void {
    this.#program?.kill('SIGCONT')
  }

  /** Ends it as a crash does. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#program?.kill('SIGKILL')
    await this.#program?.ended
  }

  /** Ends it if it runs and starts it again at the same port, without its data unless it is persistent. */
  async restart(): Promise<void> {
    await this.#end()
    await this.start()
  }

  /** Ends it for good. May be called twice. */
  async stop(): Promise<void> {
    await this.#end()
    this.#folder[Symbol.dispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #end(): Promise<void> {
    // One that is stopped would hear of its end only when it goes on.
    this.resume()
    await this.#program?.stop()
  }
}
