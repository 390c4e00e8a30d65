import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program } from '../harness/program.ts'
import { repository } from '../harness/repository.ts'
import { temporaryFolder } from '../harness/temporary-folder.ts'

/** Whose program it is. */
export type Make = 'sluice' | 'frp'

const main = join(repository, 'dist/cli/main.js')

/** The real programs, which come from no registry; undefined where they were not named. */
const realFrps: string | undefined = process.env['SLUICE_FRPS']
const realFrpc: string | undefined = process.env['SLUICE_FRPC']

/** Whether tests against the real programs can run. */
export const hasRealFrp: boolean = realFrps !== undefined && realFrpc !== undefined

/** `frps` or `frpc` of either make, with a configuration file of its own that goes with it. */
export class FrpProgram implements AsyncDisposable {
  readonly program: Program
  readonly file: string
  readonly #folder: Disposable & { readonly path: string }

  constructor(kind: 'frps' | 'frpc', make: Make, config: string, env: Readonly<Record<string, string>> = {}) {
    this.#folder = temporaryFolder()
    // The real programs go by the name of the file.
    this.file = join(this.#folder.path, `${kind}.${config.startsWith('{') ? 'json' : 'toml'}`)
    writeFileSync(this.file, config)
    const [command, ...args] = commandOf(kind, make)
    this.program = new Program(command, [...args, '-c', this.file], { cwd: this.#folder.path, env })
  }

  get output(): string {
    return this.program.output
  }

  /** Waits for a line that holds the text. */
  async said(text: string, deadlineMs?: number): Promise<void> {
    await this.program.line((line) => line.includes(text) || undefined, deadlineMs)
  }

  /** Waits until so many lines hold the text. */
  async saidTimes(text: string, times: number, deadlineMs?: number): Promise<void> {
    const seen = new Set<number>()
    let index = 0
    await this.program.line((line) => {
      index++
      if (line.includes(text)) seen.add(index)
      return seen.size >= times || undefined
    }, deadlineMs)
  }

  /** Puts another configuration in its file; the program is not told. */
  rewrite(config: string): void {
    writeFileSync(this.file, config)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program.stop()
    this.#folder[Symbol.dispose]()
  }
}

/** How either program is called. @throws Error where the real one is not named */
export function commandOf(kind: 'frps' | 'frpc', make: Make): [string, ...string[]] {
  if (make === 'sluice') return [process.execPath, main, kind]
  const path = kind === 'frps' ? realFrps : realFrpc
  if (path === undefined) throw new Error(`SLUICE_${kind.toUpperCase()} names no executable`)
  return [path]
}

/** A server that has said that it stands. */
export async function startFrps(
  make: Make,
  config: string,
  env?: Readonly<Record<string, string>>,
): Promise<FrpProgram> {
  const frps = new FrpProgram('frps', make, config, env)
  await frps.said('frps started successfully')
  return frps
}

/** A client whose proxies have all been told by the server that they are in. */
export async function startFrpc(
  make: Make,
  config: string,
  proxies: number,
  env?: Readonly<Record<string, string>>,
): Promise<FrpProgram> {
  const frpc = new FrpProgram('frpc', make, config, env)
  await frpc.saidTimes('start proxy success', proxies)
  return frpc
}
