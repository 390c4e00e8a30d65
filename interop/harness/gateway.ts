import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Metrics, parseMetrics } from './metrics.ts'
import { Program, type ProgramEnd } from './program.ts'
import { repository } from './repository.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Where a running gateway listens, all on 127.0.0.1. */
export interface GatewayPorts {
  readonly http: number
  readonly rtmp: number
  readonly webrtc: number
  readonly registration: number
  readonly admin: number
}

export interface GatewayOptions {
  /** `run`: origins register from outside; `demo`: with an origin and a page. @defaultValue 'run' */
  readonly command?: 'run' | 'demo'
  /** Keys of the configuration over those of the tests, which put every listener on a free port of 127.0.0.1. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** The gateway as a process, built and configured as a user has it. */
export class Gateway implements AsyncDisposable {
  readonly ports: GatewayPorts
  readonly program: Program
  readonly #folder: Disposable

  constructor(program: Program, ports: GatewayPorts, folder: Disposable) {
    this.program = program
    this.ports = ports
    this.#folder = folder
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

  /** Descriptors that the process has open. */
  openDescriptors(): number {
    return readdirSync(`/proc/${this.program.pid}/fd`).length
  }

  /** Sends SIGTERM and waits for the end. */
  async stop(): Promise<ProgramEnd> {
    try {
      return await this.program.stop(30_000)
    } finally {
      this.#folder[Symbol.dispose]()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
