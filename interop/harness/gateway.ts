import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Metrics, parseMetrics, total } from './metrics.ts'
import { Program, type ProgramEnd } from './program.ts'
import { repository } from './repository.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Where a running gateway listens, all on 127.0.0.1. */
export interface GatewayPorts {
  readonly http: number
  readonly rtmp: number
  readonly webrtc: number
  readonly srt: number
  /** Those that are not configured are NaN. */
  readonly https: number
  readonly rtmps: number
  readonly registration: number
  readonly admin: number
}

export interface GatewayOptions {
  /** `run`: origins register from outside; `demo`: with an origin and a page. @defaultValue 'run' */
  readonly command?: 'run' | 'demo'
  /** Keys of the configuration, over those that put every listener on a free port of 127.0.0.1. */
  readonly config?: Sections
  /** Lets `heapBytes` collect all garbage first. @defaultValue false */
  readonly collectsGarbage?: boolean
}

type Sections = { readonly [key: string]: unknown }

/** The gateway as a process, built and configured as a user has it. */
export class Gateway implements AsyncDisposable {
  readonly program: Program
  readonly ports: GatewayPorts

  constructor(program: Program, ports: GatewayPorts) {
    this.program = program
    this.ports = ports
  }

  get url(): string {
    return `http://127.0.0.1:${this.ports.http}`
  }

  get rtmpUrl(): string {
    return `rtmp://127.0.0.1:${this.ports.rtmp}`
  }

  /** Where an origin registers. */
  get registrationUrl(): string {
    return `http://127.0.0.1:${this.ports.registration}/api/v1/srs/register`
  }

  async metrics(): Promise<Metrics> {
    const response = await fetch(`http://127.0.0.1:${this.ports.admin}/metrics`)
    if (!response.ok) throw new Error(`/metrics answered ${response.status}`)
    return parseMetrics(await response.text())
  }

  /** What the heap of the process holds, of a gateway that `collectsGarbage`. */
  async heapBytes(): Promise<number> {
    let least = Number.POSITIVE_INFINITY
    // A look may come before the signal does, so one is not enough.
    for (let look = 0; look < 5; look++) {
      this.program.kill('SIGUSR2')
      least = Math.min(least, total(await this.metrics(), 'nodejs_heap_size_used_bytes'))
    }
    return least
  }

  /** Descriptors that the process has open. */
  openDescriptors(): number {
    return readdirSync(`/proc/${this.program.pid}/fd`).length
  }

  /** Sends SIGTERM and waits for the end. */
  async stop(): Promise<ProgramEnd> {
    return await this.program.stop(30_000)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

/** Starts a gateway. Resolves when it says that it is ready. */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  using folder = temporaryFolder()
  const program = gatewayProgram(folder.path, options)
  const ports = await program.readyLine((line) => {
    if (!line.includes('"gateway ready"')) return undefined
    return JSON.parse(line) as Record<keyof GatewayPorts, string | readonly string[]>
  })
  return new Gateway(program, {
    http: portOf(ports.http),
    rtmp: portOf(ports.rtmp),
    webrtc: portOf(ports.webrtc),
    srt: portOf(ports.srt),
    https: portOf(ports.https),
    rtmps: portOf(ports.rtmps),
    registration: portOf(ports.registration),
    admin: portOf(ports.admin),
  })
}

/** The same without waiting, for a gateway that is not expected to get far. Its file is written into `folder`. */
export function gatewayProgram(folder: string, options: GatewayOptions = {}): Program {
  const main = join(repository, 'dist/cli/main.js')
  if (!existsSync(main)) throw new Error(`${main} is missing; \`node tools/prepare.mjs\` builds it`)
  const file = join(folder, 'sluice.json')
  writeFileSync(file, JSON.stringify(merged(onLoopback, options.config ?? {})))
  const nodeOptions = options.collectsGarbage
    ? ['--expose-gc', '--import', join(repository, 'interop/harness/collect-garbage.mjs')]
    : []
  return new Program(process.execPath, [...nodeOptions, main, options.command ?? 'run', '-c', file])
}

const onLoopback: Sections = {
  registration: { listen: '127.0.0.1:0' },
  admin: { listen: '127.0.0.1:0' },
  media: {
    http: { listen: ['127.0.0.1:0'] },
    rtmp: { listen: ['127.0.0.1:0'] },
    srt: { listen: ['127.0.0.1:0'] },
    webrtc: { listen: '127.0.0.1:0', publicAddresses: [{ address: '127.0.0.1' }] },
  },
  shutdown: { graceSeconds: 0 },
}

function merged(base: Sections, over: Sections): Sections {
  const result: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const below = result[key]
    result[key] = isSections(below) && isSections(value) ? merged(below, value) : value
  }
  return result
}

function isSections(value: unknown): value is Sections {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function portOf(addresses: string | readonly string[]): number {
  const [first = ':NaN'] = [addresses].flat()
  return Number(first.slice(first.lastIndexOf(':') + 1))
}
